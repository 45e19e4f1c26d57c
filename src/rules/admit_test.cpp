// SPDX-License-Identifier: Apache-2.0
#include "base/limits.hpp"
#include "rules/testing.hpp"

namespace culvert::rules {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// --- networks ------------------------------------------------------------------------------------

TEST(AdmitNetwork, ASubnetInUseStays) {
    const auto old = network();
    auto next = old;
    next.subnets.erase(next.subnets.begin());
    NetworkFacts facts;
    EXPECT_THAT(admit_put(next, &old, facts), IsEmpty());
    facts.users["s"] = {nic().id};
    const std::string expected = "InUseSubnetCannotBeDeleted " + old.id.str() + "/subnets/s";
    EXPECT_THAT(said(admit_put(next, &old, facts)), ElementsAre(expected));
    EXPECT_THAT(said(admit_delete_subnet(old, "S", facts)), ElementsAre(expected));
    EXPECT_THAT(admit_delete_subnet(old, "nat", facts), IsEmpty());
    EXPECT_THAT(said(admit_delete(old, facts)), ElementsAre(expected));
    EXPECT_THAT(admit_delete(old, {}), IsEmpty());
}

TEST(AdmitNetwork, APrefixMayNotShrinkAwayFromAnAddressInUse) {
    const auto old = network();
    auto next = old;
    EXPECT_FALSE(needs_taken_addresses(next, &old));
    EXPECT_FALSE(needs_taken_addresses(next, nullptr));
    next.subnets[0].prefixes = {prefix("10.0.0.0/25")};
    EXPECT_TRUE(needs_taken_addresses(next, &old));
    NetworkFacts facts;
    facts.taken = {{ip("10.0.0.126"), nic().id}, {ip("10.0.1.200"), service().id}};
    EXPECT_THAT(admit_put(next, &old, facts), IsEmpty());
    const std::string expected =
        "InUsePrefixCannotBeDeleted properties.subnets[0].properties.addressPrefix";
    facts.taken[0].address = ip("10.0.0.127");  // would become the last, reserved address
    EXPECT_THAT(said(admit_put(next, &old, facts)), ElementsAre(expected));
    facts.taken[0].address = ip("10.0.0.200");
    EXPECT_THAT(said(admit_put(next, &old, facts)), ElementsAre(expected));
    next.subnets[0].prefixes = {prefix("10.0.0.0/24"), prefix("10.0.8.0/24")};  // growth
    EXPECT_THAT(admit_put(next, &old, facts), IsEmpty());
}

TEST(AdmitNetwork, PoliciesStayDisabledUnderAService) {
    const auto old = network();
    auto next = old;
    next.subnets[1].service_policies = true;
    NetworkFacts facts;
    facts.users["nat"] = {nic().id};
    EXPECT_THAT(admit_put(next, &old, facts), IsEmpty());
    facts.users["nat"].push_back(service().id);
    EXPECT_EQ(admit_put(next, &old, facts).front().arm_code,
              "PrivateLinkServiceNetworkPoliciesCannotBeEnabledOnPrivateLinkServiceSubnet");
}

TEST(AdmitAny, ALocationIsForEver) {
    const auto old = network();
    auto next = old;
    next.location = "West Europe";
    EXPECT_THAT(admit_put(next, &old, NetworkFacts{}), IsEmpty());
    next.location = "northeurope";
    const auto errors = admit_put(next, &old, NetworkFacts{});
    EXPECT_THAT(said(errors), ElementsAre("InvalidResourceLocation location"));
    EXPECT_EQ(errors[0].code, Code::kConflict);
    model::ResourceGroup group;
    group.location = "a";
    auto moved = group;
    moved.location = "b";
    EXPECT_THAT(said(admit_put(moved, &group)),
                ElementsAre("InvalidResourceGroupLocation location"));
}

// --- interfaces ----------------------------------------------------------------------------------

TEST(AdmitNic, ReferencesMustExist) {
    EXPECT_THAT(admit_put(nic(), nullptr, NicFacts{world(), ""}), IsEmpty());
    const std::string field = "properties.ipConfigurations[0].properties.subnet.id";
    EXPECT_THAT(said(admit_put(nic(), nullptr, NicFacts{})),
                ElementsAre("InvalidResourceReference " + field));
    auto other = nic();
    other.ip_configurations[0].subnet = id_of("virtualNetworks/Vnet1/subnets/missing");
    other.location = "elsewhere";
    EXPECT_THAT(
        said(admit_put(other, nullptr, NicFacts{world(), ""})),
        ElementsAre("InvalidResourceReference " + field, "InvalidResourceReference location"));
    auto pooled = nic();
    pooled.ip_configurations[0].pools = {id_of("loadBalancers/lb1/backendAddressPools/bp1")};
    EXPECT_THAT(admit_put(pooled, nullptr, NicFacts{world(), ""}), IsEmpty());
    pooled.ip_configurations[0].pools = {id_of("loadBalancers/lb1/backendAddressPools/no"),
                                         id_of("loadBalancers/lb9/backendAddressPools/bp1")};
    EXPECT_EQ(admit_put(pooled, nullptr, NicFacts{world(), ""}).size(), 2u);
}

TEST(AdmitNic, AStaticAddressMustBeInsideUsableAndFree) {
    const std::string field = "properties.ipConfigurations[0].properties.privateIPAddress";
    const auto errors = [&](std::string_view address, const Facts& facts) {
        auto value = nic();
        value.ip_configurations[0].allocation = model::Allocation::kStatic;
        value.ip_configurations[0].address = ip(address);
        return said(admit_put(value, nullptr, NicFacts{facts, ""}));
    };
    auto facts = world();
    EXPECT_THAT(errors("10.0.0.4", facts), IsEmpty());
    EXPECT_THAT(errors("10.0.0.254", facts), IsEmpty());
    for (const auto* reserved : {"10.0.0.0", "10.0.0.1", "10.0.0.3", "10.0.0.255"}) {
        EXPECT_THAT(errors(reserved, facts),
                    ElementsAre("PrivateIPAddressInReservedRange " + field))
            << reserved;
    }
    EXPECT_THAT(errors("10.0.1.4", facts), ElementsAre("PrivateIPAddressNotInSubnet " + field));
    facts.holders[{network().id.key(), ip("10.0.0.9")}] = nic().id;
    EXPECT_THAT(errors("10.0.0.9", facts), IsEmpty()) << "its own";
    facts.holders[{network().id.key(), ip("10.0.0.9")}] = endpoint().id;
    EXPECT_THAT(errors("10.0.0.9", facts), ElementsAre("PrivateIPAddressInUse " + field));
}

TEST(AdmitNic, OneAddressTwiceInABodyIsInUse) {
    auto value = nic();
    value.ip_configurations[0].address = ip("10.0.0.9");
    value.ip_configurations.push_back(value.ip_configurations[0]);
    EXPECT_THAT(said(admit_put(value, nullptr, NicFacts{world(), ""})),
                ElementsAre("PrivateIPAddressInUse "
                            "properties.ipConfigurations[1].properties.privateIPAddress"));
}

TEST(AdmitNic, WhatAnEndpointMadeIsNotEditedByHand) {
    auto owned = nic();
    owned.private_endpoint = endpoint().id;
    EXPECT_THAT(said(admit_put(owned, &owned, NicFacts{world(), ""})),
                ElementsAre("OperationNotAllowed " + owned.id.str()));
    EXPECT_THAT(said(admit_delete(owned, {})),
                ElementsAre("OperationNotAllowed " + owned.id.str()));
}

TEST(AdmitNic, AttachedItStays) {
    EXPECT_THAT(admit_delete(nic(), {}), IsEmpty());
    EXPECT_THAT(said(admit_delete(nic(), NicFacts{{}, "node1"})),
                ElementsAre("NicInUse " + nic().id.str()));
}

// --- load balancers ------------------------------------------------------------------------------

TEST(AdmitBalancer, ItsSkuIsForEver) {
    EXPECT_THAT(admit_put(balancer(), nullptr, BalancerFacts{world(), {}, {}}), IsEmpty());
    const auto old = balancer();
    auto next = old;
    next.sku = "Basic";
    EXPECT_THAT(said(admit_put(next, &old, BalancerFacts{world(), {}, {}})),
                ElementsAre("PropertyChangeNotAllowed sku.name"));
}

TEST(AdmitBalancer, PartsInUseStay) {
    const auto old = balancer();
    auto next = old;
    next.frontends.clear();
    next.pools.clear();
    next.rules.clear();
    BalancerFacts facts{world(), {}, {}};
    EXPECT_THAT(admit_put(next, &old, facts), IsEmpty());
    facts.frontend_users["fe1"] = {service().id};
    facts.pool_users["bp1"] = {nic().id};
    EXPECT_THAT(said(admit_put(next, &old, facts)),
                ElementsAre("InUseFrontendIpConfigurationCannotBeDeleted "
                            "properties.frontendIPConfigurations",
                            "InUseBackendAddressPoolCannotBeDeleted "
                            "properties.backendAddressPools"));
    EXPECT_THAT(admit_put(old, &old, facts), IsEmpty());
    EXPECT_THAT(said(admit_delete(old, facts)),
                ElementsAre("CannotDeleteLoadBalancerWithPrivateLinkService " + old.id.str(),
                            "InUseBackendAddressPoolCannotBeDeleted " + old.id.str()));
    EXPECT_THAT(admit_delete(old, BalancerFacts{}), IsEmpty());
}

TEST(AdmitBalancer, APublicAddressMustExist) {
    auto lb = balancer();
    lb.frontends[0].subnet = {};
    lb.frontends[0].public_ip = id_of("publicIPAddresses/p");
    EXPECT_EQ(admit_put(lb, nullptr, BalancerFacts{world(), {}, {}}).size(), 1u);
    auto facts = world();
    facts.others.insert(id_of("publicIPAddresses/p").key());
    EXPECT_THAT(admit_put(lb, nullptr, BalancerFacts{facts, {}, {}}), IsEmpty());
}

// --- services ------------------------------------------------------------------------------------

constexpr auto kFrontendField = "properties.loadBalancerFrontendIpConfigurations[0].id";
constexpr auto kNatField = "properties.ipConfigurations[0].properties.subnet.id";

ServiceFacts service_facts() {
    ServiceFacts facts;
    facts.facts = world();
    return facts;
}

TEST(AdmitService, StandsOnAStandardBalancer) {
    EXPECT_THAT(admit_put(service(), nullptr, service_facts()), IsEmpty());
    auto facts = service_facts();
    facts.facts.balancers.begin()->second.sku = "Basic";
    const auto errors = admit_put(service(), nullptr, facts);
    EXPECT_THAT(
        said(errors),
        ElementsAre(std::string("PrivateLinkServiceCannotUseBasicLoadBalancer ") + kFrontendField));
    EXPECT_NE(errors[0].message.find("create a load balancer with sku.name Standard"),
              std::string::npos);
    facts.facts.balancers.clear();
    EXPECT_THAT(said(admit_put(service(), nullptr, facts)),
                ElementsAre(std::string("InvalidResourceReference ") + kFrontendField));
}

TEST(AdmitService, NeedsPoliciesDisabledInTheNatSubnet) {
    auto facts = service_facts();
    facts.facts.networks.begin()->second.subnets[1].service_policies = true;
    EXPECT_THAT(said(admit_put(service(), nullptr, facts)),
                ElementsAre(std::string("PrivateLinkServiceCannotBeCreatedInSubnetThatHasNetwork"
                                        "PoliciesEnabled ") +
                            kNatField));
}

TEST(AdmitService, TakesNatAddressesFromTheBalancersNetwork) {
    auto facts = service_facts();
    auto other = network("Vnet2");
    facts.facts.networks[other.id.key()] = other;
    auto value = service();
    value.nat[0].subnet = id_of("virtualNetworks/Vnet2/subnets/nat");
    EXPECT_THAT(said(admit_put(value, nullptr, facts)),
                ElementsAre(std::string("InvalidResourceReference ") + kNatField));
}

TEST(AdmitService, AFrontendCarriesOneService) {
    auto facts = service_facts();
    facts.frontend_users[service().frontends[0].key()] = {service().id};
    EXPECT_THAT(admit_put(service(), nullptr, facts), IsEmpty());
    facts.frontend_users[service().frontends[0].key()].push_back(id_of("privateLinkServices/x"));
    EXPECT_THAT(said(admit_put(service(), nullptr, facts)),
                ElementsAre(std::string("PrivateLinkServiceCannotReferenceFrontendIpConfiguration"
                                        "ReferencedByDifferentPrivateLinkService ") +
                            kFrontendField));
    auto missing = service();
    missing.frontends = {id_of("loadBalancers/lb1/frontendIPConfigurations/no")};
    EXPECT_THAT(said(admit_put(missing, nullptr, service_facts())),
                ElementsAre(std::string("InvalidResourceReference ") + kFrontendField));
}

TEST(AdmitService, ABalancerCarriesEight) {
    auto facts = service_facts();
    facts.services_of_balancer = {service().id};
    for (std::size_t i = 1; i < limits::kServicesPerLoadBalancer; ++i) {
        facts.services_of_balancer.push_back(id_of("privateLinkServices/x" + std::to_string(i)));
    }
    EXPECT_THAT(admit_put(service(), nullptr, facts), IsEmpty());
    facts.services_of_balancer.push_back(id_of("privateLinkServices/y"));
    EXPECT_THAT(said(admit_put(service(), nullptr, facts)),
                ElementsAre("InvalidRequestContent "
                            "properties.loadBalancerFrontendIpConfigurations"));
}

TEST(AdmitService, AnAddressPoolCannotCarryIt) {
    auto facts = service_facts();
    facts.facts.balancers.begin()->second.pools[0].addresses_json = "[{}]";
    EXPECT_THAT(said(admit_put(service(), nullptr, facts)),
                ElementsAre(std::string("InvalidRequestContent ") + kFrontendField));
}

TEST(AdmitService, WithConnectionsItStays) {
    auto facts = service_facts();
    EXPECT_THAT(admit_delete(service(), facts), IsEmpty());
    facts.connections = 2;
    EXPECT_THAT(said(admit_delete(service(), facts)),
                ElementsAre("PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted " +
                            service().id.str()));
}

// --- endpoints -----------------------------------------------------------------------------------

EndpointFacts endpoint_facts() {
    EndpointFacts facts;
    facts.facts = world();
    return facts;
}

TEST(AdmitEndpoint, LivesInTheRegionOfItsNetwork) {
    EXPECT_THAT(admit_put(endpoint(), nullptr, endpoint_facts()), IsEmpty());
    auto value = endpoint();
    value.location = "northeurope";
    EXPECT_THAT(said(admit_put(value, nullptr, endpoint_facts())),
                ElementsAre("InvalidResourceReference location"));
    EXPECT_THAT(said(admit_put(endpoint(), nullptr, EndpointFacts{})),
                ElementsAre("InvalidResourceReference properties.subnet.id"));
}

TEST(AdmitEndpoint, AnySubnetPolicyIsAllowed) {
    auto facts = endpoint_facts();
    facts.facts.networks.begin()->second.subnets[0].endpoint_policies =
        model::EndpointPolicies::kEnabled;
    EXPECT_THAT(admit_put(endpoint(), nullptr, facts), IsEmpty());
}

TEST(AdmitEndpoint, AStaticAddressIsChecked) {
    auto value = endpoint();
    value.ip_configurations = {
        {.name = "i", .group_id = "", .member_name = "", .address = ip("10.0.5.5")}};
    EXPECT_THAT(said(admit_put(value, nullptr, endpoint_facts())),
                ElementsAre("PrivateIPAddressNotInSubnet "
                            "properties.ipConfigurations[0].properties.privateIPAddress"));
}

TEST(AdmitEndpoint, CountsAreLimited) {
    auto facts = endpoint_facts();
    facts.endpoints_in_network = limits::kEndpointsPerVirtualNetwork - 1;
    facts.connections_of_service = limits::kEndpointsPerService - 1;
    EXPECT_THAT(admit_put(endpoint(), nullptr, facts), IsEmpty());
    facts.endpoints_in_network += 1;
    facts.connections_of_service += 1;
    EXPECT_EQ(admit_put(endpoint(), nullptr, facts).size(), 2u);
    const auto old = endpoint();
    EXPECT_THAT(admit_put(endpoint(), &old, facts), IsEmpty()) << "an update takes no place";
}

TEST(AdmitEndpoint, SubnetTargetAndArrayAreForEver) {
    const auto old = endpoint();
    auto next = old;
    next.tags["a"] = "b";
    next.requests[0].request_message = "new";
    next.requests[0].target = model::lower(next.requests[0].target);
    EXPECT_THAT(admit_put(next, &old, endpoint_facts()), IsEmpty());
    next.subnet = id_of("virtualNetworks/Vnet1/subnets/nat");
    next.requests[0].target = id_of("privateLinkServices/other").str();
    next.requests[0].manual = true;
    next.ip_configurations.resize(1);
    next.custom_nic_name = "x";
    const std::string list = "properties.manualPrivateLinkServiceConnections[0]";
    EXPECT_THAT(said(admit_put(next, &old, endpoint_facts())),
                ElementsAre("PropertyChangeNotAllowed properties.subnet.id",
                            "PropertyChangeNotAllowed " + list + ".properties.privateLinkServiceId",
                            "PropertyChangeNotAllowed " + list,
                            "PropertyChangeNotAllowed properties.ipConfigurations",
                            "PropertyChangeNotAllowed properties.customNetworkInterfaceName"));
}

}  // namespace
}  // namespace culvert::rules
