// SPDX-License-Identifier: Apache-2.0
// Bodies as real clients send them (az 2.74, @azure/arm-network 36), and bodies as nobody should.
#include "base/limits.hpp"
#include "wire/testing.hpp"

#include <gmock/gmock.h>

namespace culvert::wire {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST(ReadGroup, TakesWhatAzSends) {
    const auto group = read_ok<model::ResourceGroup>(
        R"({"properties": {}, "location": "West Europe", "tags": {"q": "w", "n": null}})",
        group_id());
    EXPECT_EQ(group.location, "westeurope");
    EXPECT_EQ(group.tags, (std::map<std::string, std::string>{{"q", "w"}}));
    EXPECT_EQ(group.id.str(), kGroup);
}

TEST(ReadGroup, NeedsALocation) {
    EXPECT_THAT(read_errors<model::ResourceGroup>("{}", group_id()),
                ElementsAre("location LocationRequired"));
    EXPECT_THAT(read_errors<model::ResourceGroup>(R"({"location": " "})", group_id()),
                ElementsAre("location LocationRequired"));
    EXPECT_THAT(read_errors<model::ResourceGroup>(R"({"location": 5})", group_id()),
                ElementsAre("location InvalidRequestFormat"));
    EXPECT_THAT(read_errors<model::ResourceGroup>("null", group_id()),
                ElementsAre("location LocationRequired"));
}

TEST(ReadGroup, ABodyThatIsNotAnObjectSaysSo) {
    const auto value = read<model::ResourceGroup>(json_of("[1]"), group_id());
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().front().message, "the body is an array, expected an object");
}

TEST(ReadTags, BoundsThem) {
    std::string tags;
    for (std::size_t i = 0; i < limits::kTagCount; ++i) {
        tags += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":\"v\"";
    }
    EXPECT_TRUE(read_tags(json_of("{\"tags\":{" + tags + "}}")));
    EXPECT_FALSE(read_tags(json_of("{\"tags\":{" + tags + ",\"x\":\"v\"}}")));
    EXPECT_FALSE(read_tags(json_of("{}")));
    EXPECT_FALSE(read_tags(json_of(R"({"tags": {"a": 1}})")));
    EXPECT_TRUE(read_tags(json_of(R"({"tags": {"a": "b"}})")));
}

TEST(ReadNetwork, TakesWhatAzSends) {
    const auto net = read_ok<model::VirtualNetwork>(
        R"({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes":
            ["10.0.0.0/16", "10.5.0.0/16"]}, "enableDdosProtection": false, "subnets": [
            {"name": "Default", "properties": {"addressPrefix": "10.0.0.0/24"}},
            {"id": "NW/virtualNetworks/vnet1/subnets/pls", "name": "pls", "properties":
             {"addressPrefixes": ["10.0.1.0/24"], "delegations": [],
              "privateEndpointNetworkPolicies": "networksecuritygroupenabled",
              "privateLinkServiceNetworkPolicies": "disabled",
              "serviceEndpoints": [{"service": "Microsoft.Storage"}]},
             "type": "Microsoft.Network/virtualNetworks/subnets"}]}, "tags": {"a": "b"}})",
        network_id("virtualnetworks/Vnet1"));
    EXPECT_EQ(net.id.str(),
              std::string(kGroup) + "/providers/Microsoft.Network/virtualNetworks/Vnet1");
    ASSERT_EQ(net.prefixes.size(), 2u);
    ASSERT_EQ(net.subnets.size(), 2u);
    EXPECT_EQ(net.subnets[0].name, "Default");
    EXPECT_TRUE(net.subnets[0].service_policies);
    EXPECT_EQ(net.subnets[0].endpoint_policies, model::EndpointPolicies::kDisabled);
    EXPECT_FALSE(net.subnets[0].prefixes_as_list);
    EXPECT_TRUE(net.subnets[1].prefixes_as_list);
    EXPECT_FALSE(net.subnets[1].service_policies);
    EXPECT_EQ(net.subnets[1].endpoint_policies,
              model::EndpointPolicies::kNetworkSecurityGroupEnabled);
    EXPECT_EQ(net.subnets[1].service_endpoints_json, R"([{"service":"Microsoft.Storage"}])");
}

TEST(ReadNetwork, TellsEveryErrorWithItsPath) {
    EXPECT_THAT(
        read_errors<model::VirtualNetwork>(
            R"({"location": "l", "properties": {"addressSpace": {"addressPrefixes":
                ["10.0.0.0/16", 7, "10.0.0.1/24", "fd00::1/8"]}, "subnets": [
                {"properties": {"addressPrefix": "x"}}, 3,
                {"name": "s", "properties": {"privateLinkServiceNetworkPolicies": "maybe"}}]}})",
            network_id("virtualNetworks/v")),
        UnorderedElementsAre("properties.addressSpace.addressPrefixes[1] InvalidRequestFormat",
                             "properties.addressSpace.addressPrefixes[1] InvalidRequestFormat",
                             "properties.addressSpace.addressPrefixes[2] InvalidRequestFormat",
                             "properties.subnets[0].name InvalidRequestContent",
                             "properties.subnets[0].properties.addressPrefix InvalidRequestFormat",
                             "properties.subnets[1] InvalidRequestFormat",
                             "properties.subnets[2].properties.addressPrefix InvalidRequestContent",
                             "properties.subnets[2].properties.privateLinkServiceNetworkPolicies "
                             "InvalidRequestFormat"));
}

TEST(ReadNetwork, SaysWhetherSubnetsWereGiven) {
    EXPECT_FALSE(gives_subnets(json_of(R"({"properties": {}})")));
    EXPECT_FALSE(gives_subnets(json_of(R"({"properties": {"subnets": null}})")));
    EXPECT_TRUE(gives_subnets(json_of(R"({"properties": {"subnets": []}})")));
    EXPECT_FALSE(gives_subnets(json_of("3")));
}

TEST(ReadNetwork, RefusesAFilterItCannotHold) {
    EXPECT_THAT(read_errors<model::Subnet>(
                    R"({"properties": {"addressPrefix": "10.0.9.0/24", "networkSecurityGroup":
                        {"id": "NW/networkSecurityGroups/nsg1"}}})",
                    network_id("virtualNetworks/v/subnets/s9")),
                ElementsAre("properties.networkSecurityGroup InvalidResourceReference"));
}

TEST(ReadSubnet, TakesItsNameFromThePath) {
    const auto subnet = read_ok<model::Subnet>(
        R"({"name": "other", "properties": {"addressPrefix": "10.0.1.0/24",
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Disabled"}})",
        network_id("virtualNetworks/v/subnets/Pls"));
    EXPECT_EQ(subnet.name, "Pls");
    EXPECT_FALSE(subnet.service_policies);
}

constexpr auto kNicBody =
    R"({"location": "westeurope", "properties": {"ipConfigurations": [{"name": "ipconfig1",
        "properties": {"loadBalancerBackendAddressPools":
        [{"id": "NW/loadBalancers/lbb/backendaddresspools/P"}],
        "privateIPAddressVersion": "IPv4", "privateIPAllocationMethod": "Dynamic",
        "privateIPAddress": null, "subnet": {"id": "NW/virtualNetworks/v1/subnets/s"}}}]}})";

TEST(ReadNic, TakesWhatAzSends) {
    const auto nic =
        read_ok<model::NetworkInterface>(kNicBody, network_id("networkInterfaces/nic9"));
    ASSERT_EQ(nic.ip_configurations.size(), 1u);
    const auto& config = nic.ip_configurations[0];
    EXPECT_TRUE(config.primary);
    EXPECT_EQ(config.allocation, model::Allocation::kDynamic);
    EXPECT_FALSE(config.address);
    EXPECT_EQ(config.pools.front().type(), "Microsoft.Network/loadBalancers/backendAddressPools");
    EXPECT_EQ(config.pools.front().name(), "P");
}

TEST(ReadNic, AnAddressWithoutAMethodIsStaticAndADynamicOneIsTheServers) {
    const auto with = [](std::string_view address_part) {
        return read_ok<model::NetworkInterface>(
                   R"({"location": "l", "properties": {"ipConfigurations": [{"name": "c",
                       "properties": {"subnet": {"id": "NW/virtualNetworks/v/subnets/s"},)" +
                       std::string(address_part) + "}}]}}",
                   network_id("networkInterfaces/n"))
            .ip_configurations[0];
    };
    const auto bare = with(R"("privateIPAddress": "10.0.0.9")");
    EXPECT_EQ(bare.allocation, model::Allocation::kStatic);
    EXPECT_EQ(bare.address, net::Ipv4::parse("10.0.0.9").value());
    const auto echo =
        with(R"("privateIPAddress": "10.0.0.9", "privateIPAllocationMethod": "dynamic")");
    EXPECT_EQ(echo.allocation, model::Allocation::kDynamic);
    EXPECT_FALSE(echo.address);
}

TEST(ReadNic, TellsWrongTypesWithTheTypeExpected) {
    const auto value = read<model::NetworkInterface>(
        json_of(R"({"location": "l", "properties": {"enableIPForwarding": "yes",
            "ipConfigurations": [{"name": "c", "properties": {"subnet": {"id": 5},
            "privateIPAllocationMethod": "Static"}}, {"name": "d", "properties": {}},
            {"name": "e", "properties": {"subnet": {"id": "NW/virtualNetworks"},
            "privateIPAddress": "10.0.0.300", "privateIPAddressVersion": "IPv5"}}]}})"),
        network_id("networkInterfaces/n"));
    ASSERT_FALSE(value);
    std::vector<std::string> messages;
    for (const auto& error : value.error()) {
        messages.push_back(error.message);
    }
    const std::string base = "properties.ipConfigurations[";
    ASSERT_EQ(messages.size(), 7u) << ::testing::PrintToString(messages);
    EXPECT_EQ(messages[0], base + "0].properties.subnet.id: is a number, expected a string");
    EXPECT_EQ(messages[1], base +
                               "0].properties.privateIPAddress is missing: give an address or set "
                               "privateIPAllocationMethod to Dynamic");
    EXPECT_EQ(messages[2], base + "1].properties.subnet.id is missing: give the resource's id");
    EXPECT_NE(messages[3].find("type or name is missing after 'providers'"), std::string::npos);
    EXPECT_EQ(messages[4],
              base + "2].properties.privateIPAddress: '10.0.0.300' is not an IPv4 address");
    EXPECT_NE(messages[5].find("use IPv4"), std::string::npos);
    EXPECT_EQ(messages[6], "properties.enableIPForwarding: is a string, expected a boolean");
}

// the largest body of the captured ones: az network lb rule create
constexpr auto kBalancerBody =
    R"({"id": "NW/loadBalancers/lb1", "location": "westeurope", "properties": {
        "backendAddressPools": [{"id": "NW/loadBalancers/lb1/backendAddressPools/bp1",
        "name": "bp1", "properties": {}}, {"name": "bp3", "properties":
        {"loadBalancerBackendAddresses": [{"name": "a1", "properties": {"ipAddress": "10.0.0.20",
        "virtualNetwork": {"id": "NW/virtualNetworks/vnet1"}}}]}}],
        "frontendIPConfigurations": [{"id": "NW/loadBalancers/lb1/frontendIPConfigurations/fe1",
        "name": "fe1", "properties": {"privateIPAddressVersion": "IPv4",
        "privateIPAllocationMethod": "Dynamic",
        "subnet": {"id": "NW/virtualNetworks/vnet1/subnets/default"}}},
        {"name": "fe2", "properties": {"privateIPAddress": "10.0.0.10", "privateIPAddressVersion":
        "IPv4", "privateIPAllocationMethod": "Static",
        "subnet": {"id": "NW/virtualNetworks/vnet1/subnets/default"}}}],
        "loadBalancingRules": [{"name": "r1", "properties": {"backendAddressPools":
        [{"id": "NW/loadBalancers/lb1/backendAddressPools/bp1"}], "backendPort": 8080,
        "frontendIPConfiguration": {"id": "NW/loadBalancers/lb1/frontendIPConfigurations/fe1"},
        "frontendPort": 80, "loadDistribution": "sourceip",
        "probe": {"id": "NW/loadBalancers/lb1/probes/pr1"}, "protocol": "tcp"}}],
        "probes": [{"name": "pr1", "properties": {"intervalInSeconds": 5, "numberOfProbes": 2,
        "noHealthyBackendsBehavior": "allprobedup", "port": 80, "protocol": "TCP"}}]},
        "sku": {"name": "standard"}, "tags": {}})";

TEST(ReadBalancer, TakesWhatAzSends) {
    const auto lb = read_ok<model::LoadBalancer>(kBalancerBody, network_id("loadBalancers/lb1"));
    EXPECT_EQ(lb.sku, "Standard");
    EXPECT_EQ(lb.tier, "Regional");
    ASSERT_EQ(lb.frontends.size(), 2u);
    EXPECT_EQ(lb.frontends[1].address, net::Ipv4::parse("10.0.0.10").value());
    ASSERT_EQ(lb.pools.size(), 2u);
    EXPECT_NE(lb.pools[1].addresses_json.find("10.0.0.20"), std::string::npos);
    ASSERT_EQ(lb.rules.size(), 1u);
    EXPECT_EQ(lb.rules[0].pool.name(), "bp1");
    EXPECT_EQ(lb.rules[0].backend_port, 8080);
    EXPECT_EQ(lb.rules[0].affinity, model::Affinity::kSourceIp);
    EXPECT_EQ(lb.rules[0].idle_minutes, 4u);
    ASSERT_EQ(lb.probes.size(), 1u);
    EXPECT_EQ(lb.probes[0].protocol, "Tcp");
    EXPECT_EQ(lb.probes[0].interval_s, 5u);
    EXPECT_EQ(lb.probes[0].threshold, 1u);
    EXPECT_TRUE(lb.probes[0].all_up);
}

TEST(ReadBalancer, ThePoolListWinsOverTheSingleForm) {
    const auto rule = [](std::string_view pools) {
        return read_ok<model::LoadBalancer>(
                   R"({"location": "l", "properties": {"loadBalancingRules": [{"name": "r",
                       "properties": {"frontendPort": 80, "backendPort": 80, "protocol": "Tcp",
                       "frontendIPConfiguration":
                       {"id": "NW/loadBalancers/lb/frontendIPConfigurations/f"},)" +
                       std::string(pools) + "}}]}}",
                   network_id("loadBalancers/lb"))
            .rules[0]
            .pool;
    };
    const std::string a = R"({"id": "NW/loadBalancers/lb/backendAddressPools/a"})";
    const std::string b = R"({"id": "NW/loadBalancers/lb/backendAddressPools/b"})";
    EXPECT_EQ(rule("\"backendAddressPool\":" + a + ",\"backendAddressPools\":[" + b + "]").name(),
              "b");
    EXPECT_EQ(rule("\"backendAddressPool\":" + a + ",\"backendAddressPools\":[]").name(), "a");
    EXPECT_TRUE(rule("\"backendAddressPools\":[]").empty());
}

TEST(ReadBalancer, NumbersMustBeWholeAndInRange) {
    EXPECT_THAT(read_errors<model::LoadBalancer>(
                    R"({"location": "l", "sku": {"name": "Premium"}, "properties": {
                "loadBalancingRules": [{"name": "r", "properties": {"frontendPort": 65536,
                "backendPort": 1.5, "protocol": "Sctp"}}],
                "probes": [{"name": "p", "properties": {"port": "80"}},
                {"name": "q", "properties": {"port": -1}}]}})",
                    network_id("loadBalancers/lb")),
                UnorderedElementsAre(
                    "sku.name InvalidRequestFormat",
                    "properties.loadBalancingRules[0].properties.frontendIPConfiguration.id "
                    "InvalidRequestContent",
                    "properties.loadBalancingRules[0].properties.protocol InvalidRequestFormat",
                    "properties.loadBalancingRules[0].properties.frontendPort InvalidRequestFormat",
                    "properties.loadBalancingRules[0].properties.backendPort InvalidRequestFormat",
                    "properties.probes[0].properties.port InvalidRequestFormat",
                    "properties.probes[1].properties.port InvalidRequestFormat"));
}

TEST(ReadService, TakesWhatAzSends) {
    const auto service = read_ok<model::PrivateLinkService>(
        R"({"location": "westeurope", "properties": {"autoApproval": {"subscriptions":
            ["11111111-1111-4111-8111-111111111111"]}, "enableProxyProtocol": true,
            "fqdns": ["a.b.c"], "ipConfigurations": [{"name": "pls1_ipconfig_0", "properties":
            {"privateIPAddressVersion": "IPv4",
            "subnet": {"id": "NW/virtualNetworks/vnet1/subnets/pls"}}},
            {"name": "second", "properties": {"privateIPAddress": "10.0.1.10",
            "privateIPAllocationMethod": "Static",
            "subnet": {"id": "NW/virtualNetworks/vnet1/subnets/pls"}}}],
            "loadBalancerFrontendIpConfigurations":
            [{"id": "NW/loadBalancers/lb1/frontendIpConfigurations/fe1"}],
            "visibility": {"subscriptions": ["*"]}}, "alias": "ignored"})",
        network_id("privateLinkServices/pls1"));
    EXPECT_EQ(service.frontends.front().type(),
              "Microsoft.Network/loadBalancers/frontendIPConfigurations");
    EXPECT_TRUE(service.nat[0].primary) << "az leaves primary out: the first is it";
    EXPECT_FALSE(service.nat[1].primary);
    EXPECT_EQ(service.visibility, std::vector<std::string>{"*"});
    EXPECT_TRUE(service.proxy_protocol);
    EXPECT_TRUE(service.alias.empty());
}

TEST(ReadConnection, TakesTheStateAndNothingElse) {
    const auto id = network_id("privateLinkServices/p/privateEndpointConnections/pe2.guid");
    const auto connection = read_ok<model::PrivateEndpointConnection>(
        R"({"id": "x", "name": "y", "etag": "z", "properties": {"provisioningState": "Failed",
            "linkIdentifier": "7", "privateEndpoint": {"id": "NW/privateEndpoints/other"},
            "privateLinkServiceConnectionState": {"actionsRequired": "None", "description": null,
            "status": "approved"}}})",
        id);
    EXPECT_EQ(connection.id, id);
    EXPECT_EQ(connection.state,
              (model::ConnectionState{model::ConnectionStatus::kApproved, "", "None"}));
    EXPECT_TRUE(connection.private_endpoint.empty());
    EXPECT_EQ(connection.link_id, 0u);
    EXPECT_THAT(read_errors<model::PrivateEndpointConnection>("{}", id),
                ElementsAre("properties.privateLinkServiceConnectionState.status "
                            "InvalidRequestContent"));
    EXPECT_THAT(
        read_errors<model::PrivateEndpointConnection>(
            R"({"properties": {"privateLinkServiceConnectionState": {"status": "Open"}}})", id),
        ElementsAre("properties.privateLinkServiceConnectionState.status "
                    "InvalidRequestFormat"));
}

TEST(ReadEndpoint, TakesWhatAzSends) {
    const auto endpoint = read_ok<model::PrivateEndpoint>(
        R"({"extendedLocation": {"name": "", "type": "EdgeZone"}, "location": "westeurope",
            "properties": {"applicationSecurityGroups":
            [{"id": "NW/applicationSecurityGroups/asg1"}], "customNetworkInterfaceName": "nic3",
            "ipConfigurations": [{"name": "ipc1", "properties": {"groupId": "connection",
            "memberName": "broker", "privateIPAddress": "10.0.2.50"}}],
            "privateLinkServiceConnections": [{"name": "c3", "properties": {"groupIds": ["g"],
            "privateLinkServiceId": "NW/privatelinkservices/pls1"}}],
            "subnet": {"id": "NW/virtualNetworks/vnet1/subnets/pe", "properties": {}}}})",
        network_id("privateEndpoints/pe3"));
    ASSERT_EQ(endpoint.requests.size(), 1u);
    EXPECT_FALSE(endpoint.requests[0].manual);
    EXPECT_EQ(endpoint.requests[0].target, network_id("privateLinkServices/pls1").str());
    EXPECT_EQ(endpoint.address.str(), "10.0.2.50");
    EXPECT_EQ(endpoint.custom_nic_name, "nic3");
}

TEST(ReadEndpoint, AnAliasIsKeptAsGiven) {
    const auto endpoint = read_ok<model::PrivateEndpoint>(
        R"({"location": "l", "properties": {"manualPrivateLinkServiceConnections": [{"name": "c2",
            "properties": {"privateLinkServiceId": "Pls1.guid.westeurope.azure.privatelinkservice",
            "requestMessage": "please"}}], "subnet": {"id": "NW/virtualNetworks/v/subnets/pe"}}})",
        network_id("privateEndpoints/pe2"));
    ASSERT_EQ(endpoint.requests.size(), 1u);
    EXPECT_TRUE(endpoint.requests[0].manual);
    EXPECT_EQ(endpoint.requests[0].target, "Pls1.guid.westeurope.azure.privatelinkservice");
    EXPECT_EQ(endpoint.requests[0].request_message, "please");
}

TEST(ReadEndpoint, ANamelessConnectionIsAnError) {
    // az network private-endpoint update --request-message on a manual endpoint sends this
    EXPECT_THAT(read_errors<model::PrivateEndpoint>(
                    R"({"location": "l", "properties": {"privateLinkServiceConnections":
                [{"properties": {"requestMessage": "m"}}]}})",
                    network_id("privateEndpoints/pe2")),
                UnorderedElementsAre(
                    "properties.subnet.id InvalidRequestContent",
                    "properties.privateLinkServiceConnections[0].name InvalidRequestContent",
                    "properties.privateLinkServiceConnections[0].properties.privateLinkServiceId "
                    "InvalidRequestContent"));
}

TEST(Read, PropertyNamesAreFoundWithoutCase) {
    EXPECT_EQ(read_ok<model::ResourceGroup>(R"({"LOCATION": "l"})", group_id()).location, "l");
}

TEST(Read, BoundsListsAndTheNumberOfErrors) {
    std::string items;
    for (std::size_t i = 0; i <= limits::kIpConfigurationsPerNic; ++i) {
        items += i == 0 ? "{}" : ",{}";
    }
    EXPECT_THAT(read_errors<model::NetworkInterface>(
                    R"({"location": "l", "properties": {"ipConfigurations": [)" + items + "]}}",
                    network_id("networkInterfaces/n")),
                ElementsAre("properties.ipConfigurations InvalidRequestFormat"));
    items.resize(items.size() - 3);  // one element less: the limit itself
    EXPECT_EQ(read_errors<model::NetworkInterface>(
                  R"({"location": "l", "properties": {"ipConfigurations": [)" + items + "]}}",
                  network_id("networkInterfaces/n"))
                  .size(),
              limits::kErrorsPerBody);
}

}  // namespace
}  // namespace culvert::wire
