// SPDX-License-Identifier: Apache-2.0
// IPv6 addresses: they follow from the subnet's prefix and the IPv4 address of the same resource,
// so that one is never taken twice.
#include "rules/common.hpp"

#include <algorithm>

namespace culvert::rules {

std::optional<net::Ipv6Prefix> six_prefix(const Facts& facts, const model::ResourceId& subnet) {
    const Place place = find_place(facts, subnet);
    if (place.subnet == nullptr || place.subnet->prefixes6.empty()) {
        return std::nullopt;
    }
    return place.subnet->prefixes6.front();
}

bool has_six(const model::PrivateEndpoint& value) {
    return value.ip_version == model::IpVersion::kDualStack ||
           value.ip_version == model::IpVersion::kIpv6;
}

void set_six(model::NetworkInterface& value, const Facts& facts) {
    const auto primary =
        std::ranges::find_if(value.ip_configurations, &model::NicIpConfiguration::primary);
    if (!value.six || primary == value.ip_configurations.end() || !primary->address) {
        return;
    }
    if (const auto prefix = six_prefix(facts, value.six->subnet)) {
        value.six->address = prefix->joined(*primary->address);
    }
}

void set_six(model::PrivateEndpoint& value, const Facts& facts) {
    const auto prefix = six_prefix(facts, value.subnet);
    if (has_six(value) && prefix) {
        value.six = prefix->joined(value.address);
    }
}

}  // namespace culvert::rules
