// SPDX-License-Identifier: Apache-2.0
// Private link services and private endpoints: the body alone (privatelink-semantics 1.1, 1.3).
#include "base/limits.hpp"
#include "model/guid.hpp"
#include "model/types.hpp"
#include "rules/common.hpp"

#include <algorithm>

namespace culvert::rules {
namespace {

constexpr std::size_t kEndpointNameChars = 64;  // a connection is named {endpoint}.{guid}
constexpr std::string_view kSecurityGroup = "Microsoft.Network/applicationSecurityGroups";

void check_subscriptions(Findings& findings, std::string_view field,
                         const std::vector<std::string>& list, std::size_t max) {
    if (list.size() > max) {
        findings.add(kContent, field,
                     fmt::format("has {} subscriptions, at most {} are allowed; use \"*\" for all",
                                 list.size(), max));
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
        if (list[i] != "*" && !model::is_guid(list[i])) {
            findings.add(kContent, fmt::format("{}[{}]", field, i),
                         "is neither a subscription id (a GUID) nor \"*\"");
        }
    }
}

void check_consent(Findings& findings, const model::PrivateLinkService& value) {
    constexpr std::string_view kVisible = "properties.visibility.subscriptions";
    constexpr std::string_view kAuto = "properties.autoApproval.subscriptions";
    check_subscriptions(findings, kVisible, value.visibility, limits::kVisibilitySubscriptions);
    check_subscriptions(findings, kAuto, value.auto_approval, limits::kAutoApprovalSubscriptions);
    for (std::size_t i = 0; i < value.auto_approval.size(); ++i) {
        const auto& entry = value.auto_approval[i];
        const bool seen = std::ranges::any_of(value.visibility, [&entry](const auto& listed) {
            return listed == "*" || model::same_name(listed, entry);
        });
        if (!seen) {
            findings.add(kContent, fmt::format("{}[{}]", kAuto, i),
                         fmt::format("'{}' is not visible: auto-approval must be a part of "
                                     "visibility; add it to {}",
                                     entry, kVisible));
        }
    }
}

void check_service_frontends(Findings& findings, const model::PrivateLinkService& value) {
    constexpr std::string_view kList = "properties.loadBalancerFrontendIpConfigurations";
    if (value.frontends.empty()) {
        findings.add(kContent, kList,
                     "is empty, give the id of a Standard load balancer's frontend");
    }
    std::set<std::string> seen;
    for (std::size_t i = 0; i < value.frontends.size(); ++i) {
        const auto& frontend = value.frontends[i];
        const std::string field = fmt::format("{}[{}].id", kList, i);
        check_local(findings, field, frontend, model::types::kFrontend, value.id);
        if (!(frontend.parent() == value.frontends.front().parent())) {
            findings.add(kContent, field,
                         "is of another load balancer than the first; a service has one");
        }
        if (!seen.insert(frontend.key()).second) {
            findings.add(kContent, field, "is listed twice, leave one out");
        }
    }
}

void check_nat(Findings& findings, const model::PrivateLinkService& value) {
    constexpr std::string_view kList = "properties.ipConfigurations";
    if (value.nat.empty() || value.nat.size() > limits::kNatAddressesPerService) {
        findings.add(kContent, kList,
                     fmt::format("has {} NAT addresses, a private link service has 1 to {}; {}",
                                 value.nat.size(), limits::kNatAddressesPerService,
                                 value.nat.empty() ? "add one" : "remove some"));
        return;
    }
    NameSet names(findings, kList);
    std::size_t primaries = 0;
    for (std::size_t i = 0; i < value.nat.size(); ++i) {
        const auto& nat = value.nat[i];
        const std::string field = fmt::format("{}[{}].properties.subnet.id", kList, i);
        names.add(nat.name);
        primaries += nat.primary ? 1 : 0;
        if (nat.six.has_value() != value.nat.front().six.has_value()) {
            findings.add(kContent,
                         fmt::format("{}[{}].properties.privateIPAddressVersion", kList, i),
                         "is another than the first one's; a service has NAT addresses of one "
                         "version");
        }
        check_local(findings, field, nat.subnet, model::types::kSubnet, value.id);
        if (!(model::document_of(nat.subnet) == model::document_of(value.nat.front().subnet))) {
            findings.add(kContent, field,
                         "is in another virtual network than the first; all NAT addresses are in "
                         "the load balancer's");
        }
    }
    if (primaries != 1) {
        findings.add(kContent, kList,
                     fmt::format("{} configurations are primary, exactly one must be; set "
                                 "properties.primary",
                                 primaries));
    }
}

void check_request(Findings& findings, const model::LinkRequest& request) {
    const std::string base =
        fmt::format("properties.{}[0]", request.manual ? "manualPrivateLinkServiceConnections"
                                                       : "privateLinkServiceConnections");
    const std::string field = base + ".properties.privateLinkServiceId";
    check_name(findings, base + ".name", request.name, limits::kResourceNameChars);
    if (is_alias(request.target)) {
        if (!request.manual) {
            findings.add(kContent, field,
                         fmt::format("'{}' is not a resource id; a service is named by its alias "
                                     "in manualPrivateLinkServiceConnections only",
                                     request.target));
        }
    } else {
        const auto id = model::ResourceId::parse(request.target);
        if (!id || !id->is_type(model::types::kPrivateLinkService)) {
            findings.add(kContent, field,
                         fmt::format("'{}' is not a private link service; other targets are not "
                                     "supported",
                                     request.target));
            return;
        }
    }
    if (!request.group_ids.empty()) {
        findings.add(kContent, base + ".properties.groupIds",
                     "must be empty: a private link service has no sub-resources");
    }
    if (request.request_message.size() > limits::kRequestMessageChars) {
        findings.add(kContent, base + ".properties.requestMessage",
                     fmt::format("has {} characters, at most {} are allowed",
                                 request.request_message.size(), limits::kRequestMessageChars));
    }
}

}  // namespace

Errors validate(const model::PrivateLinkService& value) {
    Findings findings;
    check_name(findings, "name", value.id.name(), limits::kResourceNameChars);
    check_service_frontends(findings, value);
    check_nat(findings, value);
    check_consent(findings, value);
    if (value.fqdns.size() > limits::kFqdnsPerService) {
        findings.add(kContent, "properties.fqdns",
                     fmt::format("has {} names, at most {} are allowed", value.fqdns.size(),
                                 limits::kFqdnsPerService));
    }
    return findings.take();
}

Errors validate(const model::PrivateEndpoint& value) {
    Findings findings;
    check_name(findings, "name", value.id.name(), kEndpointNameChars);
    check_local(findings, "properties.subnet.id", value.subnet, model::types::kSubnet, value.id);
    if (value.requests.size() != 1) {
        findings.add(
            kContent, "properties.privateLinkServiceConnections",
            fmt::format("an endpoint has exactly one connection in "
                        "privateLinkServiceConnections and "
                        "manualPrivateLinkServiceConnections together, this body has {}; "
                        "{}",
                        value.requests.size(),
                        value.requests.empty() ? "add one" : "make an endpoint for each target"));
    } else {
        check_request(findings, value.requests.front());
    }
    if (value.ip_configurations.size() > 1) {
        findings.add(kContent, "properties.ipConfigurations",
                     fmt::format("has {} elements, an endpoint of a private link service has one "
                                 "address; leave the others out",
                                 value.ip_configurations.size()));
    }
    NameSet names(findings, "properties.ipConfigurations");
    for (const auto& config : value.ip_configurations) {
        names.add(config.name);
    }
    for (std::size_t i = 0; i < value.security_groups.size(); ++i) {
        check_local(findings, fmt::format("properties.applicationSecurityGroups[{}].id", i),
                    value.security_groups[i], kSecurityGroup, value.id);
    }
    if (!value.custom_nic_name.empty()) {
        check_name(findings, "properties.customNetworkInterfaceName", value.custom_nic_name,
                   limits::kResourceNameChars);
    }
    return findings.take();
}

}  // namespace culvert::rules
