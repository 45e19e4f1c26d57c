// SPDX-License-Identifier: Apache-2.0
// What the rules of a service's frontends lead to.
#include "intent/state.hpp"
#include "model/carried.hpp"

namespace culvert::intent {
namespace {

// Calls `use(balancer, rule)` for every inbound NAT rule that the service carries.
template <typename F>
void each_nat_rule(const World::State& state, const model::PrivateLinkService& service,
                   const F& use) {
    for (const model::ResourceId& frontend : service.frontends) {
        const model::LoadBalancer* balancer = find(state.balancers, frontend.parent().key());
        if (balancer == nullptr) {
            continue;
        }
        for (const model::InboundNatRule& rule : balancer->nat_rules) {
            if (rule.frontend == frontend && model::is_carried(*balancer, rule)) {
                use(*balancer, rule);
            }
        }
    }
}

}  // namespace

std::vector<const model::LbRule*> World::State::rules_of(
    const model::PrivateLinkService& service) const {
    std::vector<const model::LbRule*> rules;
    for (const model::ResourceId& frontend : service.frontends) {
        const model::LoadBalancer* balancer = find(balancers, frontend.parent().key());
        if (balancer == nullptr) {
            continue;
        }
        for (const model::LbRule& rule : balancer->rules) {
            if (rule.frontend == frontend && !rule.pool.empty()) {
                rules.push_back(&rule);
            }
        }
    }
    return rules;
}

std::set<std::string> World::State::pools_of(const model::PrivateLinkService& service) const {
    std::set<std::string> pools;
    for (const model::LbRule* rule : rules_of(service)) {
        pools.insert(rule->pool.key());
    }
    for (const NatPort& port : nat_ports_of(service)) {
        pools.insert(port.nic);
    }
    return pools;
}

std::vector<NatPort> World::State::nat_ports_of(const model::PrivateLinkService& service) const {
    std::vector<NatPort> ports;
    each_nat_rule(*this, service, [&](const auto& balancer, const auto& rule) {
        for (const model::NatTarget& target : rule.targets) {
            std::string key = target.configuration.parent().key();
            // what the balancer says may be older or newer than what the interface says
            const model::NetworkInterface* nic = find(nics, key);
            if (nic != nullptr && nic->nic_index != 0 &&
                model::target_of(balancer, rule, *nic) != nullptr) {
                const std::uint32_t pool = model::kNicPools + nic->nic_index;
                ports.push_back({&rule, target.port, std::move(key), pool});
            }
        }
    });
    return ports;
}

std::set<std::string> World::State::targets_of(const model::PrivateLinkService& service) const {
    std::set<std::string> keys;
    each_nat_rule(*this, service, [&](const auto&, const auto& rule) {
        for (const model::NatTarget& target : rule.targets) {
            keys.insert(target.configuration.parent().key());
        }
    });
    return keys;
}

}  // namespace culvert::intent
