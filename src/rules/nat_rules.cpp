// SPDX-License-Identifier: Apache-2.0
// Inbound NAT rules of load balancers: the body alone, and who gets which of their ports (decision
// 0019).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "rules/common.hpp"

#include <algorithm>
#include <tuple>

namespace culvert::rules {
namespace {

constexpr std::string_view kList = "properties.inboundNatRules";

std::string base_of(std::size_t index) { return fmt::format("{}[{}].properties", kList, index); }

struct Ports {
    std::uint16_t first = 0;
    std::uint16_t last = 0;

    bool contains(std::uint16_t port) const { return first <= port && port <= last; }
    std::size_t count() const { return std::size_t{last} - first + 1; }
};

// Those of the frontend that the rule has.
Ports ports_of(const model::InboundNatRule& rule) {
    return rule.pool.empty() ? Ports{rule.frontend_port, rule.frontend_port}
                             : Ports{rule.range_first, rule.range_last};
}

// One interface, or a pool of them: each form has ports of its own.
void check_form(Findings& findings, const std::string& base, const model::LoadBalancer& value,
                const model::InboundNatRule& rule) {
    const bool range = rule.range_first != 0 || rule.range_last != 0;
    if (rule.pool.empty()) {
        if (range) {
            findings.add(kContent, base + ".frontendPortRangeStart",
                         "is for a rule with a backendAddressPool; name one, or use frontendPort");
        } else if (rule.frontend_port == 0) {
            findings.add(kContent, base + ".frontendPort", "is not from 1 to 65535");
        }
        return;
    }
    const auto* pool = find_pool(value, rule.pool.name());
    check_own(findings, base + ".backendAddressPool.id", value, rule.pool,
              model::types::kBackendPool, pool != nullptr);
    if (pool != nullptr && !pool->addresses_json.empty()) {
        findings.add(kContent, base + ".backendAddressPool.id",
                     fmt::format("pool '{}' has loadBalancerBackendAddresses; an inbound NAT rule "
                                 "needs a pool of network interfaces",
                                 pool->name));
    }
    if (value.sku == "Basic") {
        findings.add(kContent, base + ".backendAddressPool.id",
                     "an inbound NAT rule of a pool needs a Standard load balancer; set sku.name "
                     "to Standard");
    }
    if (rule.frontend_port != 0) {
        findings.add(kContent, base + ".frontendPort",
                     "is for a rule without a backendAddressPool; use frontendPortRangeStart and "
                     "frontendPortRangeEnd");
    }
    if (rule.range_first == 0 || rule.range_last < rule.range_first) {
        findings.add(kContent, base + ".frontendPortRangeStart",
                     "begins no range of ports; use 1 to 65535, and a frontendPortRangeEnd that is "
                     "not below it");
    }
}

void check_rule(Findings& findings, const std::string& base, const model::LoadBalancer& value,
                const model::InboundNatRule& rule) {
    const auto* frontend = find_frontend(value, rule.frontend.name());
    check_own(findings, base + ".frontendIPConfiguration.id", value, rule.frontend,
              model::types::kFrontend, frontend != nullptr);
    if (frontend != nullptr && frontend->six) {
        findings.add(kContent, base + ".frontendIPConfiguration.id",
                     "inbound NAT rules reach interfaces by IPv4; use a frontend of IPv4");
    }
    if (rule.protocol == model::Protocol::kAll) {
        findings.add(kContent, base + ".protocol",
                     "an inbound NAT rule is for Tcp or Udp; give each a rule");
    }
    check_form(findings, base, value, rule);
    if (rule.backend_port == 0) {
        findings.add(kContent, base + ".backendPort", "is not from 1 to 65535");
    }
    check_idle(findings, base, rule.idle_minutes);
    const bool every = std::ranges::any_of(value.rules, [&](const model::LbRule& other) {
        return other.protocol == model::Protocol::kAll && other.frontend == rule.frontend;
    });
    if (every) {
        findings.add(kContent, base + ".frontendIPConfiguration.id",
                     "a frontend with an HA ports rule (protocol All) has no other rules; use "
                     "another frontend");
    }
}

// Ports of a frontend that a rule has.
struct Taken {
    std::string frontend;
    model::Protocol protocol = model::Protocol::kTcp;
    Ports ports;
    std::string field;  // of an inbound NAT rule; load-balancing rules are compared elsewhere
};

void check_apart(Findings& findings, const model::LoadBalancer& value) {
    std::vector<Taken> taken;
    for (const auto& rule : value.rules) {
        const Ports ports{rule.frontend_port, rule.frontend_port};
        taken.push_back({rule.frontend.key(), rule.protocol, ports, {}});
    }
    for (std::size_t i = 0; i < value.nat_rules.size(); ++i) {
        const auto& rule = value.nat_rules[i];
        taken.push_back(
            {rule.frontend.key(), rule.protocol, ports_of(rule),
             base_of(i) + (rule.pool.empty() ? ".frontendPort" : ".frontendPortRangeStart")});
    }
    std::ranges::sort(taken, {}, [](const Taken& each) {
        return std::tuple(each.frontend, each.protocol, each.ports.first, each.field);
    });
    const Taken* before = nullptr;  // the one that reaches farthest
    for (const Taken& each : taken) {
        const bool together = before != nullptr && before->frontend == each.frontend &&
                              before->protocol == each.protocol;
        const std::string& field = each.field.empty() && together ? before->field : each.field;
        if (together && !field.empty() && each.ports.first <= before->ports.last) {
            findings.add("RulesUseSameFrontendPortAndProtocol", field,
                         fmt::format("port {} of this frontend and protocol already has a rule; "
                                     "use another port",
                                     each.ports.first));
        }
        if (!together || each.ports.last > before->ports.last) {
            before = &each;
        }
    }
}

// How many rules a service makes of the balancer, at most.
std::size_t count_of(const model::LoadBalancer& balancer) {
    std::size_t count = balancer.rules.size();
    for (const auto& rule : balancer.nat_rules) {
        count += rule.targets.size();
    }
    return count;
}

// The interface's configurations by the keys of the pools and rules that they name, the first that
// does: an interface may name thousands, and a balancer has as many rules.
std::map<std::string, const model::NicIpConfiguration*> by_what_they_name(
    const model::NetworkInterface& nic) {
    std::map<std::string, const model::NicIpConfiguration*> out;
    for (const auto& each : nic.ip_configurations) {
        for (const auto* list : {&each.pools, &each.nat_rules}) {
            for (const auto& id : *list) {
                out.emplace(id.key(), &each);
            }
        }
    }
    return out;
}

// Gives the interface the lowest port that is free; false: there is none.
bool take(model::LoadBalancer& balancer, model::InboundNatRule& rule,
          const model::ResourceId& configuration) {
    const Ports ports = ports_of(rule);
    std::uint32_t port = ports.first;
    auto at = rule.targets.begin();
    for (; at != rule.targets.end() && at->port == port; ++at) {
        ++port;
    }
    if (port > ports.last || count_of(balancer) >= limits::kRulesPerLoadBalancer) {
        return false;
    }
    rule.targets.insert(at, {configuration, static_cast<std::uint16_t>(port)});
    return true;
}

std::vector<model::ResourceId> users_of(const model::InboundNatRule& rule,
                                        const BalancerFacts& facts) {
    const auto& users = rule.pool.empty() ? facts.nat_rule_users : facts.pool_users;
    const auto found = users.find(model::lower(rule.pool.empty() ? rule.name : rule.pool.name()));
    return found == users.end() ? std::vector<model::ResourceId>{} : found->second;
}

void seat_users(Findings& findings, const std::string& base, model::LoadBalancer& balancer,
                model::InboundNatRule& rule, const BalancerFacts& facts) {
    std::map<std::string, model::ResourceId> users;  // one configuration of each interface
    for (const auto& configuration : users_of(rule, facts)) {
        users.emplace(configuration.parent().key(), configuration);
    }
    const std::size_t count = users.size();
    std::erase_if(rule.targets, [&](model::NatTarget& target) {
        auto user = users.extract(target.configuration.parent().key());
        if (user.empty() || !ports_of(rule).contains(target.port)) {
            if (!user.empty()) {
                users.insert(std::move(user));
            }
            return true;
        }
        target.configuration = std::move(user.mapped());
        return false;
    });
    for (const auto& [key, configuration] : users) {
        if (!take(balancer, rule, configuration)) {
            findings.add(kContent, base + ".frontendPortRangeEnd",
                         fmt::format("{} interfaces need a port each: the range has {}, and a load "
                                     "balancer has at most {} rules and such ports; enlarge the "
                                     "range or use a smaller pool",
                                     count, ports_of(rule).count(), limits::kRulesPerLoadBalancer));
            return;
        }
    }
}

// The field by which the interface comes to the rule.
std::string field_of(const model::NetworkInterface& nic, const model::NicIpConfiguration& by,
                     const model::InboundNatRule& rule) {
    const auto index = static_cast<std::size_t>(&by - nic.ip_configurations.data());
    return fmt::format(
        "properties.ipConfigurations[{}].properties.{}", index,
        rule.pool.empty() ? "loadBalancerInboundNatRules" : "loadBalancerBackendAddressPools");
}

}  // namespace

std::string nat_rule_field(std::size_t configuration, std::size_t at) {
    return fmt::format(
        "properties.ipConfigurations[{}].properties.loadBalancerInboundNatRules[{}]"
        ".id",
        configuration, at);
}

void check_nat_rules(Findings& findings, const model::LoadBalancer& value) {
    NameSet names(findings, kList);
    for (std::size_t i = 0; i < value.nat_rules.size(); ++i) {
        names.add(value.nat_rules[i].name);
        check_rule(findings, base_of(i), value, value.nat_rules[i]);
    }
    check_apart(findings, value);
    if (value.rules.size() + value.nat_rules.size() > limits::kRulesPerLoadBalancer) {
        findings.add(kContent, kList,
                     fmt::format("{} rules are more than {}; use several load balancers",
                                 value.rules.size() + value.nat_rules.size(),
                                 limits::kRulesPerLoadBalancer));
    }
}

Errors seat(model::LoadBalancer& balancer, const model::NetworkInterface& nic) {
    Findings findings;
    const auto named = by_what_they_name(nic);
    const std::string key = nic.id.key();
    const auto is_its = [&](const model::NatTarget& target) {
        return target.configuration.parent().key() == key;
    };
    for (auto& rule : balancer.nat_rules) {
        const auto wanted =
            rule.pool.empty() ? balancer.id.child("inboundNatRules", rule.name) : rule.pool;
        const auto found = named.find(wanted.key());
        const auto* by = found == named.end() ? nullptr : found->second;
        const auto held = std::ranges::find_if(rule.targets, is_its);
        if (by == nullptr) {
            std::erase_if(rule.targets, is_its);
            continue;
        }
        const auto configuration = nic.id.child("ipConfigurations", by->name);
        if (held != rule.targets.end()) {
            held->configuration = configuration;
            continue;
        }
        if (take(balancer, rule, configuration)) {
            continue;
        }
        const bool single = rule.pool.empty() && !rule.targets.empty();
        findings.add(
            "InboundNatRuleInUse", field_of(nic, *by, rule),
            single ? fmt::format("inbound NAT rule '{}' leads to '{}'; take it out of that one "
                                 "first, or use another rule",
                                 rule.name, rule.targets.front().configuration.str())
                   : fmt::format("no port of inbound NAT rule '{}' is free: {} to {}, and at most "
                                 "{} rules and such ports of a load balancer; enlarge the range",
                                 rule.name, ports_of(rule).first, ports_of(rule).last,
                                 limits::kRulesPerLoadBalancer));
    }
    return findings.take();
}

Errors seat(model::LoadBalancer& balancer, const BalancerFacts& facts) {
    Findings findings;
    for (std::size_t i = 0; i < balancer.nat_rules.size(); ++i) {
        seat_users(findings, base_of(i), balancer, balancer.nat_rules[i], facts);
    }
    return findings.take();
}

}  // namespace culvert::rules
