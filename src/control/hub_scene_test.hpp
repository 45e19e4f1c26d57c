// SPDX-License-Identifier: Apache-2.0
// Stored documents for hub tests: a VNet "net" and NICs in it, nodes, attachments; and a store to
// write them to. Fuzz targets build on it too.
#pragma once

#include "base/assert.hpp"
#include "control/keys.hpp"
#include "control/node_documents.hpp"
#include "model/resources.hpp"
#include "store/store.hpp"
#include "wire/wire.hpp"

#include <string>
#include <vector>

namespace culvert::control::scene {

inline model::ResourceId id(const std::string& type, const std::string& name) {
    return *model::ResourceId::parse(
        "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/"
        "Microsoft.Network/" +
        type + "/" + name);
}

inline std::pair<std::string, std::string> node(const std::string& name, std::uint32_t index,
                                                const std::string& serial) {
    model::Node value;
    value.name = name;
    value.index = index;
    value.outer = "192.0.2." + std::to_string(index);
    value.certificate_serial = serial;
    return {keys::node(name), encode(value)};
}

inline std::pair<std::string, std::string> vnet() {
    model::VirtualNetwork value;
    value.id = id("virtualNetworks", "net");
    value.location = "local";
    value.resource_guid = "00000000-0000-0000-0000-00000000000a";
    value.vnet_index = 7;
    value.prefixes = {*net::Ipv4Prefix::parse("10.0.0.0/16")};
    model::Subnet subnet;
    subnet.name = "apps";
    subnet.prefixes = {*net::Ipv4Prefix::parse("10.0.1.0/24")};
    value.subnets = {subnet};
    return {keys::resource(value.id.key()), wire::encode(value)};
}

inline std::pair<std::string, std::string> nic(const std::string& name, std::uint32_t index) {
    model::NetworkInterface value;
    value.id = id("networkInterfaces", name);
    value.location = "local";
    value.resource_guid = "00000000-0000-0000-0000-0000000000" + std::to_string(10 + index);
    value.nic_index = index;
    value.nic_generation = 1;
    model::NicIpConfiguration configuration;
    configuration.name = "ipconfig1";
    configuration.subnet = id("virtualNetworks", "net").child("subnets", "apps");
    configuration.address = net::Ipv4{net::Ipv4::parse("10.0.1.3")->value + index};
    value.ip_configurations = {configuration};
    return {keys::resource(value.id.key()), wire::encode(value)};
}

inline std::pair<std::string, std::string> attachment(const std::string& nic,
                                                      const std::string& node,
                                                      const std::string& attachment_id = "a-1") {
    model::Attachment value;
    value.nic = id("networkInterfaces", nic);
    value.node = node;
    value.id = attachment_id;
    value.attached_by = "p";
    return {keys::attachment(value.nic.key()), encode(value)};
}

// Writes the documents in one transaction; its revision.
inline std::int64_t write(store::Store& store,
                          const std::vector<std::pair<std::string, std::string>>& documents) {
    store::Txn txn;
    for (const auto& [key, value] : documents) {
        txn.success.push_back(store::put(key, value));
    }
    const auto done = store.txn(txn);
    CULVERT_ASSERT(done.has_value());
    return done->revision;
}

inline std::int64_t erase(store::Store& store, const std::string& key) {
    store::Txn txn;
    txn.success.push_back(store::erase(key));
    const auto done = store.txn(txn);
    CULVERT_ASSERT(done.has_value());
    return done->revision;
}

}  // namespace culvert::control::scene
