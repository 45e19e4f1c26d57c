// SPDX-License-Identifier: Apache-2.0
#include "model/carried.hpp"

#include <algorithm>

namespace culvert::model {

// There may be 1,500 rules of each kind: names are compared before whole ids.
bool is_carried(const LoadBalancer& balancer, const InboundNatRule& rule) {
    return rule.pool.empty() || std::ranges::any_of(balancer.rules, [&](const LbRule& each) {
               return same_name(each.frontend.name(), rule.frontend.name()) &&
                      each.frontend == rule.frontend && !each.pool.empty();
           });
}

}  // namespace culvert::model
