// SPDX-License-Identifier: Apache-2.0
#include "model/resource_id.hpp"

#include "base/limits.hpp"
#include "model/types.hpp"

#include <gtest/gtest.h>

namespace culvert::model {
namespace {

constexpr std::string_view kNet =
    "/subscriptions/5b2f/resourceGroups/Rg1/providers/Microsoft.Network/virtualNetworks/Vnet1";

ResourceId parsed(std::string_view text) {
    auto id = ResourceId::parse(text);
    EXPECT_TRUE(id) << text << ": " << (id ? "" : id.error().message);
    return id.value_or(ResourceId{});
}

TEST(ResourceId, TakesAnIdApartAndPutsItTogether) {
    const auto id = parsed(std::string(kNet) + "/subnets/S-1");
    EXPECT_EQ(id.subscription, "5b2f");
    EXPECT_EQ(id.resource_group, "Rg1");
    EXPECT_EQ(id.provider, "Microsoft.Network");
    ASSERT_EQ(id.segments.size(), 2u);
    EXPECT_EQ(id.name(), "S-1");
    EXPECT_EQ(id.type(), "Microsoft.Network/virtualNetworks/subnets");
    EXPECT_TRUE(id.is_type("microsoft.network/VIRTUALNETWORKS/Subnets"));
    EXPECT_FALSE(id.is_type("Microsoft.Network/virtualNetworks"));
    EXPECT_EQ(id.str(), std::string(kNet) + "/subnets/S-1");
    EXPECT_EQ(id.parent().str(), kNet);
    EXPECT_EQ(id.parent().parent().str(), "/subscriptions/5b2f/resourceGroups/Rg1");
    EXPECT_EQ(id.group().str(), "/subscriptions/5b2f/resourceGroups/Rg1");
    EXPECT_EQ(id.parent().child("subnets", "S-1"), id);
}

TEST(ResourceId, ComparesWithoutCaseAndKeepsTheCasingOfNames) {
    const auto id = parsed(
        "/SUBSCRIPTIONS/5B2F/resourcegroups/RG1/PROVIDERS/microsoft.network/"
        "virtualnetworks/VNET1");
    EXPECT_EQ(id, parsed(kNet));
    EXPECT_EQ(id.key(), parsed(kNet).key());
    EXPECT_EQ(id.name(), "VNET1");
    EXPECT_EQ(canonical(id).str(),
              "/subscriptions/5B2F/resourceGroups/RG1/providers/"
              "Microsoft.Network/virtualNetworks/VNET1");
}

TEST(ResourceId, CollapsesDuplicateAndTrailingSlashes) {
    EXPECT_EQ(parsed("//subscriptions/5b2f//resourceGroups/Rg1/providers/Microsoft.Network//"
                     "virtualNetworks/Vnet1//"),
              parsed(kNet));
}

TEST(ResourceId, KnowsTheScopesAboveResources) {
    EXPECT_EQ(parsed("/").str(), "/");
    EXPECT_TRUE(parsed("/").empty());
    const auto subscription = parsed("/subscriptions/5b2f");
    EXPECT_EQ(subscription.type(), "Microsoft.Resources/subscriptions");
    EXPECT_EQ(subscription.name(), "5b2f");
    EXPECT_EQ(subscription.parent().str(), "/");
    const auto group = parsed("/subscriptions/5b2f/resourceGroups/Rg1");
    EXPECT_EQ(group.type(), types::kResourceGroup);
    EXPECT_EQ(group.name(), "Rg1");
    EXPECT_EQ(group.parent(), subscription);
    const auto assignment =
        parsed("/subscriptions/5b2f/providers/Microsoft.Authorization/roleAssignments/a1");
    EXPECT_EQ(assignment.type(), "Microsoft.Authorization/roleAssignments");
    EXPECT_EQ(assignment.parent(), subscription);
}

TEST(ResourceId, AnExtensionResourceHasItsOwnNamespaceAndHangsOnItsResource) {
    const auto id =
        parsed(std::string(kNet) + "/providers/Microsoft.Authorization/roleAssignments/a1");
    EXPECT_EQ(id.type(), "Microsoft.Authorization/roleAssignments");
    EXPECT_EQ(id.name(), "a1");
    EXPECT_EQ(id.parent().str(), kNet);
}

TEST(ResourceId, SaysWhichPartIsMissing) {
    const auto why = [](std::string_view text) {
        auto id = ResourceId::parse(text);
        EXPECT_FALSE(id) << text;
        EXPECT_EQ(id ? Code::kInternal : id.error().code, Code::kInvalidArgument);
        return id ? std::string() : id.error().message;
    };
    EXPECT_NE(why("").find("start with '/'"), std::string::npos);
    EXPECT_NE(why("pls1.guid.local").find("start with '/'"), std::string::npos);
    EXPECT_NE(why("/subscriptions").find("subscription's id"), std::string::npos);
    EXPECT_NE(why("/subscriptions/s/resourceGroups").find("group's name"), std::string::npos);
    EXPECT_NE(why("/subscriptions/s/foo/bar").find("'providers' is expected"), std::string::npos);
    EXPECT_NE(why("/subscriptions/s/providers/Microsoft.Network").find("missing"),
              std::string::npos);
    EXPECT_NE(why(std::string(kNet) + "/subnets").find("'subnets' is missing"), std::string::npos);
}

TEST(ResourceId, RefusesCharactersThatCannotBeInAnId) {
    for (const std::string bad : {"\n", "\x01", "\x7f", "\xc3\xa9", "|", "%41", "?", "#", "\\"}) {
        const auto id = ResourceId::parse(std::string(kNet) + bad);
        ASSERT_FALSE(id) << bad;
        EXPECT_EQ(id.error().message.find(bad == "\n" ? "\n" : "\x01"), std::string::npos);
    }
    EXPECT_FALSE(ResourceId::parse(std::string(kNet) + std::string(1, '\0')));
}

TEST(ResourceId, IsBounded) {
    const std::string prefix(kNet);
    const std::string longest = prefix + std::string(limits::kResourceIdChars - prefix.size(), 'a');
    EXPECT_TRUE(ResourceId::parse(longest));
    EXPECT_FALSE(ResourceId::parse(longest + "a"));
}

TEST(DocumentOf, FindsTheDocumentThatHoldsAChild) {
    EXPECT_EQ(document_of(parsed(std::string(kNet) + "/subnets/a/ipConfigurations/b")),
              parsed(kNet));
    EXPECT_EQ(document_of(parsed(kNet)), parsed(kNet));
    const auto connection = parsed(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateLinkServices/"
        "p/privateEndpointConnections/c");
    EXPECT_EQ(document_of(connection), connection);
}

}  // namespace
}  // namespace culvert::model
