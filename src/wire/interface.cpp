// SPDX-License-Identifier: Apache-2.0
// networkInterfaces (arm-contract 11).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"
#include "wire/wire.hpp"

#include <algorithm>

namespace culvert::wire {
namespace json = boost::json;

namespace {

std::vector<model::ResourceId> read_pools(const Reader& properties) {
    return properties.references("loadBalancerBackendAddressPools",
                                 limits::kPoolsPerIpConfiguration);
}

// Takes a configuration of IPv6.
bool read_six(const Reader& item, std::optional<model::SixConfiguration>& out) {
    const Reader inner = item.object("properties");
    if (!reads_six(inner)) {
        return false;
    }
    if (out) {
        inner.wrong("privateIPAddressVersion",
                    "an interface has one IPv6 configuration; leave the others out");
    }
    out.emplace(model::SixConfiguration{.name = read_name(item),
                                        .subnet = inner.reference("subnet", true),
                                        .address = {},
                                        .pools = read_pools(inner)});
    if (inner.boolean("primary").value_or(false)) {
        inner.wrong("primary", "an IPv6 configuration cannot be primary, an IPv4 one must be");
    }
    if (!inner.list("loadBalancerInboundNatRules", limits::kPoolsPerIpConfiguration).empty()) {
        inner.wrong("loadBalancerInboundNatRules",
                    "its interfaces are reached by IPv4; name the rule in an IPv4 configuration");
    }
    return true;
}

json::object show_six(const model::NetworkInterface& nic, std::string_view etag) {
    json::object inner = element_properties(nic);
    add_six(inner, nic.six->subnet, nic.six->address);
    inner["primary"] = false;
    inner["loadBalancerBackendAddressPools"] = id_array(nic.six->pools);
    inner["loadBalancerInboundNatRules"] = json::array{};
    return element(nic.id.child("ipConfigurations", nic.six->name), etag, std::move(inner));
}

}  // namespace

template <>
Read<model::NetworkInterface> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::NetworkInterface>(
        body, [&](const Reader& reader, model::NetworkInterface& nic) {
            read_resource(reader, id, nic);
            const Reader properties = reader.object("properties");
            read_ip_configurations(
                properties, limits::kIpConfigurationsPerNic, nic.ip_configurations,
                [](const Reader& inner, model::NicIpConfiguration& config) {
                    config.pools = read_pools(inner);
                    config.nat_rules = inner.references("loadBalancerInboundNatRules",
                                                        limits::kPoolsPerIpConfiguration);
                },
                [&](const Reader& item) { return read_six(item, nic.six); });
            nic.ip_forwarding = properties.boolean("enableIPForwarding").value_or(false);
            properties.refuse_reference("networkSecurityGroup");
        });
}

json::object show(const model::NetworkInterface& value, const NicView& view) {
    json::object properties = resource_properties(value);
    json::array configurations = show_ip_configurations(
        value, value.ip_configurations, view.etag,
        [](json::object& inner, const model::NicIpConfiguration& config) {
            inner["loadBalancerBackendAddressPools"] = id_array(config.pools);
            inner["loadBalancerInboundNatRules"] = id_array(config.nat_rules);
        });
    if (value.six) {
        configurations.push_back(show_six(value, view.etag));
    }
    properties["ipConfigurations"] = std::move(configurations);
    properties["dnsSettings"] =
        json::object{{"dnsServers", json::array{}}, {"appliedDnsServers", json::array{}}};
    properties["enableIPForwarding"] = value.ip_forwarding;
    properties["enableAcceleratedNetworking"] = false;
    properties["primary"] =
        std::ranges::any_of(value.ip_configurations, &model::NicIpConfiguration::primary);
    if (value.nic_index != 0) {
        properties["macAddress"] = net::Mac::of_nic(value.nic_index).arm_str();
    }
    if (!value.private_endpoint.empty()) {
        properties["privateEndpoint"] = id_object(value.private_endpoint);
    }
    if (!value.private_link_service.empty()) {
        properties["privateLinkService"] = id_object(value.private_link_service);
    }
    if (!view.virtual_machine.empty()) {
        properties["virtualMachine"] = id_object(view.virtual_machine);
    }
    return resource(value, view.etag, std::move(properties));
}

}  // namespace culvert::wire
