// SPDX-License-Identifier: Apache-2.0
#include "wire/nat_rule.hpp"

#include "base/limits.hpp"
#include "model/carried.hpp"
#include "wire/show.hpp"

namespace culvert::wire {
namespace json = boost::json;
namespace {

std::uint16_t read_port(const Reader& properties, std::string_view name) {
    return static_cast<std::uint16_t>(properties.number(name, 65535).value_or(0));
}

}  // namespace

void read_nat_rule(const Reader& element, model::InboundNatRule& rule) {
    const Reader inner = element.object("properties");
    rule.frontend = inner.reference("frontendIPConfiguration", true);
    rule.pool = inner.reference("backendAddressPool");
    const auto protocol = inner.choice("protocol", kProtocolNames);
    if (!protocol && !inner.has("protocol")) {
        inner.missing("protocol", "give Tcp or Udp");
    }
    rule.protocol = protocol.value_or(model::Protocol::kTcp);
    rule.frontend_port = read_port(inner, "frontendPort");
    rule.range_first = read_port(inner, "frontendPortRangeStart");
    rule.range_last = read_port(inner, "frontendPortRangeEnd");
    if (!inner.has("backendPort")) {
        inner.missing("backendPort", "give a port from 1 to 65535");
    }
    rule.backend_port = read_port(inner, "backendPort");
    rule.idle_minutes = inner.number("idleTimeoutInMinutes", 1000000).value_or(4);
    rule.floating_ip = inner.boolean("enableFloatingIP").value_or(false);
    rule.tcp_reset = inner.boolean("enableTcpReset").value_or(false);
}

void read_nat_rules(const Reader& properties, model::LoadBalancer& balancer) {
    for (const Reader& item : properties.list("inboundNatRules", limits::kRulesPerLoadBalancer)) {
        model::InboundNatRule& rule = balancer.nat_rules.emplace_back();
        rule.name = read_name(item);
        read_nat_rule(item, rule);
    }
}

json::array show_nat_rules(const model::LoadBalancer& value, std::string_view etag) {
    json::array out;
    for (const auto& rule : value.nat_rules) {
        json::object inner = element_properties(value);
        inner["frontendIPConfiguration"] = id_object(rule.frontend);
        inner["protocol"] = text(name_of(kProtocolNames, rule.protocol));
        inner["backendPort"] = rule.backend_port;
        inner["idleTimeoutInMinutes"] = rule.idle_minutes;
        inner["enableFloatingIP"] = rule.floating_ip;
        inner["enableTcpReset"] = rule.tcp_reset;
        if (rule.pool.empty()) {
            inner["frontendPort"] = rule.frontend_port;
            if (!rule.targets.empty()) {
                inner["backendIPConfiguration"] = id_object(rule.targets.front().configuration);
            }
        } else {
            inner["backendAddressPool"] = id_object(rule.pool);
            inner["frontendPortRangeStart"] = rule.range_first;
            inner["frontendPortRangeEnd"] = rule.range_last;
            inner["carriedByPrivateLink"] = model::is_carried(value, rule);  // not Azure's
        }
        out.push_back(
            element(value.id.child("inboundNatRules", rule.name), etag, std::move(inner)));
    }
    return out;
}

Read<PortQuery> read_port_query(const json::value& body) {
    return read_body<PortQuery>(body, [](const Reader& reader, PortQuery& query) {
        query.configuration = reader.reference("ipConfiguration");
        query.address = reader.address("ipAddress");
        if (!reader.has("ipConfiguration") && !reader.has("ipAddress")) {
            reader.missing("ipConfiguration", "give its id, or an ipAddress");
        }
    });
}

json::object show_ports(const model::LoadBalancer& value, const model::ResourceId& pool,
                        const model::ResourceId& nic) {
    json::array out;
    for (const auto& rule : value.nat_rules) {
        for (const auto& target : rule.targets) {
            if (rule.pool == pool && target.configuration.parent() == nic) {
                out.push_back(
                    json::object{{"inboundNatRuleName", rule.name},
                                 {"protocol", text(name_of(kProtocolNames, rule.protocol))},
                                 {"frontendPort", target.port},
                                 {"backendPort", rule.backend_port}});
            }
        }
    }
    return {{"inboundNatRulePortMappings", std::move(out)}};
}

std::vector<model::InboundNatRule> nat_rules_kept(std::string_view array) {
    std::vector<model::InboundNatRule> out;
    for (const json::value& item : raw(array)) {
        std::vector<Error> errors;
        const Reader element(&item, "", errors);
        model::InboundNatRule rule;
        rule.name = element.present() ? read_name(element) : std::string();
        read_nat_rule(element, rule);
        if (errors.empty()) {
            out.push_back(std::move(rule));
        }
    }
    return out;
}

}  // namespace culvert::wire
