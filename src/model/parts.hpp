// SPDX-License-Identifier: Apache-2.0
// What resources have in lists: configurations with an address, and the parts of a load balancer.
#pragma once

#include "model/resource_id.hpp"
#include "net/address.hpp"
#include "net/ipv6.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace culvert::model {

enum class Allocation { kDynamic, kStatic };

struct NicIpConfiguration {
    std::string name;
    ResourceId subnet;
    Allocation allocation = Allocation::kDynamic;
    std::optional<net::Ipv4> address;  // asked for (static) or allocated (R when dynamic)
    std::optional<net::Ipv6> six{};    // R: of a service's own interface, instead of `address`
    bool primary = true;
    std::vector<ResourceId> pools;  // loadBalancerBackendAddressPools

    bool operator==(const NicIpConfiguration&) const = default;
};

struct NatConfiguration {
    std::string name;
    ResourceId subnet;
    Allocation allocation = Allocation::kDynamic;
    std::optional<net::Ipv4> address;
    // privateIPAddressVersion is IPv6: the address (R) that follows from `address`, which names it
    std::optional<net::Ipv6> six{};
    bool primary = false;

    bool operator==(const NatConfiguration&) const = default;
};

enum class Protocol { kTcp, kUdp, kAll };
enum class Affinity {
    kDefault,
    kSourceIp,
    kSourceIpProtocol
};  // loadDistribution: 5-, 2-, 3-tuple

struct Frontend {
    std::string name;
    ResourceId subnet;
    Allocation allocation = Allocation::kDynamic;
    std::optional<net::Ipv4> address;
    std::optional<net::Ipv6> six{};  // as of NatConfiguration
    ResourceId public_ip;            // stored; a frontend has a subnet or a public address
    std::vector<std::string> zones;

    bool operator==(const Frontend&) const = default;
};
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

}  // namespace culvert::model
