// SPDX-License-Identifier: Apache-2.0
// rbac: who may do what where. Promise: the answer is a pure function of roles, assignments,
// principal, action and scope; nothing is allowed that no assignment allows; an assignment reaches
// its scope and everything below it, and nothing beside it, however alike the names.
//
// A role allows an action that matches one of its `actions` and none of its `notActions`.
// notActions narrow their own role only; another role of the same principal may still allow (Azure
// RBAC, "How Azure RBAC determines access").
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::rbac {

struct RoleDefinition {
    std::string id;  // GUID
    std::string name;
    std::string description;
    std::vector<std::string> actions;
    std::vector<std::string> not_actions;
    std::vector<std::string> data_actions;
    std::vector<std::string> not_data_actions;

    bool operator==(const RoleDefinition&) const = default;
};

inline constexpr std::string_view kOwner = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
inline constexpr std::string_view kContributor = "b24988ac-6180-42a0-ab88-20f7382dd24c";
inline constexpr std::string_view kReader = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
inline constexpr std::string_view kNetworkContributor = "4d97b98b-1d4f-4787-a291-c67834d212e7";

// The roles that exist everywhere, with Azure's own ids and actions.
const std::vector<RoleDefinition>& built_in_roles();
// By GUID, without case; nullptr when unknown.
const RoleDefinition* find_role(std::string_view id);

struct Assignment {
    std::string id;         // GUID
    std::string principal;  // object id
    std::string role;       // role definition's GUID
    std::string scope;      // as normalize() makes it

    bool operator==(const Assignment&) const = default;
};

enum class Plane { kControl, kData };

// "*" matches any run of characters, also none and also slashes; letters without case.
bool matches(std::string_view pattern, std::string_view action);

bool role_allows(const RoleDefinition& role, std::string_view action, Plane plane);

// A scope in the one form that is compared: lower case, one slash between names, none at the end;
// the tenant root is "/".
std::string normalize(std::string_view scope);

// Is `scope` at or below `assigned`? Both normalized.
bool covers(std::string_view assigned, std::string_view scope);

// Assignments of one principal each.
using Assignments = std::map<std::string, std::vector<Assignment>, std::less<>>;

// May `principal` (object id) do `action` at `scope` (normalized)? Deny unless an assignment allows
// it.
bool allowed(const Assignments& assignments, std::string_view principal, std::string_view action,
             std::string_view scope, Plane plane = Plane::kControl);

}  // namespace culvert::rbac
