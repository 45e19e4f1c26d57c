// SPDX-License-Identifier: Apache-2.0
#include "model/resources.hpp"

#include <algorithm>

namespace culvert::model {

const NicIpConfiguration* target_of(const LoadBalancer& balancer, const InboundNatRule& rule,
                                    const NetworkInterface& nic) {
    const ResourceId wanted =
        rule.pool.empty() ? balancer.id.child("inboundNatRules", rule.name) : rule.pool;
    for (const NicIpConfiguration& each : nic.ip_configurations) {
        const auto& named = rule.pool.empty() ? each.nat_rules : each.pools;
        const bool found = std::ranges::any_of(named, [&](const ResourceId& id) {
            return same_name(id.name(), wanted.name()) && id == wanted;  // the cheap one first
        });
        if (found) {
            return &each;
        }
    }
    return nullptr;
}

}  // namespace culvert::model
