// SPDX-License-Identifier: Apache-2.0
// Load balancers: the body alone (privatelink-semantics 1.5).
#include "base/limits.hpp"
#include "base/probe_limits.hpp"
#include "model/types.hpp"
#include "rules/common.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace culvert::rules {
namespace {

constexpr std::uint32_t kProbeIntervalMin = 5;

void check_frontends(Findings& findings, const model::LoadBalancer& value) {
    constexpr std::string_view kList = "properties.frontendIPConfigurations";
    NameSet names(findings, kList);
    for (std::size_t i = 0; i < value.frontends.size(); ++i) {
        const auto& frontend = value.frontends[i];
        const std::string base = fmt::format("{}[{}].properties", kList, i);
        names.add(frontend.name);
        if (frontend.subnet.empty() == frontend.public_ip.empty()) {
            findings.add(kContent, base,
                         "give either subnet.id (internal) or publicIPAddress.id (public)");
        } else if (frontend.public_ip.empty()) {
            check_local(findings, base + ".subnet.id", frontend.subnet, model::types::kSubnet,
                        value.id);
        } else {
            check_type(findings, base + ".publicIPAddress.id", frontend.public_ip,
                       model::types::kPublicAddress);
        }
        if (frontend.six && frontend.subnet.empty()) {
            findings.add(kContent, base + ".privateIPAddressVersion",
                         "IPv6 is for an internal frontend; give subnet.id or use IPv4");
        }
        const auto& first = value.frontends.front().subnet;
        if (!frontend.subnet.empty() && !first.empty() &&
            !(model::document_of(frontend.subnet) == model::document_of(first))) {
            findings.add(kContent, base + ".subnet.id",
                         "is in another virtual network than the first frontend; a load balancer "
                         "has one network");
        }
    }
}

void check_ports(Findings& findings, const std::string& base, const model::LbRule& rule, bool basic,
                 bool is_public) {
    const bool all = rule.protocol == model::Protocol::kAll;
    if (all && (rule.frontend_port != 0 || rule.backend_port != 0)) {
        findings.add(kContent, base + ".frontendPort",
                     "protocol All (HA ports) needs frontendPort and backendPort 0");
    }
    if (!all && (rule.frontend_port == 0 || rule.backend_port == 0)) {
        findings.add(kContent, base + (rule.frontend_port == 0 ? ".frontendPort" : ".backendPort"),
                     "port 0 is for protocol All (HA ports) only; use 1 to 65535");
    }
    if (all && is_public) {
        findings.add(kContent, base + ".protocol",
                     "HA ports need an internal frontend; use one with a subnet");
    }
    if (all && basic) {
        findings.add(kContent, base + ".protocol",
                     "HA ports need a Standard load balancer; set sku.name to Standard");
    }
}

// Backends of a pool are reached by one version.
void check_versions(Findings& findings, const model::LoadBalancer& value) {
    std::map<std::string, bool> six;  // by pool, as its first rule
    for (std::size_t i = 0; i < value.rules.size(); ++i) {
        const auto& rule = value.rules[i];
        const auto* at = find_frontend(value, rule.frontend.name());
        if (at == nullptr || rule.pool.empty()) {
            continue;
        }
        const bool mine = at->six.has_value();
        if (six.try_emplace(rule.pool.key(), mine).first->second != mine) {
            findings.add(
                kContent,
                fmt::format(
                    "properties.loadBalancingRules[{}].properties.backendAddressPools[0].id", i),
                fmt::format("rules lead to pool '{}' from frontends of IPv4 and of IPv6; give one "
                            "of them a pool of its own",
                            rule.pool.name()));
        }
    }
}

void check_rules(Findings& findings, const model::LoadBalancer& value) {
    constexpr std::string_view kList = "properties.loadBalancingRules";
    NameSet names(findings, kList);
    // (frontend, port) -> protocol words taken there
    std::map<std::pair<std::string, std::uint16_t>, std::set<model::Protocol>> taken;
    // frontend, pool -> has HA rule, has others
    std::map<std::string, std::pair<bool, bool>> kinds;
    std::map<std::string, std::set<std::string>> probes;  // pool -> those that rules lead there by
    for (std::size_t i = 0; i < value.rules.size(); ++i) {
        const auto& rule = value.rules[i];
        const std::string base = fmt::format("{}[{}].properties", kList, i);
        names.add(rule.name);
        check_own(findings, base + ".frontendIPConfiguration.id", value, rule.frontend,
                  model::types::kFrontend, find_frontend(value, rule.frontend.name()) != nullptr);
        if (!rule.pool.empty()) {
            check_own(findings, base + ".backendAddressPools[0].id", value, rule.pool,
                      model::types::kBackendPool, find_pool(value, rule.pool.name()) != nullptr);
        }
        if (!rule.probe.empty()) {
            bool known = false;
            for (const auto& probe : value.probes) {
                known = known || model::same_name(probe.name, rule.probe.name());
            }
            check_own(findings, base + ".probe.id", value, rule.probe, model::types::kProbe, known);
            auto& of_pool = probes[rule.pool.key()];
            of_pool.insert(rule.probe.key());
            if (!rule.pool.empty() && of_pool.size() > limits::kProbesPerPool) {
                findings.add(kContent, base + ".probe.id",
                             fmt::format("rules lead to this backend pool by more than {} probes; "
                                         "let some of them share a probe, or use another pool",
                                         limits::kProbesPerPool));
            }
        }
        const auto* at = find_frontend(value, rule.frontend.name());
        check_ports(findings, base, rule, value.sku == "Basic",
                    at != nullptr && at->subnet.empty() && !at->public_ip.empty());
        check_idle(findings, base, rule.idle_minutes);
        const std::string frontend = rule.frontend.key();
        if (!taken[{frontend, rule.frontend_port}].insert(rule.protocol).second) {
            findings.add("RulesUseSameFrontendPortAndProtocol", base + ".frontendPort",
                         fmt::format("port {} of this frontend and protocol already has a rule; "
                                     "use another port",
                                     rule.frontend_port));
        }
        const auto mixes = [&](const std::string& part) {
            auto& [ha, other] = kinds[part];
            (rule.protocol == model::Protocol::kAll ? ha : other) = true;
            return ha && other;
        };
        if (mixes(frontend)) {
            findings.add(kContent, base + ".protocol",
                         "a frontend with an HA ports rule (protocol All) has no other rules; "
                         "remove one of them");
        }
        if (!rule.pool.empty() && mixes(rule.pool.key())) {
            findings.add(kContent, base + ".backendAddressPools[0].id",
                         fmt::format("pool '{}' has an HA ports rule (protocol All) and other "
                                     "rules, which cannot share a pool; give one of them a pool "
                                     "of its own",
                                     rule.pool.name()));
        }
    }
}

// What may stand in the first line of a request (RFC 9112 3.2.1); none is none.
bool is_request_target(std::string_view path) {
    return std::ranges::all_of(path, [](char letter) { return letter > ' ' && letter < 0x7f; });
}

void check_probes(Findings& findings, const model::LoadBalancer& value) {
    constexpr std::string_view kList = "properties.probes";
    NameSet names(findings, kList);
    for (std::size_t i = 0; i < value.probes.size(); ++i) {
        const auto& probe = value.probes[i];
        const std::string base = fmt::format("{}[{}].properties", kList, i);
        names.add(probe.name);
        if (probe.port == 0) {
            findings.add(kContent, base + ".port", "is not from 1 to 65535");
        }
        if (probe.interval_s < kProbeIntervalMin) {
            findings.add(kContent, base + ".intervalInSeconds",
                         fmt::format("{} is less than {}", probe.interval_s, kProbeIntervalMin));
        }
        if (probe.count == 0 || probe.threshold == 0) {
            findings.add(kContent,
                         base + (probe.count == 0 ? ".numberOfProbes" : ".probeThreshold"),
                         "must be at least 1");
        }
        const bool http = !model::same_name(probe.protocol, "Tcp");
        if (http != !probe.request_path.empty()) {
            findings.add(kContent, base + ".requestPath",
                         http ? "is missing, an HTTP(S) probe needs a path such as /health"
                              : "is for HTTP(S) probes only; leave it out or change protocol");
        } else if (!is_request_target(probe.request_path)) {
            findings.add(kContent, base + ".requestPath",
                         "has blanks or control characters; escape them (%20)");
        }
    }
}

}  // namespace

Errors validate(const model::LoadBalancer& value) {
    Findings findings;
    check_name(findings, "name", value.id.name(), limits::kResourceNameChars);
    if (value.sku == "Gateway" || value.tier != "Regional") {
        findings.add(kContent, value.sku == "Gateway" ? "sku.name" : "sku.tier",
                     "Gateway load balancers and the Global tier are not supported; use Standard "
                     "and Regional");
    }
    check_frontends(findings, value);
    NameSet pools(findings, "properties.backendAddressPools");
    for (const auto& pool : value.pools) {
        pools.add(pool.name);
    }
    check_rules(findings, value);
    check_versions(findings, value);
    check_nat_rules(findings, value);
    check_probes(findings, value);
    return findings.take();
}

}  // namespace culvert::rules
