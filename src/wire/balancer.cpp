// SPDX-License-Identifier: Apache-2.0
// loadBalancers and their children (arm-contract 5.8, 8, 11).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "wire/nat_rule.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"
#include "wire/wire.hpp"

namespace culvert::wire {
namespace json = boost::json;
namespace {

void read_frontends(const Reader& properties, model::LoadBalancer& balancer) {
    for (const Reader& item :
         properties.list("frontendIPConfigurations", limits::kFrontendsPerLoadBalancer)) {
        model::Frontend& frontend = balancer.frontends.emplace_back();
        frontend.name = read_name(item);
        frontend.zones = item.strings("zones", 16, 16);
        const Reader inner = item.object("properties");
        read_addressed(inner, false, frontend);
        frontend.public_ip = inner.reference("publicIPAddress");
    }
}

model::ResourceId read_rule_pool(const Reader& properties) {
    const auto listed = properties.references("backendAddressPools", limits::kListedElements);
    if (listed.size() > 1) {
        properties.wrong("backendAddressPools",
                         fmt::format("has {} elements, a rule has one pool (several need a Gateway "
                                     "load balancer, which is not supported)",
                                     listed.size()));
    }
    // clients that know the list clear the single form and the other way round
    const auto single = properties.reference("backendAddressPool");
    return listed.empty() ? single : listed.front();
}

void read_rules(const Reader& properties, model::LoadBalancer& balancer) {
    for (const Reader& item :
         properties.list("loadBalancingRules", limits::kRulesPerLoadBalancer)) {
        model::LbRule& rule = balancer.rules.emplace_back();
        rule.name = read_name(item);
        const Reader inner = item.object("properties");
        rule.frontend = inner.reference("frontendIPConfiguration", true);
        rule.pool = read_rule_pool(inner);
        rule.probe = inner.reference("probe");
        const auto protocol = inner.choice("protocol", kProtocolNames);
        if (!protocol && !inner.has("protocol")) {
            inner.missing("protocol", "give Tcp, Udp or All");
        }
        rule.protocol = protocol.value_or(model::Protocol::kTcp);
        for (const auto name : {"frontendPort", "backendPort"}) {
            if (!inner.has(name)) {
                inner.missing(name, "give a port from 1 to 65535, or 0 with protocol All");
            }
        }
        rule.frontend_port =
            static_cast<std::uint16_t>(inner.number("frontendPort", 65535).value_or(0));
        rule.backend_port =
            static_cast<std::uint16_t>(inner.number("backendPort", 65535).value_or(0));
        rule.idle_minutes = inner.number("idleTimeoutInMinutes", 1000000).value_or(4);
        rule.floating_ip = inner.boolean("enableFloatingIP").value_or(false);
        rule.tcp_reset = inner.boolean("enableTcpReset").value_or(false);
        rule.disable_outbound_snat = inner.boolean("disableOutboundSnat").value_or(false);
        rule.affinity =
            inner.choice("loadDistribution", kAffinityNames).value_or(model::Affinity::kDefault);
    }
}

void read_probes(const Reader& properties, model::LoadBalancer& balancer) {
    for (const Reader& item : properties.list("probes", limits::kProbesPerLoadBalancer)) {
        model::Probe& probe = balancer.probes.emplace_back();
        probe.name = read_name(item);
        const Reader inner = item.object("properties");
        probe.protocol = inner.choice("protocol", kProbeProtocolNames).value_or("Tcp");
        if (!inner.has("port")) {
            inner.missing("port", "give a port from 1 to 65535");
        }
        probe.port = static_cast<std::uint16_t>(inner.number("port", 65535).value_or(0));
        probe.interval_s = inner.number("intervalInSeconds", 1000000).value_or(15);
        probe.count = inner.number("numberOfProbes", 1000000).value_or(2);
        probe.threshold = inner.number("probeThreshold", 1000000).value_or(1);
        probe.request_path = inner.string("requestPath", limits::kProbePathChars).value_or("");
        probe.all_up = inner.choice("noHealthyBackendsBehavior", kAllDownNames).value_or(false);
    }
}

// The ids of those rules in the list `type` whose `part` is the one of that id.
template <typename Rule>
json::array users_of(const model::LoadBalancer& value, const std::vector<Rule>& rules,
                     std::string_view type, model::ResourceId Rule::* part,
                     const model::ResourceId& id) {
    json::array out;
    for (const auto& rule : rules) {
        if (rule.*part == id) {
            out.push_back(id_object(value.id.child(type, rule.name)));
        }
    }
    return out;
}
json::array rules_of(const model::LoadBalancer& value, model::ResourceId model::LbRule::* part,
                     const model::ResourceId& id) {
    return users_of(value, value.rules, "loadBalancingRules", part, id);
}
json::array nat_rules_of(const model::LoadBalancer& value,
                         model::ResourceId model::InboundNatRule::* part,
                         const model::ResourceId& id) {
    return users_of(value, value.nat_rules, "inboundNatRules", part, id);
}

json::array show_frontends(const model::LoadBalancer& value, std::string_view etag) {
    json::array out;
    for (const auto& frontend : value.frontends) {
        const auto id = value.id.child("frontendIPConfigurations", frontend.name);
        json::object inner = element_properties(value);
        add_address(inner, frontend);
        if (!frontend.public_ip.empty()) {
            inner["publicIPAddress"] = id_object(frontend.public_ip);
        }
        inner["loadBalancingRules"] = rules_of(value, &model::LbRule::frontend, id);
        inner["inboundNatRules"] = nat_rules_of(value, &model::InboundNatRule::frontend, id);
        json::object shown = element(id, etag, std::move(inner));
        if (!frontend.zones.empty()) {
            shown["zones"] = string_array(frontend.zones);
        }
        out.push_back(std::move(shown));
    }
    return out;
}

json::array show_pools(const model::LoadBalancer& value, const BalancerView& view) {
    json::array out;
    for (const auto& pool : value.pools) {
        const auto id = value.id.child("backendAddressPools", pool.name);
        json::object inner = element_properties(value);
        const auto members = view.pool_members.find(model::lower(pool.name));
        inner["backendIPConfigurations"] =
            members == view.pool_members.end() ? json::array{} : id_array(members->second);
        inner["loadBalancerBackendAddresses"] = raw(pool.addresses_json);
        inner["loadBalancingRules"] = rules_of(value, &model::LbRule::pool, id);
        inner["inboundNatRules"] = nat_rules_of(value, &model::InboundNatRule::pool, id);
        out.push_back(element(id, view.etag, std::move(inner)));
    }
    return out;
}

json::array show_rules(const model::LoadBalancer& value, std::string_view etag) {
    json::array out;
    for (const auto& rule : value.rules) {
        json::object inner = element_properties(value);
        inner["frontendIPConfiguration"] = id_object(rule.frontend);
        inner["frontendPort"] = rule.frontend_port;
        inner["backendPort"] = rule.backend_port;
        inner["protocol"] = text(name_of(kProtocolNames, rule.protocol));
        inner["idleTimeoutInMinutes"] = rule.idle_minutes;
        inner["enableFloatingIP"] = rule.floating_ip;
        inner["enableTcpReset"] = rule.tcp_reset;
        inner["disableOutboundSnat"] = rule.disable_outbound_snat;
        inner["loadDistribution"] = text(name_of(kAffinityNames, rule.affinity));
        json::array pools;
        if (!rule.pool.empty()) {
            inner["backendAddressPool"] = id_object(rule.pool);
            pools.push_back(id_object(rule.pool));
        }
        inner["backendAddressPools"] = std::move(pools);
        if (!rule.probe.empty()) {
            inner["probe"] = id_object(rule.probe);
        }
        out.push_back(
            element(value.id.child("loadBalancingRules", rule.name), etag, std::move(inner)));
    }
    return out;
}

json::array show_probes(const model::LoadBalancer& value, std::string_view etag) {
    json::array out;
    for (const auto& probe : value.probes) {
        const auto id = value.id.child("probes", probe.name);
        json::object inner = element_properties(value);
        inner["protocol"] = probe.protocol;
        inner["port"] = probe.port;
        inner["intervalInSeconds"] = probe.interval_s;
        inner["numberOfProbes"] = probe.count;
        inner["probeThreshold"] = probe.threshold;
        inner["noHealthyBackendsBehavior"] = text(name_of(kAllDownNames, probe.all_up));
        if (!probe.request_path.empty()) {
            inner["requestPath"] = probe.request_path;
        }
        inner["loadBalancingRules"] = rules_of(value, &model::LbRule::probe, id);
        out.push_back(element(id, etag, std::move(inner)));
    }
    return out;
}

}  // namespace

template <>
Read<model::BackendPool> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::BackendPool>(body, [&](const Reader& reader, model::BackendPool& pool) {
        pool.name = id.name();
        pool.addresses_json = reader.object("properties").raw_array("loadBalancerBackendAddresses");
    });
}

template <>
Read<model::InboundNatRule> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::InboundNatRule>(body,
                                            [&](const Reader& reader, model::InboundNatRule& rule) {
                                                rule.name = id.name();
                                                read_nat_rule(reader, rule);
                                            });
}

template <>
Read<model::LoadBalancer> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::LoadBalancer>(
        body, [&](const Reader& reader, model::LoadBalancer& balancer) {
            read_resource(reader, id, balancer);
            const Reader sku = reader.object("sku");
            balancer.sku = sku.choice("name", kSkuNames).value_or("Basic");
            balancer.tier = sku.choice("tier", kTierNames).value_or("Regional");
            const Reader properties = reader.object("properties");
            read_frontends(properties, balancer);
            for (const Reader& item :
                 properties.list("backendAddressPools", limits::kPoolsPerLoadBalancer)) {
                model::BackendPool& pool = balancer.pools.emplace_back();
                pool.name = read_name(item);
                pool.addresses_json =
                    item.object("properties").raw_array("loadBalancerBackendAddresses");
            }
            read_rules(properties, balancer);
            read_probes(properties, balancer);
            read_nat_rules(properties, balancer);
            balancer.outbound_rules_json = properties.raw_array("outboundRules");
            balancer.inbound_nat_pools_json = properties.raw_array("inboundNatPools");
        });
}

json::object show(const model::LoadBalancer& value, const BalancerView& view) {
    json::object properties = resource_properties(value);
    properties["frontendIPConfigurations"] = show_frontends(value, view.etag);
    properties["backendAddressPools"] = show_pools(value, view);
    properties["loadBalancingRules"] = show_rules(value, view.etag);
    properties["probes"] = show_probes(value, view.etag);
    properties["inboundNatRules"] = show_nat_rules(value, view.etag);
    properties["outboundRules"] = raw(value.outbound_rules_json);
    properties["inboundNatPools"] = raw(value.inbound_nat_pools_json);
    json::object out = resource(value, view.etag, std::move(properties));
    out["sku"] = json::object{{"name", value.sku}, {"tier", value.tier}};
    return out;
}

}  // namespace culvert::wire
