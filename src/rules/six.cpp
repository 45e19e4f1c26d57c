// SPDX-License-Identifier: Apache-2.0
// IPv6 addresses: they follow from the subnet's prefix and the IPv4 address of the same resource,
// so that one is never taken twice. And who is reached by IPv6.
#include "model/types.hpp"
#include "rules/common.hpp"

#include <algorithm>

namespace culvert::rules {
namespace {

std::optional<net::Ipv6Prefix> six_prefix(const Facts& facts, const model::ResourceId& subnet) {
    const Place place = find_place(facts, subnet);
    if (place.subnet == nullptr || place.subnet->prefixes6.empty()) {
        return std::nullopt;
    }
    return place.subnet->prefixes6.front();
}

template <typename Configuration>
void set_each(std::vector<Configuration>& configurations, const Facts& facts) {
    for (Configuration& one : configurations) {
        const auto prefix = one.six ? six_prefix(facts, one.subnet) : std::nullopt;
        if (prefix && one.address) {
            one.six = prefix->joined(*one.address);
        }
    }
}

}  // namespace

bool speaks_six(const model::LoadBalancer& balancer) {
    return std::ranges::any_of(balancer.frontends,
                               [](const auto& frontend) { return frontend.six.has_value(); });
}

void check_six_prefix(Findings& findings, const Facts& facts, std::string_view field,
                      const model::ResourceId& subnet) {
    if (find_place(facts, subnet).subnet != nullptr && !six_prefix(facts, subnet)) {
        findings.add(kReference, field,
                     fmt::format("subnet '{}' has no IPv6 prefix; add a /64 to its addressPrefixes "
                                 "or use IPv4",
                                 subnet.name()));
    }
}

std::string_view version_name(bool six) { return six ? "IPv6" : "IPv4"; }

bool has_six(const model::PrivateEndpoint& value) {
    return value.ip_version == model::IpVersion::kDualStack ||
           value.ip_version == model::IpVersion::kIpv6;
}

void set_six(model::NetworkInterface& value, const Facts& facts) {
    const auto primary =
        std::ranges::find_if(value.ip_configurations, &model::NicIpConfiguration::primary);
    if (!value.six || primary == value.ip_configurations.end() || !primary->address) {
        return;
    }
    if (const auto prefix = six_prefix(facts, value.six->subnet)) {
        value.six->address = prefix->joined(*primary->address);
    }
}

void set_six(model::LoadBalancer& value, const Facts& facts) { set_each(value.frontends, facts); }
void set_six(model::PrivateLinkService& value, const Facts& facts) { set_each(value.nat, facts); }

void set_six(model::PrivateEndpoint& value, const Facts& facts) {
    const auto prefix = six_prefix(facts, value.subnet);
    if (has_six(value) && prefix) {
        value.six = prefix->joined(value.address);
    }
}

std::optional<bool> reached_by_six(const model::LoadBalancer& balancer, std::string_view pool) {
    for (const auto& rule : balancer.rules) {
        const auto* frontend = rule.pool.empty() || !model::same_name(rule.pool.name(), pool)
                                   ? nullptr
                                   : find_frontend(balancer, rule.frontend.name());
        if (frontend != nullptr) {
            return frontend->six.has_value();
        }
    }
    return std::nullopt;
}

std::vector<std::string> pools_to_know(const model::LoadBalancer& next,
                                       const model::LoadBalancer* previous) {
    std::vector<std::string> out;
    if (previous == nullptr || (!speaks_six(next) && !speaks_six(*previous))) {
        return out;
    }
    for (const auto& pool : next.pools) {
        const auto now = reached_by_six(next, pool.name);
        if (now && now != reached_by_six(*previous, pool.name)) {
            out.push_back(pool.name);
        }
    }
    return out;
}

}  // namespace culvert::rules
