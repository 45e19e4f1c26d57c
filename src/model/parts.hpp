// SPDX-License-Identifier: Apache-2.0
// What resources have in lists: configurations with an address.
#pragma once

#include "model/resource_id.hpp"
#include "net/address.hpp"
#include "net/ipv6.hpp"

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
    std::vector<ResourceId> pools;        // loadBalancerBackendAddressPools
    std::vector<ResourceId> nat_rules{};  // loadBalancerInboundNatRules

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

}  // namespace culvert::model
