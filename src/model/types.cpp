// SPDX-License-Identifier: Apache-2.0
#include "model/types.hpp"

#include <array>
#include <span>

namespace culvert::model {
namespace {

constexpr std::array<std::string_view, 3> kProviders{"Microsoft.Network", "Microsoft.Resources",
                                                     "Microsoft.Authorization"};
constexpr std::array<std::string_view, 17> kTypes{"virtualNetworks",
                                                  "subnets",
                                                  "networkInterfaces",
                                                  "ipConfigurations",
                                                  "loadBalancers",
                                                  "frontendIPConfigurations",
                                                  "backendAddressPools",
                                                  "loadBalancingRules",
                                                  "inboundNatRules",
                                                  "probes",
                                                  "publicIPAddresses",
                                                  "privateLinkServices",
                                                  "privateEndpointConnections",
                                                  "privateEndpoints",
                                                  "privateLinkServiceConnections",
                                                  "manualPrivateLinkServiceConnections",
                                                  "applicationSecurityGroups"};

void fix(std::string& word, std::span<const std::string_view> known) {
    for (const auto canonical_word : known) {
        if (same_name(word, canonical_word)) {
            word = canonical_word;
        }
    }
}

}  // namespace

ResourceId canonical(ResourceId id) {
    fix(id.provider, kProviders);
    for (auto& [type, name] : id.segments) {
        fix(type, kTypes);
    }
    return id;
}

ResourceId document_of(const ResourceId& id) {
    ResourceId out = id;
    if (out.segments.size() > 1 && same_name(out.segments[0].first, "privateLinkServices") &&
        same_name(out.segments[1].first, "privateEndpointConnections")) {
        out.segments.resize(2);
    } else if (out.segments.size() > 1) {
        out.segments.resize(1);
    }
    return out;
}

}  // namespace culvert::model
