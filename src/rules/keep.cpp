// SPDX-License-Identifier: Apache-2.0
// What a PUT must not lose: the fields that the server owns (arm-contract 5.6).
#include "rules/common.hpp"

namespace culvert::rules {
namespace {

void keep_resource(model::Resource& next, const model::Resource& previous) {
    next.id = previous.id;  // the name's casing stays as first written
    next.resource_guid = previous.resource_guid;
}

// A dynamic address stays while its configuration (by name) stays in its subnet.
template <typename Config>
void keep_addresses(std::vector<Config>& next, const std::vector<Config>& previous) {
    for (auto& config : next) {
        for (const auto& old : previous) {
            if (config.allocation == model::Allocation::kDynamic &&
                model::same_name(config.name, old.name) && config.subnet == old.subnet) {
                config.address = old.address;
                config.six = config.six && old.six ? old.six : config.six;
            }
        }
    }
}

}  // namespace

void keep_server_fields(model::ResourceGroup& next, const model::ResourceGroup& previous) {
    keep_resource(next, previous);
}

void keep_server_fields(model::VirtualNetwork& next, const model::VirtualNetwork& previous) {
    keep_resource(next, previous);
    next.vnet_index = previous.vnet_index;
}

void keep_server_fields(model::NetworkInterface& next, const model::NetworkInterface& previous) {
    keep_resource(next, previous);
    next.nic_index = previous.nic_index;
    next.nic_generation = previous.nic_generation;
    next.private_endpoint = previous.private_endpoint;
    next.private_link_service = previous.private_link_service;
    keep_addresses(next.ip_configurations, previous.ip_configurations);
}

void keep_server_fields(model::LoadBalancer& next, const model::LoadBalancer& previous) {
    keep_resource(next, previous);
    keep_addresses(next.frontends, previous.frontends);
    for (auto& pool : next.pools) {
        const auto* old = find_pool(previous, pool.name);
        if (old != nullptr) {
            pool.pool_index = old->pool_index;
        }
    }
    for (auto& rule : next.nat_rules) {
        const auto* old = find_nat_rule(previous, rule.name);
        if (old != nullptr && old->pool == rule.pool) {
            rule.targets = old->targets;
        }
    }
}

void keep_server_fields(model::PrivateLinkService& next,
                        const model::PrivateLinkService& previous) {
    keep_resource(next, previous);
    next.alias = previous.alias;
    next.service_index = previous.service_index;
    next.nic = previous.nic;
    keep_addresses(next.nat, previous.nat);
}

void keep_server_fields(model::PrivateEndpoint& next, const model::PrivateEndpoint& previous) {
    keep_resource(next, previous);
    next.nic = previous.nic;
    next.address = previous.address;
    next.six = previous.six;
    if (next.ip_version == model::IpVersion::kUnsaid || (!has_six(next) && !has_six(previous))) {
        next.ip_version = previous.ip_version;
    }
    next.connection = previous.connection;
    next.disconnected_description = previous.disconnected_description;
    if (next.custom_nic_name.empty()) {
        next.custom_nic_name = previous.custom_nic_name;  // fixed on creation
    }
}

}  // namespace culvert::rules
