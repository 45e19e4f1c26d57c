// SPDX-License-Identifier: Apache-2.0
// Groups, virtual networks and interfaces against the world.
#include "model/types.hpp"
#include "rules/common.hpp"

#include <algorithm>

namespace culvert::rules {
namespace {

const model::Subnet* find_subnet(const model::VirtualNetwork& network, std::string_view name) {
    for (const auto& subnet : network.subnets) {
        if (model::same_name(subnet.name, name)) {
            return &subnet;
        }
    }
    return nullptr;
}

std::vector<model::ResourceId> users_of(const NetworkFacts& facts, std::string_view subnet) {
    const auto found = facts.users.find(model::lower(subnet));
    return found == facts.users.end() ? std::vector<model::ResourceId>{} : found->second;
}

void subnet_in_use(Findings& findings, const model::VirtualNetwork& network,
                   std::string_view subnet, const std::vector<model::ResourceId>& users) {
    const auto* own = find_subnet(network, subnet);  // the casing it has
    findings.add("InUseSubnetCannotBeDeleted",
                 network.id.child("subnets", own == nullptr ? subnet : own->name).str(),
                 fmt::format("subnet is in use by {} and cannot be deleted; delete them first",
                             some_of(users)));
}

void check_subnet_change(Findings& findings, const std::string& field, const model::Subnet& next,
                         const model::Subnet& old, const NetworkFacts& facts) {
    if (next.prefixes != old.prefixes) {
        for (const auto& taken : facts.taken) {
            if (usable(old, taken.address) && !usable(next, taken.address)) {
                findings.add("InUsePrefixCannotBeDeleted", field + ".addressPrefix",
                             fmt::format("{} is in use by '{}' and would not be usable in the "
                                         "subnet any more; keep a prefix that holds it or delete "
                                         "its user first",
                                         taken.address.str(), taken.holder.str()));
            }
        }
    }
    const auto users = users_of(facts, old.name);
    if (!old.prefixes6.empty() && next.prefixes6 != old.prefixes6 && !users.empty()) {
        findings.add("InUsePrefixCannotBeDeleted", field + ".addressPrefixes",
                     fmt::format("{} gives IPv6 addresses to users of the subnet ({}); keep it or "
                                 "delete them first",
                                 old.prefixes6.front().str(), some_of(users)));
    }
    if (next.service_policies && !old.service_policies) {
        for (const auto& user : users) {
            if (user.is_type(model::types::kPrivateLinkService)) {
                findings.add(
                    "PrivateLinkServiceNetworkPoliciesCannotBeEnabledOnPrivateLinkServiceSubnet",
                    field + ".privateLinkServiceNetworkPolicies",
                    fmt::format("'{}' takes NAT addresses from subnet '{}'; keep Disabled",
                                user.str(), old.name));
            }
        }
    }
}

// A configuration is of the version that the pool's rules reach their backends by.
void check_version(Findings& findings, const std::string& field,
                   const model::LoadBalancer& balancer, const model::ResourceId& pool, bool six) {
    const auto wanted = reached_by_six(balancer, pool.name());
    if (wanted && *wanted != six) {
        findings.add(kContent, field,
                     fmt::format("backends of pool '{}' are reached by {}, as its rules' frontend; "
                                 "name it in the interface's {} configuration",
                                 pool.name(), version_name(*wanted), version_name(*wanted)));
    } else if (six && !speaks_six(balancer)) {
        findings.add(kContent, field,
                     fmt::format("load balancer '{}' has no IPv6 frontend; add one, or name the "
                                 "pool in an IPv4 configuration",
                                 balancer.id.name()));
    }
}

void check_same_network(Findings& findings, const std::string& field,
                        const model::LoadBalancer& balancer, const model::NetworkInterface& nic) {
    for (const auto& frontend : balancer.frontends) {
        if (!frontend.subnet.empty() &&
            !(model::document_of(frontend.subnet) ==
              model::document_of(nic.ip_configurations.front().subnet))) {
            findings.add(
                kReference, field,
                fmt::format("load balancer '{}' is in virtual network '{}', the interface "
                            "is not; use one of the interface's network",
                            balancer.id.name(), model::document_of(frontend.subnet).name()));
            return;
        }
    }
}

void check_pool(Findings& findings, const Facts& facts, const std::string& field,
                const model::ResourceId& pool, const model::NetworkInterface& nic, bool six) {
    const auto found = facts.balancers.find(model::document_of(pool).key());
    const model::BackendPool* member =
        found == facts.balancers.end() ? nullptr : find_pool(found->second, pool.name());
    if (member == nullptr) {
        findings.add(kReference, field,
                     fmt::format("backend pool '{}' does not exist; create it first", pool.str()));
        return;
    }
    check_version(findings, field, found->second, pool, six);
    if (!member->addresses_json.empty()) {
        findings.add(kContent, field,
                     fmt::format("pool '{}' has loadBalancerBackendAddresses; a pool holds "
                                 "interfaces or addresses, not both",
                                 pool.name()));
    }
    check_same_network(findings, field, found->second, nic);
}

void check_nat_rule(Findings& findings, const Facts& facts, const std::string& field,
                    const model::ResourceId& id, const model::NetworkInterface& nic) {
    const auto found = facts.balancers.find(model::document_of(id).key());
    const model::InboundNatRule* rule =
        found == facts.balancers.end() ? nullptr : find_nat_rule(found->second, id.name());
    if (rule == nullptr) {
        findings.add(
            kReference, field,
            fmt::format("inbound NAT rule '{}' does not exist; create it first", id.str()));
        return;
    }
    if (!rule->pool.empty()) {
        findings.add(kContent, field,
                     fmt::format("rule '{}' leads to all of pool '{}'; put the interface into that "
                                 "pool, or use a rule with a frontendPort",
                                 rule->name, rule->pool.name()));
    }
    check_same_network(findings, field, found->second, nic);
}

void check_pools(Findings& findings, const Facts& facts, const std::string& base,
                 const std::vector<model::ResourceId>& pools, const model::NetworkInterface& nic,
                 bool six) {
    for (std::size_t i = 0; i < pools.size(); ++i) {
        check_pool(findings, facts,
                   fmt::format("{}.loadBalancerBackendAddressPools[{}].id", base, i), pools[i], nic,
                   six);
    }
}

void check_six(Findings& findings, const model::NetworkInterface& next,
               const model::NetworkInterface* previous, const NicFacts& facts) {
    const std::string field =
        fmt::format("properties.ipConfigurations[{}].properties", next.ip_configurations.size());
    if (next.six) {
        check_six_prefix(findings, facts.facts, field + ".subnet.id", next.six->subnet);
        check_pools(findings, facts.facts, field, next.six->pools, next, true);
    }
    if (previous != nullptr && previous->six.has_value() != next.six.has_value() &&
        !facts.attached_to.empty()) {
        findings.add(
            kImmutable, "properties.ipConfigurations",
            fmt::format("an interface gets or loses IPv6 while it is attached nowhere; run "
                        "'culvert detach --nic {}' first",
                        next.id.str()),
            Code::kConflict);
    }
}

// An interface that an endpoint or a service made cannot be changed by hand.
bool owned(Findings& findings, const model::NetworkInterface& nic, std::string_view verb) {
    const auto& owner =
        nic.private_endpoint.empty() ? nic.private_link_service : nic.private_endpoint;
    if (!owner.empty()) {
        findings.add("OperationNotAllowed", nic.id.str(),
                     fmt::format("the interface belongs to '{}' and cannot be {}; {} that instead",
                                 owner.str(), verb, verb == "deleted" ? "delete" : "change"),
                     Code::kConflict);
    }
    return !owner.empty();
}

}  // namespace

Errors admit_put(const model::ResourceGroup& next, const model::ResourceGroup* previous) {
    Findings findings;
    if (previous != nullptr && !same_location(next.location, previous->location)) {
        findings.add("InvalidResourceGroupLocation", "location",
                     fmt::format("the group exists in '{}' and cannot move to '{}'; use '{}'",
                                 previous->location, next.location, previous->location),
                     Code::kConflict);
    }
    return findings.take();
}

bool needs_taken_addresses(const model::VirtualNetwork& next,
                           const model::VirtualNetwork* previous) {
    if (previous == nullptr) {
        return false;
    }
    return std::ranges::any_of(previous->subnets, [&next](const model::Subnet& old) {
        const auto* now = find_subnet(next, old.name);
        return now != nullptr && now->prefixes != old.prefixes;
    });
}

Errors admit_put(const model::VirtualNetwork& next, const model::VirtualNetwork* previous,
                 const NetworkFacts& facts) {
    Findings findings;
    check_location_kept(findings, next, previous);
    if (previous == nullptr) {
        return findings.take();
    }
    for (const auto& old : previous->subnets) {
        const auto* now = find_subnet(next, old.name);
        if (now == nullptr) {
            const auto users = users_of(facts, old.name);
            if (!users.empty()) {
                subnet_in_use(findings, next, old.name, users);
            }
        } else {
            check_subnet_change(
                findings, fmt::format("properties.subnets[{}].properties", now - &next.subnets[0]),
                *now, old, facts);
        }
    }
    return findings.take();
}

Errors admit_delete_subnet(const model::VirtualNetwork& value, std::string_view subnet,
                           const NetworkFacts& facts) {
    Findings findings;
    const auto users = users_of(facts, subnet);
    if (!users.empty()) {
        subnet_in_use(findings, value, subnet, users);
    }
    return findings.take();
}

Errors admit_delete(const model::VirtualNetwork& value, const NetworkFacts& facts) {
    Findings findings;
    for (const auto& [name, users] : facts.users) {
        if (!users.empty()) {
            subnet_in_use(findings, value, name, users);
        }
    }
    return findings.take();
}

Errors admit_put(const model::NetworkInterface& next, const model::NetworkInterface* previous,
                 const NicFacts& facts) {
    Findings findings;
    check_location_kept(findings, next, previous);
    if (previous != nullptr && owned(findings, *previous, "changed")) {
        return findings.take();
    }
    for (std::size_t i = 0; i < next.ip_configurations.size(); ++i) {
        const auto& config = next.ip_configurations[i];
        const std::string base = fmt::format("properties.ipConfigurations[{}].properties", i);
        const Place place =
            require_place(findings, facts.facts, base + ".subnet.id", config.subnet);
        if (place.network != nullptr && i == 0) {
            check_region(findings, next, *place.network);
        }
        check_pools(findings, facts.facts, base, config.pools, next, false);
        for (std::size_t j = 0; j < config.nat_rules.size(); ++j) {
            check_nat_rule(findings, facts.facts, nat_rule_field(i, j), config.nat_rules[j], next);
        }
    }
    if (previous != nullptr && !previous->ip_configurations.empty() &&
        !next.ip_configurations.empty() &&
        !(model::document_of(previous->ip_configurations.front().subnet) ==
          model::document_of(next.ip_configurations.front().subnet))) {
        findings.add(kImmutable, "properties.ipConfigurations[0].properties.subnet.id",
                     "an interface cannot move to another virtual network; delete it and create it "
                     "there",
                     Code::kConflict);
    }
    check_six(findings, next, previous, facts);
    check_addresses(findings, next.id, address_slots(next), facts.facts);
    return findings.take();
}

Errors admit_delete(const model::NetworkInterface& value, const NicFacts& facts) {
    Findings findings;
    if (!owned(findings, value, "deleted") && !facts.attached_to.empty()) {
        findings.add("NicInUse", value.id.str(),
                     fmt::format("the interface is attached on node '{}' and cannot be deleted; "
                                 "run 'culvert detach --nic {}' first",
                                 facts.attached_to, value.id.str()));
    }
    return findings.take();
}

}  // namespace culvert::rules
