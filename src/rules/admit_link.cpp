// SPDX-License-Identifier: Apache-2.0
// Load balancers, private link services and private endpoints against the world.
#include "base/limits.hpp"
#include "model/types.hpp"
#include "rules/common.hpp"

#include <algorithm>

namespace culvert::rules {
namespace {

using Users = std::map<std::string, std::vector<model::ResourceId>>;

std::vector<model::ResourceId> users_of(const Users& users, std::string_view key) {
    const auto found = users.find(std::string(key));
    return found == users.end() ? std::vector<model::ResourceId>{} : found->second;
}

// Members that are configurations of the other version than the pool's rules reach backends by.
void check_members(Findings& findings, const std::string& pool, bool six,
                   const BalancerFacts& facts) {
    std::vector<model::ResourceId> others;
    for (const auto& member : users_of(facts.pool_users, model::lower(pool))) {
        if (facts.six_members.contains(member.key()) != six) {
            others.push_back(member);
        }
    }
    if (!others.empty()) {
        findings.add(kContent, "properties.loadBalancingRules",
                     fmt::format("rules would reach backends of pool '{}' by {}, which {} is not; "
                                 "name the pool in the interface's {} configuration instead",
                                 pool, version_name(six), some_of(others), version_name(six)));
    }
}

void nat_rule_in_use(Findings& findings, const std::string& target, std::string_view rule,
                     const std::vector<model::ResourceId>& users) {
    findings.add("InUseInboundNatRuleCannotBeDeleted", target,
                 fmt::format("inbound NAT rule '{}' is used by {}; take it out of its "
                             "loadBalancerInboundNatRules first",
                             rule, some_of(users)));
}

// Frontends and pools that go, or whose network changes, while something refers to them.
void check_balancer_change(Findings& findings, const model::LoadBalancer& next,
                           const model::LoadBalancer& old, const BalancerFacts& facts) {
    if (next.sku != old.sku || next.tier != old.tier) {
        findings.add(kImmutable, "sku.name",
                     fmt::format("the load balancer is {} and cannot become {}; create another one",
                                 old.sku, next.sku),
                     Code::kConflict);
    }
    for (const auto& frontend : old.frontends) {
        const auto users = users_of(facts.frontend_users, model::lower(frontend.name));
        const auto* now = find_frontend(next, frontend.name);
        if (!users.empty() && (now == nullptr || !(model::document_of(now->subnet) ==
                                                   model::document_of(frontend.subnet)))) {
            findings.add("InUseFrontendIpConfigurationCannotBeDeleted",
                         "properties.frontendIPConfigurations",
                         fmt::format("frontend '{}' is used by {} and can neither go nor move to "
                                     "another virtual network; change or delete its users first",
                                     frontend.name, some_of(users)));
        }
        if (!users.empty() && now != nullptr && now->six.has_value() != frontend.six.has_value()) {
            findings.add(
                kImmutable, "properties.frontendIPConfigurations",
                fmt::format("frontend '{}' is used by {} and stays {}; add another one",
                            frontend.name, some_of(users), version_name(frontend.six.has_value())),
                Code::kConflict);
        }
    }
    for (const auto& name : pools_to_know(next, &old)) {
        check_members(findings, name, *reached_by_six(next, name), facts);
    }
    for (const auto& pool : old.pools) {
        const auto users = users_of(facts.pool_users, model::lower(pool.name));
        if (!users.empty() && find_pool(next, pool.name) == nullptr) {
            findings.add("InUseBackendAddressPoolCannotBeDeleted", "properties.backendAddressPools",
                         fmt::format("pool '{}' is used by {}; take the interfaces out of it first",
                                     pool.name, some_of(users)));
        }
    }
    for (const auto& rule : old.nat_rules) {
        const auto users = users_of(facts.nat_rule_users, model::lower(rule.name));
        const auto* now = find_nat_rule(next, rule.name);
        if (!users.empty() && (now == nullptr || !now->pool.empty())) {
            nat_rule_in_use(findings, "properties.inboundNatRules", rule.name, users);
        }
    }
}

// The load balancer a service stands on; nullptr after an error.
const model::LoadBalancer* require_balancer(Findings& findings,
                                            const model::PrivateLinkService& next,
                                            const Facts& facts) {
    const auto id = model::document_of(next.frontends.front());
    const auto found = facts.balancers.find(id.key());
    constexpr std::string_view kField = "properties.loadBalancerFrontendIpConfigurations[0].id";
    if (found == facts.balancers.end()) {
        findings.add(kReference, kField,
                     fmt::format("load balancer '{}' does not exist; create it first", id.str()));
        return nullptr;
    }
    if (found->second.sku != "Standard") {
        findings.add("PrivateLinkServiceCannotUseBasicLoadBalancer", kField,
                     fmt::format("load balancer '{}' has SKU {}, a private link service needs "
                                 "Standard; create a load balancer with sku.name Standard",
                                 found->second.id.name(), found->second.sku));
    }
    if (!same_location(next.location, found->second.location)) {
        findings.add(kReference, "location",
                     fmt::format("'{}' is not the location of load balancer '{}'; use '{}'",
                                 next.location, found->second.id.name(), found->second.location));
    }
    return &found->second;
}

// A pool of addresses "can't function as a private link service" (privatelink-semantics 1.3).
void check_pools(Findings& findings, const std::string& field, const model::LoadBalancer& balancer,
                 const model::ResourceId& frontend) {
    for (const auto& rule : balancer.rules) {
        const auto* pool =
            rule.frontend == frontend ? find_pool(balancer, rule.pool.name()) : nullptr;
        if (pool != nullptr && !pool->addresses_json.empty()) {
            findings.add(kContent, field,
                         fmt::format("its pool '{}' has loadBalancerBackendAddresses; a private "
                                     "link service needs a pool of network interfaces",
                                     pool->name));
        }
    }
}

void check_service_frontends(Findings& findings, const model::PrivateLinkService& next,
                             const model::LoadBalancer& balancer, const ServiceFacts& facts) {
    for (std::size_t i = 0; i < next.frontends.size(); ++i) {
        const auto& id = next.frontends[i];
        const std::string field =
            fmt::format("properties.loadBalancerFrontendIpConfigurations[{}].id", i);
        const auto* frontend = find_frontend(balancer, id.name());
        if (frontend == nullptr) {
            findings.add(kReference, field,
                         fmt::format("load balancer '{}' has no frontend '{}'; add it first",
                                     balancer.id.name(), id.name()));
            continue;
        }
        if (frontend->subnet.empty()) {
            findings.add(kContent, field,
                         fmt::format("frontend '{}' has no private address; use a frontend with a "
                                     "subnet",
                                     frontend->name));
        }
        const auto others = others_than(users_of(facts.frontend_users, id.key()), next.id);
        if (!others.empty()) {
            findings.add(
                "PrivateLinkServiceCannotReferenceFrontendIpConfigurationReferencedBy"
                "DifferentPrivateLinkService",
                field,
                fmt::format("frontend '{}' is already used by {}; add a frontend to the "
                            "load balancer for this service",
                            id.name(), some_of(others)));
        }
        check_pools(findings, field, balancer, id);
        const bool six = next.nat.front().six.has_value();
        if (frontend->six.has_value() != six) {
            findings.add(kContent, field,
                         fmt::format("frontend '{}' is of {}, the service's NAT addresses "
                                     "(ipConfigurations) of {}; use one version",
                                     frontend->name, version_name(!six), version_name(six)));
        }
    }
    const auto others = others_than(facts.services_of_balancer, next.id);
    if (others.size() >= limits::kServicesPerLoadBalancer) {
        findings.add(
            kContent, "properties.loadBalancerFrontendIpConfigurations",
            fmt::format("load balancer '{}' already carries {} private link services, at "
                        "most {} are allowed; use another load balancer",
                        balancer.id.name(), others.size(), limits::kServicesPerLoadBalancer));
    }
}

void check_nat_subnets(Findings& findings, const model::PrivateLinkService& next,
                       const model::LoadBalancer* balancer, const Facts& facts) {
    const auto* frontend =
        balancer == nullptr ? nullptr : find_frontend(*balancer, next.frontends.front().name());
    for (std::size_t i = 0; i < next.nat.size(); ++i) {
        const std::string field =
            fmt::format("properties.ipConfigurations[{}].properties.subnet.id", i);
        const Place place = require_place(findings, facts, field, next.nat[i].subnet);
        if (place.subnet == nullptr) {
            continue;
        }
        if (i == 0) {
            check_region(findings, next, *place.network);
        }
        if (next.nat[i].six) {
            check_six_prefix(findings, facts, field, next.nat[i].subnet);
        }
        if (place.subnet->service_policies) {
            findings.add(
                "PrivateLinkServiceCannotBeCreatedInSubnetThatHasNetworkPoliciesEnabled", field,
                fmt::format("subnet '{}' has privateLinkServiceNetworkPolicies Enabled; set it to "
                            "Disabled first (az network vnet subnet update "
                            "--private-link-service-network-policies Disabled)",
                            place.subnet->name));
        }
        if (frontend != nullptr && !frontend->subnet.empty() &&
            !(model::document_of(frontend->subnet) == place.network->id)) {
            findings.add(
                kReference, field,
                fmt::format("is in virtual network '{}', the load balancer in '{}'; use a "
                            "subnet of the latter",
                            place.network->id.name(), model::document_of(frontend->subnet).name()));
        }
    }
}

void check_endpoint_fixed(Findings& findings, const model::PrivateEndpoint& next,
                          const model::PrivateEndpoint& old) {
    constexpr std::string_view kRemedy =
        "cannot be changed once the endpoint exists; delete it and create it again";
    if (!(next.subnet == old.subnet)) {
        findings.add(kImmutable, "properties.subnet.id", kRemedy, Code::kConflict);
    }
    const auto& now = next.requests.front();
    const auto& before = old.requests.front();
    const std::string list = now.manual ? "properties.manualPrivateLinkServiceConnections[0]"
                                        : "properties.privateLinkServiceConnections[0]";
    if (!model::same_name(now.target, before.target)) {
        findings.add(kImmutable, list + ".properties.privateLinkServiceId", kRemedy,
                     Code::kConflict);
    }
    if (now.manual != before.manual) {
        findings.add(kImmutable, list,
                     "a connection cannot move between privateLinkServiceConnections and "
                     "manualPrivateLinkServiceConnections; delete the endpoint and create it again",
                     Code::kConflict);
    }
    if (next.ip_configurations != old.ip_configurations) {
        findings.add(kImmutable, "properties.ipConfigurations", kRemedy, Code::kConflict);
    }
    if (has_six(next) != has_six(old) || (has_six(next) && next.ip_version != old.ip_version)) {
        findings.add(kImmutable, "properties.ipVersionType", kRemedy, Code::kConflict);
    }
    if (!model::same_name(next.custom_nic_name, old.custom_nic_name)) {
        findings.add(kImmutable, "properties.customNetworkInterfaceName", kRemedy, Code::kConflict);
    }
}

}  // namespace

Errors admit_put(const model::LoadBalancer& next, const model::LoadBalancer* previous,
                 const BalancerFacts& facts) {
    Findings findings;
    check_location_kept(findings, next, previous);
    bool region_checked = false;
    for (const auto& [id, field] : references(next)) {
        if (!id.is_type(model::types::kSubnet)) {
            if (!facts.facts.others.contains(id.key())) {
                findings.add(kReference, field,
                             fmt::format("'{}' does not exist; create it first", id.str()));
            }
            continue;
        }
        const Place place = require_place(findings, facts.facts, field, id);
        if (place.network != nullptr && !region_checked) {
            check_region(findings, next, *place.network);
            region_checked = true;
        }
    }
    for (std::size_t i = 0; i < next.frontends.size(); ++i) {
        if (next.frontends[i].six) {
            check_six_prefix(
                findings, facts.facts,
                fmt::format("properties.frontendIPConfigurations[{}].properties.subnet.id", i),
                next.frontends[i].subnet);
        }
    }
    if (previous != nullptr) {
        check_balancer_change(findings, next, *previous, facts);
    }
    check_addresses(findings, next.id, address_slots(next), facts.facts);
    return findings.take();
}

Errors admit_delete(const model::LoadBalancer& value, const BalancerFacts& facts) {
    Findings findings;
    for (const auto& [name, users] : facts.frontend_users) {
        if (!users.empty()) {
            findings.add("CannotDeleteLoadBalancerWithPrivateLinkService", value.id.str(),
                         fmt::format("frontend '{}' is used by private link service {}; delete the "
                                     "service first",
                                     name, some_of(users)));
        }
    }
    for (const auto& [name, users] : facts.pool_users) {
        if (!users.empty()) {
            findings.add("InUseBackendAddressPoolCannotBeDeleted", value.id.str(),
                         fmt::format("pool '{}' is used by {}; take the interfaces out of it first",
                                     name, some_of(users)));
        }
    }
    for (const auto& [name, users] : facts.nat_rule_users) {
        if (!users.empty()) {
            nat_rule_in_use(findings, value.id.str(), name, users);
        }
    }
    return findings.take();
}

Errors admit_put(const model::PrivateLinkService& next, const model::PrivateLinkService* previous,
                 const ServiceFacts& facts) {
    Findings findings;
    check_location_kept(findings, next, previous);
    if (previous != nullptr &&
        next.nat.front().six.has_value() != previous->nat.front().six.has_value()) {
        findings.add(kImmutable, "properties.ipConfigurations",
                     fmt::format("the service reaches its backends by {}; create another one",
                                 version_name(previous->nat.front().six.has_value())),
                     Code::kConflict);
    }
    const auto* balancer = require_balancer(findings, next, facts.facts);
    if (balancer != nullptr) {
        check_service_frontends(findings, next, *balancer, facts);
    }
    check_nat_subnets(findings, next, balancer, facts.facts);
    check_addresses(findings, next.id, address_slots(next), facts.facts);
    return findings.take();
}

Errors admit_delete(const model::PrivateLinkService& value, const ServiceFacts& facts) {
    Findings findings;
    if (facts.connections != 0) {
        findings.add("PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted",
                     value.id.str(),
                     fmt::format("the service has {} private endpoint connections; delete them "
                                 "first (az network private-link-service connection delete)",
                                 facts.connections));
    }
    return findings.take();
}

Errors admit_put(const model::PrivateEndpoint& next, const model::PrivateEndpoint* previous,
                 const EndpointFacts& facts) {
    Findings findings;
    check_location_kept(findings, next, previous);
    const Place place = require_place(findings, facts.facts, "properties.subnet.id", next.subnet);
    if (place.network != nullptr) {
        check_region(findings, next, *place.network);
    }
    if (previous != nullptr) {
        check_endpoint_fixed(findings, next, *previous);
        return findings.take();
    }
    if (has_six(next)) {
        check_six_prefix(findings, facts.facts, "properties.ipVersionType", next.subnet);
    }
    check_addresses(findings, next.id, address_slots(next), facts.facts);
    if (facts.endpoints_in_network >= limits::kEndpointsPerVirtualNetwork) {
        findings.add("PrivateEndpointLimitReached", "properties.subnet.id",
                     fmt::format("the virtual network has {} private endpoints, at most {} are "
                                 "allowed; use another network",
                                 facts.endpoints_in_network, limits::kEndpointsPerVirtualNetwork),
                     Code::kConflict);
    }
    if (facts.connections_of_service >= limits::kEndpointsPerService) {
        findings.add("PrivateEndpointLimitReached", "properties.privateLinkServiceConnections",
                     fmt::format("the private link service has {} connections, at most {} are "
                                 "allowed; its owner must delete some",
                                 facts.connections_of_service, limits::kEndpointsPerService),
                     Code::kConflict);
    }
    return findings.take();
}

}  // namespace culvert::rules
