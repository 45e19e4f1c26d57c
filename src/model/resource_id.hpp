// SPDX-License-Identifier: Apache-2.0
// Typed ARM resources: one header a resource, plain values with defaulted ==. No JSON here (wire/),
// no decisions (rules/).
#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::model {

// ARM compares names without case and keeps the caller's casing (arm-contract 5.1). ASCII only.
std::string lower(std::string_view text);
bool same_name(std::string_view a, std::string_view b);

// /subscriptions/{sub}[/resourceGroups/{rg}[/providers/{ns}/{type}/{name}[/{child type}/{child
// name}...]]] Also a provider path without group (subscription scope) and the bare tenant scope
// "/".
struct ResourceId {
    std::string subscription;
    std::string resource_group;
    std::string provider;                                       // "Microsoft.Network"
    std::vector<std::pair<std::string, std::string>> segments;  // type, name

    // Duplicate and trailing slashes are tolerated (arm-contract 5.2). Errors: kInvalidArgument
    // naming what is wrong.
    static Result<ResourceId> parse(std::string_view text);

    std::string str() const;          // as given
    std::string key() const;          // lower case: equal for equal resources
    std::string type() const;         // "Microsoft.Network/virtualNetworks/subnets", as given
    const std::string& name() const;  // of the last segment
    ResourceId parent() const;        // one segment less; of a top resource: its group
    ResourceId child(std::string_view type, std::string_view name) const;
    ResourceId group() const;                        // the resource group's id
    bool is_type(std::string_view full_type) const;  // without case
    bool empty() const { return subscription.empty(); }

    bool operator==(const ResourceId& other) const { return key() == other.key(); }
};

}  // namespace culvert::model
