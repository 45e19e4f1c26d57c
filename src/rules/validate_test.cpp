// SPDX-License-Identifier: Apache-2.0
#include "base/limits.hpp"
#include "rules/testing.hpp"

namespace culvert::rules {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// --- names ---------------------------------------------------------------------------------------

TEST(ValidateGroup, NamesFollowArm) {
    const auto errors = [](std::string_view name) {
        model::ResourceGroup group;
        group.id.subscription = kSub;
        group.id.resource_group = name;
        return said(validate(group));
    };
    for (const auto* good : {"rg", "a", "A-b_c.d(e)", "1"}) {
        EXPECT_THAT(errors(good), IsEmpty()) << good;
    }
    EXPECT_THAT(errors(std::string(limits::kResourceGroupNameChars, 'a')), IsEmpty());
    for (const auto& bad : {std::string("a."), std::string("a b"), std::string("a*"),
                            std::string(limits::kResourceGroupNameChars + 1, 'a')}) {
        EXPECT_THAT(errors(bad), ElementsAre("InvalidResourceGroupName name")) << bad;
    }
}

TEST(ValidateNetwork, NamesFollowArm) {
    const auto errors = [](std::string name) {
        auto net = network();
        net.id.segments[0].second = std::move(name);
        return said(validate(net));
    };
    for (const std::string good : {"v", "Vnet-1", "a_", "1.b_c"}) {
        EXPECT_THAT(errors(good), IsEmpty()) << good;
    }
    EXPECT_THAT(errors(std::string(64, 'a')), IsEmpty());
    for (const std::string& bad : {std::string(65, 'a'), std::string("-a"), std::string("a-"),
                                   std::string("a b"), std::string("_a"), std::string("a.")}) {
        EXPECT_THAT(errors(bad), ElementsAre("InvalidResourceName name")) << bad;
    }
}

// --- networks ------------------------------------------------------------------------------------

TEST(ValidateNetwork, IsContentWithTwoSubnets) { EXPECT_THAT(validate(network()), IsEmpty()); }

TEST(ValidateNetwork, NeedsAPrefix) {
    auto net = network();
    net.prefixes.clear();
    net.subnets.clear();
    EXPECT_THAT(said(validate(net)),
                ElementsAre("InvalidRequestContent properties.addressSpace.addressPrefixes"));
}

TEST(ValidateNetwork, RefusesRangesThatCannotBeAVnets) {
    for (const auto* bad : {"127.0.0.0/16", "169.254.0.0/24", "224.0.0.0/8", "168.63.129.0/24",
                            "0.0.0.0/8", "10.0.0.0/30", "128.0.0.0/1"}) {
        auto net = network();
        net.subnets.clear();
        net.prefixes = {prefix(bad)};
        EXPECT_FALSE(validate(net).empty()) << bad;
    }
    auto net = network();
    net.subnets.clear();
    net.prefixes = {prefix("10.0.0.0/29"), prefix("100.64.0.0/10")};
    EXPECT_THAT(validate(net), IsEmpty());
}

TEST(ValidateNetwork, ItsPrefixesMustNotOverlap) {
    auto net = network();
    net.prefixes = {prefix("10.0.0.0/16"), prefix("11.0.0.0/16"), prefix("10.0.128.0/17")};
    EXPECT_THAT(said(validate(net)),
                ElementsAre("InvalidRequestContent properties.addressSpace.addressPrefixes[2]"));
}

TEST(ValidateNetwork, SubnetsMustBeInsideAndApart) {
    auto net = network();
    net.subnets = {subnet("a", "10.0.0.0/24"), subnet("b", "10.0.0.128/25"),
                   subnet("c", "10.1.0.0/24"), subnet("d", "10.0.2.0/30"),
                   subnet("A", "10.0.3.0/24"), subnet("e", "10.0.4.0/29")};
    EXPECT_THAT(said(validate(net)),
                UnorderedElementsAre(
                    "NetcfgSubnetRangeOutsideVnet properties.subnets[2].properties.addressPrefix",
                    "InvalidRequestContent properties.subnets[3].properties.addressPrefix",
                    "InvalidRequestContent properties.subnets[4].name",
                    "NetcfgSubnetRangesOverlap properties.subnets[1].properties.addressPrefix"));
}

TEST(ValidateNetwork, AnOverlapIsFoundBehindASmallerNeighbour) {
    // sorted: /16, then a small one inside it, then one that overlaps only the first
    auto net = network();
    net.subnets = {subnet("big", "10.0.0.0/17"), subnet("small", "10.0.0.0/29"),
                   subnet("late", "10.0.100.0/24")};
    EXPECT_THAT(
        said(validate(net)),
        ElementsAre("NetcfgSubnetRangesOverlap properties.subnets[1].properties.addressPrefix",
                    "NetcfgSubnetRangesOverlap properties.subnets[2].properties.addressPrefix"));
}

// --- interfaces ----------------------------------------------------------------------------------

TEST(ValidateNic, ExactlyOneConfigurationIsPrimaryAndAllAreInOneNetwork) {
    EXPECT_THAT(validate(nic()), IsEmpty());
    auto two = nic();
    two.ip_configurations.push_back(two.ip_configurations[0]);
    two.ip_configurations[1].subnet = id_of("virtualNetworks/other/subnets/s");
    EXPECT_THAT(said(validate(two)),
                ElementsAre("InvalidRequestContent properties.ipConfigurations[1].name",
                            "InvalidRequestContent "
                            "properties.ipConfigurations[1].properties.subnet.id",
                            "InvalidRequestContent properties.ipConfigurations"));
    auto none = nic();
    none.ip_configurations[0].primary = false;
    EXPECT_THAT(said(validate(none)),
                ElementsAre("InvalidRequestContent properties.ipConfigurations"));
    none.ip_configurations.clear();
    EXPECT_THAT(said(validate(none)),
                ElementsAre("InvalidRequestContent properties.ipConfigurations"));
}

TEST(ValidateNic, ReferencesMustBeOfTheirTypeAndSubscription) {
    auto value = nic();
    value.ip_configurations[0].subnet = id_of("virtualNetworks/Vnet1/subnets/s", kOtherSub);
    value.ip_configurations[0].pools = {id_of("loadBalancers/lb1")};
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidResourceReference "
                            "properties.ipConfigurations[0].properties.subnet.id",
                            "InvalidResourceReference properties.ipConfigurations[0].properties."
                            "loadBalancerBackendAddressPools[0].id"));
}

// --- load balancers ------------------------------------------------------------------------------

TEST(ValidateBalancer, RulesNameItsOwnPartsOnly) {
    EXPECT_THAT(validate(balancer()), IsEmpty());
    auto lb = balancer();
    lb.rules[0].frontend = id_of("loadBalancers/lb2/frontendIPConfigurations/fe1");
    lb.rules[0].pool = lb.id.child("backendAddressPools", "missing");
    lb.rules[0].probe = lb.id.child("probes", "missing");
    EXPECT_THAT(
        said(validate(lb)),
        ElementsAre(
            "InvalidResourceReference "
            "properties.loadBalancingRules[0].properties.frontendIPConfiguration.id",
            "InvalidResourceReference "
            "properties.loadBalancingRules[0].properties.backendAddressPools[0].id",
            "InvalidResourceReference properties.loadBalancingRules[0].properties.probe.id"));
}

TEST(ValidateBalancer, PortZeroIsForHaPortsAlone) {
    const std::string base = "properties.loadBalancingRules[0].properties";
    auto lb = balancer();
    lb.rules[0].frontend_port = 0;
    EXPECT_THAT(said(validate(lb)), ElementsAre("InvalidRequestContent " + base + ".frontendPort"));
    lb.rules[0].protocol = model::Protocol::kAll;
    EXPECT_THAT(said(validate(lb)), ElementsAre("InvalidRequestContent " + base + ".frontendPort"));
    lb.rules[0].backend_port = 0;
    EXPECT_THAT(validate(lb), IsEmpty());
    lb.sku = "Basic";
    EXPECT_THAT(said(validate(lb)), ElementsAre("InvalidRequestContent " + base + ".protocol"));
    lb.sku = "Standard";
    lb.rules.push_back(balancer().rules[0]);
    lb.rules[1].name = "r2";
    const std::string second = "InvalidRequestContent properties.loadBalancingRules[1].properties.";
    EXPECT_THAT(said(validate(lb)),
                ElementsAre(second + "protocol", second + "backendAddressPools[0].id"));
    lb.frontends.push_back(lb.frontends[0]);
    lb.frontends[1].name = "fe2";
    lb.rules[1].frontend = lb.id.child("frontendIPConfigurations", "fe2");
    EXPECT_THAT(said(validate(lb)), ElementsAre(second + "backendAddressPools[0].id"));
    lb.pools.push_back({.name = "bp2", .addresses_json = ""});
    lb.rules[1].pool = lb.id.child("backendAddressPools", "bp2");
    EXPECT_THAT(validate(lb), IsEmpty());
    lb.frontends[0].subnet = {};
    lb.frontends[0].public_ip = id_of("publicIPAddresses/p");
    EXPECT_THAT(said(validate(lb)), ElementsAre("InvalidRequestContent " + base + ".protocol"));
}

TEST(ValidateBalancer, IdleMinutesHaveTheirRange) {
    for (const auto& [minutes, good] : std::vector<std::pair<std::uint32_t, bool>>{
             {3, false}, {4, true}, {100, true}, {101, false}}) {
        auto lb = balancer();
        lb.rules[0].idle_minutes = minutes;
        EXPECT_EQ(validate(lb).empty(), good) << minutes;
    }
}

TEST(ValidateBalancer, AFrontendPortHasOneRuleAProtocol) {
    auto lb = balancer();
    lb.rules.push_back(lb.rules[0]);
    lb.rules[1].name = "r2";
    EXPECT_THAT(said(validate(lb)),
                ElementsAre("RulesUseSameFrontendPortAndProtocol "
                            "properties.loadBalancingRules[1].properties.frontendPort"));
    lb.rules[1].protocol = model::Protocol::kUdp;
    EXPECT_THAT(validate(lb), IsEmpty());
}

TEST(ValidateBalancer, AFrontendIsInternalOrPublic) {
    auto lb = balancer();
    lb.frontends[0].public_ip = id_of("publicIPAddresses/p");
    EXPECT_THAT(said(validate(lb)),
                ElementsAre("InvalidRequestContent "
                            "properties.frontendIPConfigurations[0].properties"));
    lb.frontends[0].subnet = {};
    EXPECT_THAT(validate(lb), IsEmpty());
}

TEST(ValidateBalancer, ProbesMakeSense) {
    auto lb = balancer();
    lb.probes.resize(1);
    lb.probes[0] = {.name = "p",
                    .protocol = "Http",
                    .port = 0,
                    .interval_s = 4,
                    .count = 0,
                    .threshold = 1,
                    .request_path = ""};
    const std::string base = "InvalidRequestContent properties.probes[0].properties";
    EXPECT_THAT(said(validate(lb)), ElementsAre(base + ".port", base + ".intervalInSeconds",
                                                base + ".numberOfProbes", base + ".requestPath"));
    lb.probes[0] = {.name = "p", .protocol = "Http", .port = 80, .request_path = "/a\r\nHost: b"};
    EXPECT_THAT(said(validate(lb)), ElementsAre(base + ".requestPath"));
    lb.probes[0].request_path = "/a?b=%20";
    EXPECT_THAT(validate(lb), IsEmpty());
}

// Nodes number the probes of a pool by eight bits: what does not fit is said, not left out.
TEST(ValidateBalancer, APoolHasNoMoreProbesThanNodesTellApart) {
    auto lb = balancer();
    const auto with = [&](std::size_t probes) {
        lb.probes.resize(probes);
        lb.rules.resize(probes, lb.rules[0]);
        for (std::size_t i = 0; i < probes; ++i) {
            const std::string name = "p" + std::to_string(i);
            lb.probes[i] = {.name = name, .protocol = "Tcp", .port = 80, .request_path = ""};
            lb.rules[i].name = "r" + std::to_string(i);
            lb.rules[i].frontend_port = static_cast<std::uint16_t>(1000 + i);
            lb.rules[i].probe = lb.id.child("probes", name);
        }
        return said(validate(lb));
    };
    EXPECT_THAT(with(255), IsEmpty());
    EXPECT_THAT(with(256), ElementsAre("InvalidRequestContent "
                                       "properties.loadBalancingRules[255].properties.probe.id"));
    lb.rules[255].probe = lb.rules[0].probe;
    EXPECT_THAT(validate(lb), IsEmpty()) << "rules may share one";
}

TEST(ValidateBalancer, GatewayAndGlobalAreNotSupported) {
    auto lb = balancer();
    lb.sku = "Gateway";
    EXPECT_THAT(said(validate(lb)), ElementsAre("InvalidRequestContent sku.name"));
    lb = balancer();
    lb.tier = "Global";
    EXPECT_THAT(said(validate(lb)), ElementsAre("InvalidRequestContent sku.tier"));
}

// --- services ------------------------------------------------------------------------------------

TEST(ValidateService, HasOneToEightNatAddresses) {
    EXPECT_THAT(validate(service()), IsEmpty());
    auto value = service();
    for (std::size_t i = 1; i < limits::kNatAddressesPerService; ++i) {
        value.nat.push_back(value.nat[0]);
        value.nat.back().name = "n" + std::to_string(i);
        value.nat.back().primary = false;
    }
    EXPECT_THAT(validate(value), IsEmpty());
    value.nat.push_back(value.nat.back());
    value.nat.back().name = "ninth";
    const auto errors = validate(value);
    EXPECT_THAT(said(errors), ElementsAre("InvalidRequestContent properties.ipConfigurations"));
    EXPECT_NE(errors[0].message.find("has 9 NAT addresses, a private link service has 1 to 8"),
              std::string::npos)
        << errors[0].message;
    value.nat.clear();
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent properties.ipConfigurations"));
}

TEST(ValidateService, ItsFrontendsAreOfOneBalancer) {
    auto value = service();
    value.frontends.push_back(id_of("loadBalancers/lb2/frontendIPConfigurations/fe1"));
    value.frontends.push_back(value.frontends[0]);
    EXPECT_THAT(
        said(validate(value)),
        ElementsAre("InvalidRequestContent properties.loadBalancerFrontendIpConfigurations[1].id",
                    "InvalidRequestContent properties.loadBalancerFrontendIpConfigurations[2].id"));
    value.frontends.clear();
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent "
                            "properties.loadBalancerFrontendIpConfigurations"));
}

TEST(ValidateService, AutoApprovalIsPartOfVisibility) {
    auto value = service();
    value.auto_approval = {std::string(kSub)};
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent properties.autoApproval.subscriptions[0]"));
    value.visibility = {"*"};
    EXPECT_THAT(validate(value), IsEmpty());
    value.visibility = {std::string(kSub)};
    EXPECT_THAT(validate(value), IsEmpty());
    value.auto_approval = {"*"};
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent properties.autoApproval.subscriptions[0]"));
}

TEST(ValidateService, SubscriptionsAreGuidsAndBounded) {
    auto value = service();
    value.visibility = {"x"};
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent properties.visibility.subscriptions[0]"));
    value.visibility.assign(limits::kVisibilitySubscriptions, std::string(kSub));
    EXPECT_THAT(validate(value), IsEmpty());
    value.visibility.push_back("*");
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent properties.visibility.subscriptions"));
}

// --- endpoints -----------------------------------------------------------------------------------

TEST(ValidateEndpoint, HasExactlyOneConnection) {
    EXPECT_THAT(validate(endpoint()), IsEmpty());
    auto value = endpoint();
    value.requests.push_back(value.requests[0]);
    value.requests[1].manual = true;
    const auto errors = validate(value);
    EXPECT_THAT(said(errors),
                ElementsAre("InvalidRequestContent properties.privateLinkServiceConnections"));
    EXPECT_NE(errors[0].message.find("this body has 2"), std::string::npos);
    value.requests.clear();
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent properties.privateLinkServiceConnections"));
}

TEST(ValidateEndpoint, AnAliasNeedsTheManualArray) {
    auto value = endpoint();
    value.requests[0].target = "pls1.guid.westeurope.azure.privatelinkservice";
    const std::string field =
        "properties.privateLinkServiceConnections[0].properties.privateLinkServiceId";
    const auto errors = validate(value);
    EXPECT_THAT(said(errors), ElementsAre("InvalidRequestContent " + field));
    EXPECT_NE(errors[0].message.find("manualPrivateLinkServiceConnections"), std::string::npos);
    value.requests[0].manual = true;
    EXPECT_THAT(validate(value), IsEmpty());
}

TEST(ValidateEndpoint, TheRequestMessageHas140Characters) {
    auto value = endpoint();
    value.requests[0].request_message = std::string(limits::kRequestMessageChars, 'm');
    EXPECT_THAT(validate(value), IsEmpty());
    value.requests[0].request_message += "m";
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent "
                            "properties.privateLinkServiceConnections[0].properties."
                            "requestMessage"));
}

TEST(ValidateEndpoint, AServiceHasNoGroupIdsAndOtherTargetsAreRefused) {
    auto value = endpoint();
    value.requests[0].group_ids = {"blob"};
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent "
                            "properties.privateLinkServiceConnections[0].properties.groupIds"));
    value = endpoint();
    value.requests[0].target = id_of("loadBalancers/lb1").str();
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidRequestContent properties.privateLinkServiceConnections[0]."
                            "properties.privateLinkServiceId"));
}

TEST(ValidateEndpoint, ItsSubnetIsInItsSubscription) {
    auto value = endpoint();
    value.subnet = id_of("virtualNetworks/Vnet1/subnets/s", kOtherSub);
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidResourceReference properties.subnet.id"));
    value.subnet = id_of("virtualNetworks/Vnet1");
    EXPECT_THAT(said(validate(value)),
                ElementsAre("InvalidResourceReference properties.subnet.id"));
}

}  // namespace
}  // namespace culvert::rules
