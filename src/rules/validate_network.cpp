// SPDX-License-Identifier: Apache-2.0
// Groups, virtual networks, interfaces: the body alone.
#include "base/limits.hpp"
#include "model/types.hpp"
#include "rules/common.hpp"

#include <algorithm>
#include <array>

namespace culvert::rules {
namespace {

constexpr std::size_t kNetworkNameChars = 64;
constexpr std::uint8_t kLongestNetworkPrefix = 29;
constexpr std::uint8_t kShortestNetworkPrefix = 2;
constexpr std::uint8_t kShortestSixPrefix = 48;
constexpr std::uint8_t kSubnetSixPrefix = 64;

template <typename Prefix>
struct Placed {
    Prefix prefix;
    std::string field;
    std::string owner;
};

// Every prefix that overlaps an earlier one in address order, each told once. Of two prefixes that
// overlap one holds the other.
template <typename Prefix, typename Tell>
void find_overlaps(std::vector<Placed<Prefix>> all, Tell tell) {
    std::ranges::sort(all, {}, &Placed<Prefix>::prefix);
    const Placed<Prefix>* widest = nullptr;
    for (const auto& one : all) {
        if (widest != nullptr && widest->prefix.overlaps(one.prefix)) {
            tell(one, *widest);
        } else {
            widest = &one;
        }
    }
}

// Ranges that no virtual network may use (Azure: "address ranges that you can't add").
void check_forbidden(Findings& findings, const std::string& field, const net::Ipv4Prefix& prefix) {
    static constexpr std::array<std::pair<net::Ipv4Prefix, std::string_view>, 6> kForbidden{{
        {{{0x00000000}, 8}, "this network (0.0.0.0/8)"},
        {{{0x7f000000}, 8}, "loopback (127.0.0.0/8)"},
        {{{0xa9fe0000}, 16}, "link local (169.254.0.0/16)"},
        {{{0xe0000000}, 4}, "multicast (224.0.0.0/4)"},
        {{{0xf0000000}, 4}, "reserved (240.0.0.0/4)"},
        {{{0xa83f8110}, 32}, "the platform's own address (168.63.129.16)"},
    }};
    for (const auto& [range, what] : kForbidden) {
        if (range.overlaps(prefix)) {
            findings.add(kContent, field,
                         fmt::format("{} overlaps {}; use another range", prefix.str(), what));
        }
    }
}

template <typename Prefix>
void check_space_overlaps(Findings& findings, std::vector<Placed<Prefix>> placed) {
    find_overlaps(std::move(placed), [&](const auto& one, const auto& other) {
        findings.add(kContent, one.field,
                     fmt::format("{} overlaps {} of the same address space; leave one of them out",
                                 one.prefix.str(), other.prefix.str()));
    });
}

template <typename Prefix>
void check_subnet_overlaps(Findings& findings, std::vector<Placed<Prefix>> placed) {
    find_overlaps(std::move(placed), [&](const auto& one, const auto& other) {
        findings.add(
            "NetcfgSubnetRangesOverlap", one.field,
            fmt::format("{} of subnet '{}' overlaps {} of subnet '{}'; choose a free range",
                        one.prefix.str(), one.owner, other.prefix.str(), other.owner));
    });
}

// IPv6 of a virtual network: unique local (RFC 4193) or global prefixes.
void check_space6(Findings& findings, const model::VirtualNetwork& value) {
    static constexpr net::Ipv6Prefix kLocal{{{0xfc}}, 7}, kGlobal{{{0x20}}, 3};
    std::vector<Placed<net::Ipv6Prefix>> placed;
    for (std::size_t i = 0; i < value.prefixes6.size(); ++i) {
        const auto& prefix = value.prefixes6[i];
        const std::string field =
            fmt::format("properties.addressSpace.addressPrefixes[{}]", value.prefixes.size() + i);
        if (prefix.length < kShortestSixPrefix || prefix.length > kSubnetSixPrefix) {
            findings.add(kContent, field,
                         fmt::format("{} is not from /{} to /{}", prefix.str(), kShortestSixPrefix,
                                     kSubnetSixPrefix));
        }
        if (!kLocal.contains(prefix) && !kGlobal.contains(prefix)) {
            findings.add(kContent, field,
                         fmt::format("{} is neither unique local (fc00::/7) nor global (2000::/3); "
                                     "use one of these",
                                     prefix.str()));
        }
        placed.push_back({prefix, field, {}});
    }
    check_space_overlaps(findings, std::move(placed));
}

void check_subnets6(Findings& findings, const model::VirtualNetwork& value) {
    std::vector<Placed<net::Ipv6Prefix>> placed;
    for (std::size_t i = 0; i < value.subnets.size(); ++i) {
        const auto& subnet = value.subnets[i];
        const std::string field =
            fmt::format("properties.subnets[{}].properties.addressPrefixes", i);
        if (subnet.prefixes6.size() > 1) {
            findings.add(kContent, field,
                         fmt::format("subnet '{}' has {} IPv6 prefixes; leave one", subnet.name,
                                     subnet.prefixes6.size()));
        }
        for (const auto& prefix : subnet.prefixes6) {
            if (prefix.length != kSubnetSixPrefix) {
                findings.add(kContent, field,
                             fmt::format("{} is not a /{}, as the IPv6 prefix of a subnet must be",
                                         prefix.str(), kSubnetSixPrefix));
            }
            if (std::ranges::none_of(value.prefixes6,
                                     [&](const auto& own) { return own.contains(prefix); })) {
                findings.add("NetcfgSubnetRangeOutsideVnet", field,
                             fmt::format("{} of subnet '{}' is outside the address space of "
                                         "virtual network '{}'; use a part of "
                                         "properties.addressSpace.addressPrefixes",
                                         prefix.str(), subnet.name, value.id.name()));
            }
            placed.push_back({prefix, field, subnet.name});
        }
    }
    check_subnet_overlaps(findings, std::move(placed));
}

void check_space(Findings& findings, const model::VirtualNetwork& value) {
    constexpr std::string_view kField = "properties.addressSpace.addressPrefixes";
    if (value.prefixes.empty()) {
        findings.add(kContent, kField,
                     value.prefixes6.empty()
                         ? "is empty, give at least one prefix such as 10.0.0.0/16"
                         : "has IPv6 alone, give an IPv4 prefix such as 10.0.0.0/16 beside it");
    }
    std::vector<Placed<net::Ipv4Prefix>> placed;
    for (std::size_t i = 0; i < value.prefixes.size(); ++i) {
        const auto& prefix = value.prefixes[i];
        const std::string field = fmt::format("{}[{}]", kField, i);
        if (prefix.length > kLongestNetworkPrefix || prefix.length < kShortestNetworkPrefix) {
            findings.add(kContent, field,
                         fmt::format("{} is not from /{} to /{}", prefix.str(),
                                     kShortestNetworkPrefix, kLongestNetworkPrefix));
        }
        check_forbidden(findings, field, prefix);
        placed.push_back({prefix, field, {}});
    }
    check_space_overlaps(findings, std::move(placed));
    check_space6(findings, value);
}

void check_subnets(Findings& findings, const model::VirtualNetwork& value) {
    NameSet names(findings, "properties.subnets");
    std::vector<Placed<net::Ipv4Prefix>> placed;
    for (std::size_t i = 0; i < value.subnets.size(); ++i) {
        const auto& subnet = value.subnets[i];
        const std::string base = fmt::format("properties.subnets[{}].properties", i);
        names.add(subnet.name);
        if (subnet.prefixes.empty()) {
            findings.add(
                kContent, base + ".addressPrefix",
                subnet.prefixes6.empty()
                    ? "is missing, give a prefix such as 10.0.0.0/24"
                    : "is missing, IPv6 needs an IPv4 prefix such as 10.0.0.0/24 beside it");
        }
        for (std::size_t j = 0; j < subnet.prefixes.size(); ++j) {
            const auto& prefix = subnet.prefixes[j];
            const std::string field = subnet.prefixes_as_list
                                          ? fmt::format("{}.addressPrefixes[{}]", base, j)
                                          : base + ".addressPrefix";
            if (prefix.length > kLongestNetworkPrefix) {
                findings.add(kContent, field,
                             fmt::format("{} is too small: five addresses of a subnet are "
                                         "reserved, use /{} or larger",
                                         prefix.str(), kLongestNetworkPrefix));
            }
            if (std::ranges::none_of(value.prefixes,
                                     [&](const auto& own) { return own.contains(prefix); })) {
                findings.add(
                    "NetcfgSubnetRangeOutsideVnet", field,
                    fmt::format("{} of subnet '{}' is outside the address space of virtual "
                                "network '{}'; use a part of "
                                "properties.addressSpace.addressPrefixes",
                                prefix.str(), subnet.name, value.id.name()));
            }
            placed.push_back({prefix, field, subnet.name});
        }
    }
    check_subnet_overlaps(findings, std::move(placed));
    check_subnets6(findings, value);
}

void check_pools(Findings& findings, const std::string& base,
                 const std::vector<model::ResourceId>& pools, const model::ResourceId& self) {
    for (std::size_t i = 0; i < pools.size(); ++i) {
        check_local(findings, fmt::format("{}.loadBalancerBackendAddressPools[{}].id", base, i),
                    pools[i], model::types::kBackendPool, self);
    }
}

}  // namespace

Errors validate(const model::ResourceGroup& value) {
    Findings findings;
    const std::string& name = value.id.name();
    const bool good = !name.empty() && name.size() <= limits::kResourceGroupNameChars &&
                      name.back() != '.' && std::ranges::all_of(name, [](char c) {
                          return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                                 (c >= 'A' && c <= 'Z') ||
                                 std::string_view("-_.()").find(c) != std::string_view::npos;
                      });
    if (!good) {
        findings.add("InvalidResourceGroupName", "name",
                     fmt::format("use 1 to {} letters, digits and -_.() and no '.' at the end",
                                 limits::kResourceGroupNameChars));
    }
    return findings.take();
}

Errors validate(const model::VirtualNetwork& value) {
    Findings findings;
    check_name(findings, "name", value.id.name(), kNetworkNameChars);
    check_space(findings, value);
    if (value.subnets.size() > limits::kSubnetsPerVirtualNetwork) {
        findings.add(kContent, "properties.subnets",
                     fmt::format("{} subnets are more than {}", value.subnets.size(),
                                 limits::kSubnetsPerVirtualNetwork));
        return findings.take();
    }
    check_subnets(findings, value);
    for (std::size_t i = 0; i < value.dns_servers.size(); ++i) {
        if (!net::Ipv4::parse(value.dns_servers[i])) {
            findings.add(kContent, fmt::format("properties.dhcpOptions.dnsServers[{}]", i),
                         "is not an IPv4 address");
        }
    }
    return findings.take();
}

Errors validate(const model::NetworkInterface& value) {
    Findings findings;
    constexpr std::string_view kList = "properties.ipConfigurations";
    check_name(findings, "name", value.id.name(), limits::kResourceNameChars);
    if (value.ip_configurations.empty()) {
        findings.add(kContent, kList, "is empty, an interface needs an IP configuration");
        return findings.take();
    }
    NameSet names(findings, kList);
    std::size_t primaries = 0;
    std::set<std::string> rules;  // inbound NAT rules
    for (std::size_t i = 0; i < value.ip_configurations.size(); ++i) {
        const auto& config = value.ip_configurations[i];
        const std::string base = fmt::format("{}[{}].properties", kList, i);
        names.add(config.name);
        primaries += config.primary ? 1 : 0;
        check_local(findings, base + ".subnet.id", config.subnet, model::types::kSubnet, value.id);
        if (!(model::document_of(config.subnet) ==
              model::document_of(value.ip_configurations.front().subnet))) {
            findings.add(kContent, base + ".subnet.id",
                         "is in another virtual network than the first IP configuration; an "
                         "interface has one network");
        }
        check_pools(findings, base, config.pools, value.id);
        for (std::size_t j = 0; j < config.nat_rules.size(); ++j) {
            check_local(findings, nat_rule_field(i, j), config.nat_rules[j],
                        model::types::kInboundNatRule, value.id);
            if (!rules.insert(config.nat_rules[j].key()).second) {
                findings.add(kContent, nat_rule_field(i, j),
                             fmt::format("names '{}' a second time; once is enough",
                                         config.nat_rules[j].name()));
            }
        }
    }
    if (value.six) {
        names.add(value.six->name);
        check_pools(findings,
                    fmt::format("{}[{}].properties", kList, value.ip_configurations.size()),
                    value.six->pools, value.id);
        const auto primary =
            std::ranges::find_if(value.ip_configurations, &model::NicIpConfiguration::primary);
        if (primary != value.ip_configurations.end() && !(primary->subnet == value.six->subnet)) {
            findings.add(
                kContent,
                fmt::format("{}[{}].properties.subnet.id", kList, value.ip_configurations.size()),
                "is not the subnet of the primary IP configuration, which the IPv6 "
                "address follows; use that one");
        }
    }
    if (primaries != 1) {
        findings.add(kContent, kList,
                     fmt::format("{} IP configurations are primary, exactly one must be; set "
                                 "properties.primary",
                                 primaries));
    }
    return findings.take();
}

}  // namespace culvert::rules
