// SPDX-License-Identifier: Apache-2.0
#include "rbac/rbac.hpp"

#include <gtest/gtest.h>

namespace culvert::rbac {
namespace {

constexpr const char* kRead = "Microsoft.Network/privateLinkServices/read";
constexpr const char* kWrite = "Microsoft.Network/privateLinkServices/write";
constexpr const char* kAssign = "Microsoft.Authorization/roleAssignments/write";

Assignments one(std::string_view role, std::string_view scope) {
    return {{"me", {{"id", "me", std::string(role), normalize(scope)}}}};
}

TEST(Rbac, PatternsMatchWithoutCaseAndAcrossSlashes) {
    struct Row {
        const char* pattern;
        const char* action;
        bool match;
    };
    for (const auto& [pattern, action, match] : std::initializer_list<Row>{
             {"*", "a/b/c", true},
             {"*", "", true},
             {"", "", true},
             {"", "a", false},
             {"*/read", "Microsoft.Network/virtualNetworks/subnets/read", true},
             {"*/read", "read", false},
             {"*/READ", "a/Read", true},
             {"*/read", "a/readers", false},
             {"*/read", "a/read/action", false},
             {"Microsoft.Network/*", "microsoft.network/loadBalancers/write", true},
             {"Microsoft.Network/*", "Microsoft.NetworkX/loadBalancers/write", false},
             {"Microsoft.Network/*", "Microsoft.Network/", true},
             {"Microsoft.Network/*", "Microsoft.Network", false},
             {"a/*/c", "a/b/c", true},
             {"a/*/c", "a/b/x/c", true},
             {"a/*/c", "a//c", true},
             {"a/*/c", "a/c", false},
             {"a*b*c", "aXbYbZc", true},
             {"a*b*c", "aXbYbZ", false},
             {"**a**", "bab", true},
             {"*a", "aaaaaaaaaaaaaaaab", false},
         }) {
        EXPECT_EQ(matches(pattern, action), match) << pattern << " on " << action;
    }
}

TEST(Rbac, BuiltInRolesAllowWhatTheyName) {
    const std::string root = "/";
    struct Row {
        std::string_view role;
        bool read, write, assign;
    };
    for (const auto& [role, read, write, assign] : std::initializer_list<Row>{
             {kOwner, true, true, true},
             {kContributor, true, true, false},
             {kReader, true, false, false},
             {kNetworkContributor, true, true, false},
         }) {
        EXPECT_EQ(allowed(one(role, root), "me", kRead, "/subscriptions/a"), read) << role;
        EXPECT_EQ(allowed(one(role, root), "me", kWrite, "/subscriptions/a"), write) << role;
        EXPECT_EQ(allowed(one(role, root), "me", kAssign, "/subscriptions/a"), assign) << role;
    }
    EXPECT_FALSE(allowed(one(kContributor, root), "me",
                         "microsoft.authorization/ROLEASSIGNMENTS/delete", "/subscriptions/a"));
    EXPECT_TRUE(allowed(one(kContributor, root), "me",
                        "Microsoft.Authorization/roleAssignments/read", "/subscriptions/a"));
    EXPECT_FALSE(allowed(one(kNetworkContributor, root), "me",
                         "Microsoft.Resources/subscriptions/resourceGroups/write",
                         "/subscriptions/a"));
}

TEST(Rbac, AnAssignmentReachesDownwardsAndNeverSideways) {
    struct Row {
        const char* assigned;
        const char* asked;
        bool allowed;
    };
    for (
        const auto& [assigned, asked, expected] : std::initializer_list<Row>{
            {"/", "/", true},
            {"/", "/subscriptions/a", true},
            {"/subscriptions/a", "/subscriptions/a", true},
            {"/subscriptions/a", "/subscriptions/a/resourcegroups/rg1", true},
            {"/subscriptions/a", "/subscriptions/ab", false},
            {"/subscriptions/ab", "/subscriptions/a", false},
            {"/subscriptions/a", "/", false},
            {"/subscriptions/a", "/subscriptions", false},
            {"/subscriptions/a/resourceGroups/rg1", "/subscriptions/a/resourcegroups/rg10", false},
            {"/subscriptions/a/resourceGroups/rg1/", "/subscriptions/a/resourcegroups/rg1/x", true},
            {"/subscriptions/a/resourceGroups/rg1", "/subscriptions/a", false},
            {"/subscriptions/A//resourceGroups/RG1", "/subscriptions/a/resourcegroups/rg1", true},
            {"/subscriptions/a/resourceGroups/g/providers/Microsoft.Network/privateLinkServices/p",
             "/subscriptions/a/resourcegroups/g/providers/microsoft.network/privatelinkservices/p/"
             "privateendpointconnections/c",
             true},
            {"/subscriptions/a/resourceGroups/g/providers/Microsoft.Network/privateLinkServices/p",
             "/subscriptions/a/resourcegroups/g/providers/microsoft.network/privatelinkservices/p2",
             false},
        }) {
        EXPECT_EQ(allowed(one(kReader, assigned), "me", kRead, asked), expected)
            << assigned << " asked at " << asked;
    }
}

TEST(Rbac, DeniesByDefault) {
    const auto assignments = one(kOwner, "/");
    EXPECT_FALSE(allowed(assignments, "you", kRead, "/subscriptions/a"));
    EXPECT_FALSE(allowed(assignments, "", kRead, "/subscriptions/a"));
    EXPECT_FALSE(allowed(assignments, "me", "", "/subscriptions/a"));
    EXPECT_FALSE(allowed({}, "me", kRead, "/subscriptions/a"));
    EXPECT_FALSE(allowed(one("00000000-0000-0000-0000-000000000000", "/"), "me", kRead, "/"));
    EXPECT_FALSE(allowed(one("", "/"), "me", kRead, "/"));
}

TEST(Rbac, OneRolesNotActionsDoNotNarrowAnotherRole) {
    Assignments both = one(kContributor, "/");
    both["me"].push_back({"id2", "me", std::string(kOwner), "/subscriptions/a"});
    EXPECT_TRUE(allowed(both, "me", kAssign, "/subscriptions/a"));
    EXPECT_FALSE(allowed(both, "me", kAssign, "/subscriptions/b"));
}

TEST(Rbac, DataActionsAreApart) {
    const RoleDefinition role{.id = "r",
                              .name = "r",
                              .description = "",
                              .actions = {"a/*"},
                              .not_actions = {},
                              .data_actions = {"d/*"},
                              .not_data_actions = {"d/secret/*"}};
    EXPECT_TRUE(role_allows(role, "a/x", Plane::kControl));
    EXPECT_FALSE(role_allows(role, "a/x", Plane::kData));
    EXPECT_TRUE(role_allows(role, "d/x", Plane::kData));
    EXPECT_FALSE(role_allows(role, "d/secret/x", Plane::kData));
    EXPECT_FALSE(allowed(one(kOwner, "/"), "me", "d/x", "/", Plane::kData));
}

TEST(Rbac, RolesAreFoundWithoutCase) {
    ASSERT_NE(find_role("8E3AF657-A8FF-443C-A75C-2FE8C4BCB635"), nullptr);
    EXPECT_EQ(find_role(kOwner)->name, "Owner");
    EXPECT_EQ(find_role("8e3af657"), nullptr);
}

TEST(Rbac, NormalizesScopes) {
    EXPECT_EQ(normalize(""), "/");
    EXPECT_EQ(normalize("///"), "/");
    EXPECT_EQ(normalize("subscriptions/A"), "/subscriptions/a");
    EXPECT_EQ(normalize("//Subscriptions//A/"), "/subscriptions/a");
}

}  // namespace
}  // namespace culvert::rbac
