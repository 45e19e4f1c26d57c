// SPDX-License-Identifier: Apache-2.0
// Tenants, subscriptions, principals and role assignments as values, and as the store keeps them.
#pragma once

#include "base/result.hpp"
#include "rbac/rbac.hpp"

#include <string>
#include <string_view>

namespace culvert::control {

struct Tenant {
    std::string id;  // GUID, lower case
    std::string name;

    bool operator==(const Tenant&) const = default;
};

struct Subscription {
    std::string id;  // GUID, lower case
    std::string tenant;
    std::string name;

    bool operator==(const Subscription&) const = default;
};

enum class PrincipalKind { kServicePrincipal, kUser };

struct Principal {
    std::string id;  // object id, GUID, lower case
    std::string tenant;
    PrincipalKind kind = PrincipalKind::kServicePrincipal;
    std::string name;    // display name; a user's sign-in name
    std::string client;  // a service principal's client id, lower case
    std::string secret_hash;

    bool operator==(const Principal&) const = default;
};

struct RoleAssignment {
    rbac::Assignment what;
    std::string tenant;          // of the principal; bounds an assignment at "/"
    std::string principal_type;  // ServicePrincipal | User
    std::string scope_as_given;
    std::string created_on;  // RFC 3339
    std::string created_by;  // object id

    bool operator==(const RoleAssignment&) const = default;
};

std::string encode(const Tenant& value);
std::string encode(const Subscription& value);
std::string encode(const Principal& value);
std::string encode(const RoleAssignment& value);

// Errors: kCorrupt.
Result<Tenant> decode_tenant(std::string_view text);
Result<Subscription> decode_subscription(std::string_view text);
Result<Principal> decode_principal(std::string_view text);
Result<RoleAssignment> decode_role_assignment(std::string_view text);

std::string_view kind_name(PrincipalKind kind);  // "ServicePrincipal", "User"

}  // namespace culvert::control
