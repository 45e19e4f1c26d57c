// SPDX-License-Identifier: Apache-2.0
// What a load balancer consists of, beside its frontends.
#pragma once

#include "model/resource_id.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace culvert::model {

// Nodes call a pool by its number. Those from here on are pools of one interface alone, the one
// whose index is added; they are held as long as that index is (decision 0019).
inline constexpr std::uint32_t kNicPools = 1U << 20;

enum class Protocol { kTcp, kUdp, kAll };
enum class Affinity {
    kDefault,
    kSourceIp,
    kSourceIpProtocol
};  // loadDistribution: 5-, 2-, 3-tuple

struct BackendPool {
    std::string name;
    std::uint32_t pool_index = 0;  // R
    // loadBalancerBackendAddresses: stored and shown, no effect yet, compact JSON array ("" when
    // absent)
    std::string addresses_json;

    bool operator==(const BackendPool&) const = default;
};
struct LbRule {
    std::string name;
    ResourceId frontend;
    ResourceId pool;
    ResourceId probe;
    Protocol protocol = Protocol::kTcp;
    std::uint16_t frontend_port = 0;
    std::uint16_t backend_port = 0;
    std::uint32_t idle_minutes = 4;
    bool floating_ip = false;
    bool tcp_reset = false;
    bool disable_outbound_snat = false;
    Affinity affinity = Affinity::kDefault;

    bool operator==(const LbRule&) const = default;
};
struct Probe {
    std::string name;
    std::string protocol;  // Tcp, Http, Https
    std::uint16_t port = 0;
    std::uint32_t interval_s = 15;
    std::uint32_t count = 2;
    std::uint32_t threshold = 1;
    std::string request_path;
    bool all_up = false;  // noHealthyBackendsBehavior: AllProbedUp

    bool operator==(const Probe&) const = default;
};
// The interface behind a port of an inbound NAT rule.
struct NatTarget {
    ResourceId configuration;  // of the interface
    std::uint16_t port = 0;    // of the frontend

    bool operator==(const NatTarget&) const = default;
};
// A port of the frontend that leads to one interface: to the one whose loadBalancerInboundNatRules
// name the rule, or, with a pool, a port of the range for each of its interfaces.
struct InboundNatRule {
    std::string name;
    ResourceId frontend;
    Protocol protocol = Protocol::kTcp;
    std::uint16_t frontend_port = 0;  // without a pool
    ResourceId pool;
    std::uint16_t range_first = 0;  // with a pool
    std::uint16_t range_last = 0;
    std::uint16_t backend_port = 0;
    std::uint32_t idle_minutes = 4;
    bool floating_ip = false;
    bool tcp_reset = false;
    std::vector<NatTarget> targets;  // R: ascending by port

    bool operator==(const InboundNatRule&) const = default;
};

}  // namespace culvert::model
