// SPDX-License-Identifier: Apache-2.0
// A link with both ends on this node, and a connection of it, for the agent's tests.
#pragma once

#include "agent/migrate.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace culvert::agent {

inline constexpr std::uint32_t kConsumer = 1, kBackend = 2, kStranger = 3;
inline constexpr std::uint32_t kConsumerVnet = 100, kProviderVnet = 200;

inline void add_nic(api::Delta& to, std::uint32_t index, std::uint32_t vnet,
                    std::uint32_t address) {
    auto* nic = to.add_upsert()->mutable_nic();
    nic->set_index(index);
    nic->set_generation(10 + index);
    nic->set_id("/nic/" + std::to_string(index));
    nic->set_vnet(vnet);
    nic->set_address(address);
    nic->mutable_subnet()->set_base(0x0a000000);
    nic->mutable_subnet()->set_length(24);
    nic->set_node(1);
}

inline State state_with(const std::function<void(api::Link&)>& change = {},
                        const std::function<void(api::Service&)>& serve = {}) {
    api::Delta delta;
    delta.set_epoch("e");
    delta.set_version(1);
    delta.set_snapshot(true);
    auto* config = delta.add_upsert()->mutable_config();
    config->set_node(1);
    config->set_udp_port(4789);
    config->set_nic_limit(100);
    config->set_link_limit(100);
    add_nic(delta, kConsumer, kConsumerVnet, 0x0a000004);
    add_nic(delta, kBackend, kProviderVnet, 0x0a000007);
    add_nic(delta, kStranger, 300, 0x0a000004);
    auto* pool = delta.add_upsert()->mutable_pool();
    pool->set_id(6);
    pool->add_members(kBackend);
    auto* service = delta.add_upsert()->mutable_service();
    service->set_id(5);
    service->set_provider_vnet(kProviderVnet);
    service->add_nat(0x0a000109);
    auto* rule = service->add_rules();
    rule->set_protocol(6);
    rule->set_port(443);
    rule->set_pool(6);
    rule->set_backend_port(8443);
    rule->set_affinity(5);
    rule->set_idle_s(240);
    auto* link = delta.add_upsert()->mutable_link();
    link->set_id(9);
    link->set_generation(3);
    link->set_state(api::LINK_APPROVED);
    link->set_service(5);
    link->set_consumer_vnet(kConsumerVnet);
    link->set_provider_vnet(kProviderVnet);
    link->set_endpoint(0x0a000105);
    if (change) {
        change(*link);
    }
    if (serve) {
        serve(*service);
    }
    State out;
    const auto plan = out.plan(delta);
    EXPECT_TRUE(plan.has_value()) << plan.error().message;
    for (const auto& each : plan->changes) {
        out.commit(each);
    }
    return out;
}

inline Connection honest() {
    Connection out{.link = 9, .link_generation = 3, .protocol = 6};
    out.consumer = {kConsumer, 11};
    out.backend = {kBackend, 12};
    out.from = {net::Ipv4{0x0a000004}, 40000};
    out.to = {net::Ipv4{0x0a000105}, 443};
    out.nat = {net::Ipv4{0x0a000109}, 1025};
    out.serving = {net::Ipv4{0x0a000007}, 8443};
    out.flags = CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY;
    return out;
}

}  // namespace culvert::agent
