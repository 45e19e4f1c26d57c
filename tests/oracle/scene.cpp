// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/scene.hpp"

namespace culvert::oracle {

using packet::ip;

std::uint32_t vnet_prefix() { return ip("10.0.0.0"); }

std::uint32_t endpoint_of(std::uint32_t link) {
    switch (link) {
        case kFirstLink: return ip("10.0.1.5");
        case kSecondLink: return ip("10.0.1.5");
        default: return ip("10.0.1.77");
    }
}

std::vector<std::uint32_t> all_nat() { return {ip("10.0.1.9"), ip("10.0.1.10")}; }

std::vector<std::pair<RuleKey, Rule>> all_rules() {
    return {{{kService, 443, kTcp}, {kPool, 8443, 5}},   {{kService, 80, kTcp}, {kPool, 80, 2}},
            {{kService, 22, kTcp}, {kSmallPool, 22, 3}}, {{kService, 53, kUdp}, {kPool, 5353, 5}},
            {{kService, 443, kUdp}, {kPool, 443, 3}},    {{kService, 0, kIcmp}, {kPool, 0, 2}},
            {{kService, 1, kIcmp}, {kSmallPool, 0, 2}}};
}

Intent scene() {
    Intent intent;
    intent.nics = {
        {kFirst, {ip("10.0.0.4"), kFirstVnet, 1}},
        {kSecond, {ip("10.0.0.4"), kSecondVnet, 2}},
        {kNeighbour, {ip("10.0.0.5"), kFirstVnet, 2}},
        {kBackendA, {ip("10.0.0.7"), kProviderVnet, 1}},
        {kBackendB, {ip("10.0.0.8"), kProviderVnet, 2}},
        {kBackendC, {ip("10.0.0.9"), kProviderVnet, 2}},
        {kStranger, {ip("10.0.0.6"), kStrangerVnet, 1}},
    };
    intent.nodes = {{1, NodeState::kOpen}, {2, NodeState::kOpen}};
    for (const auto& [index, nic] : intent.nics) {
        intent.addresses[{nic.vnet, nic.address}] = {AddressKind::kNic, index};
    }
    const std::pair<std::uint32_t, std::uint32_t> links[] = {
        {kFirstLink, kFirstVnet}, {kSecondLink, kSecondVnet}, {kOwnLink, kProviderVnet}};
    for (const auto& [id, vnet] : links) {
        intent.links[id] = {LinkState::kApproved, 1, kService, vnet, kProviderVnet,
                            endpoint_of(id)};
        intent.addresses[{vnet, endpoint_of(id)}] = {AddressKind::kEndpoint, id};
    }
    for (auto address : all_nat()) {
        intent.addresses[{kProviderVnet, address}] = {AddressKind::kNat, kService};
    }
    intent.addresses[{kProviderVnet, ip("10.0.1.200")}] = {AddressKind::kFrontend, 0};
    intent.nat[kService] = all_nat();
    for (const auto& [key, rule] : all_rules()) {
        intent.rules[key] = rule;
    }
    intent.pools[kPool] = {{kBackendA, kBackendB, kBackendC}, {kBackendA, kBackendB, kBackendC}};
    intent.pools[kSmallPool] = {{kBackendB}, {kBackendB}};
    return intent;
}

}  // namespace culvert::oracle
