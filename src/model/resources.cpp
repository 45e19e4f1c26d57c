// SPDX-License-Identifier: Apache-2.0
#include "model/resources.hpp"

#include <algorithm>

namespace culvert::model {

const NicIpConfiguration* target_of(const LoadBalancer& balancer, const InboundNatRule& rule,
                                    const NetworkInterface& nic) {
    const ResourceId id = balancer.id.child("inboundNatRules", rule.name);
    for (const NicIpConfiguration& each : nic.ip_configurations) {
        const auto& named = rule.pool.empty() ? each.nat_rules : each.pools;
        if (std::ranges::find(named, rule.pool.empty() ? id : rule.pool) != named.end()) {
            return &each;
        }
    }
    return nullptr;
}

}  // namespace culvert::model
