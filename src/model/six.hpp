// SPDX-License-Identifier: Apache-2.0
// What resources have of IPv6 (docs/decisions/0016).
#pragma once

#include "model/resource_id.hpp"
#include "net/ipv6.hpp"

#include <string>
#include <vector>

namespace culvert::model {

// The configuration of an interface whose privateIPAddressVersion is IPv6. Its address follows from
// the primary one's (docs/decisions/0016).
struct SixConfiguration {
    std::string name;
    ResourceId subnet;                // the primary configuration's
    net::Ipv6 address;                // R
    std::vector<ResourceId> pools{};  // as NicIpConfiguration has them

    bool operator==(const SixConfiguration&) const = default;
};

enum class IpVersion { kUnsaid, kIpv4, kDualStack, kIpv6 };  // unsaid: IPv4

}  // namespace culvert::model
