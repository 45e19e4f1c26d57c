// SPDX-License-Identifier: Apache-2.0
#include "rbac/rbac.hpp"

#include <algorithm>

namespace culvert::rbac {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool any_match(const std::vector<std::string>& patterns, std::string_view action) {
    return std::ranges::any_of(patterns, [&](const auto& p) { return matches(p, action); });
}

}  // namespace

// Azure's "built-in roles" reference; only actions of providers that a deployment may ever have are
// kept apart.
const std::vector<RoleDefinition>& built_in_roles() {
    static const std::vector<RoleDefinition> kRoles{
        {std::string(kOwner),
         "Owner",
         "Grants full access to manage all resources, including the ability to assign roles.",
         {"*"},
         {},
         {},
         {}},
        {std::string(kContributor),
         "Contributor",
         "Grants full access to manage all resources, but does not allow you to assign roles.",
         {"*"},
         {"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write",
          "Microsoft.Authorization/elevateAccess/Action"},
         {},
         {}},
        {std::string(kReader),
         "Reader",
         "View all resources, but does not allow you to make any changes.",
         {"*/read"},
         {},
         {},
         {}},
        {std::string(kNetworkContributor),
         "Network Contributor",
         "Lets you manage networks, but not access to them.",
         {"Microsoft.Authorization/*/read", "Microsoft.Insights/alertRules/*",
          "Microsoft.Network/*", "Microsoft.ResourceHealth/availabilityStatuses/read",
          "Microsoft.Resources/deployments/*",
          "Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Support/*"},
         {},
         {},
         {}},
    };
    return kRoles;
}

const RoleDefinition* find_role(std::string_view id) {
    for (const auto& role : built_in_roles()) {
        if (std::ranges::equal(role.id, id, {}, lower, lower)) {
            return &role;
        }
    }
    return nullptr;
}

// Greedy with one point of return: linear in practice, at most |pattern| * |action|.
bool matches(std::string_view pattern, std::string_view action) {
    std::size_t p = 0;
    std::size_t a = 0;
    std::size_t star = pattern.npos;
    std::size_t resume = 0;
    while (a < action.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = a;
        } else if (p < pattern.size() && lower(pattern[p]) == lower(action[a])) {
            ++p;
            ++a;
        } else if (star != pattern.npos) {
            p = star + 1;
            a = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') {
        ++p;
    }
    return p == pattern.size();
}

bool role_allows(const RoleDefinition& role, std::string_view action, Plane plane) {
    const bool control = plane == Plane::kControl;
    return any_match(control ? role.actions : role.data_actions, action) &&
           !any_match(control ? role.not_actions : role.not_data_actions, action);
}

std::string normalize(std::string_view scope) {
    std::string out;
    out.reserve(scope.size() + 1);
    std::size_t at = 0;
    while (at < scope.size()) {
        const auto end = std::min(scope.find('/', at), scope.size());
        if (end > at) {
            out.push_back('/');
            std::ranges::transform(scope.substr(at, end - at), std::back_inserter(out), lower);
        }
        at = end + 1;
    }
    return out.empty() ? "/" : out;
}

bool covers(std::string_view assigned, std::string_view scope) {
    if (assigned == "/") {
        return true;
    }
    return scope.starts_with(assigned) &&
           (scope.size() == assigned.size() || scope[assigned.size()] == '/');
}

bool allowed(const Assignments& assignments, std::string_view principal, std::string_view action,
             std::string_view scope, Plane plane) {
    const auto found = assignments.find(principal);
    if (found == assignments.end() || action.empty()) {
        return false;
    }
    return std::ranges::any_of(found->second, [&](const Assignment& assignment) {
        const auto* role = covers(assignment.scope, scope) ? find_role(assignment.role) : nullptr;
        return role != nullptr && role_allows(*role, action, plane);
    });
}

}  // namespace culvert::rbac
