// SPDX-License-Identifier: Apache-2.0
// IPv6 as ARM's clients write and read it.
#include "wire/testing.hpp"

#include <gmock/gmock.h>

namespace culvert::wire {
namespace {

using testing::at;
using ::testing::ElementsAre;
using testing::json_of;
using testing::network_id;
using testing::read_errors;
using testing::read_ok;

TEST(Six, ANetworkHasPrefixesOfBothVersions) {
    const auto id = network_id("virtualNetworks/v");
    const auto value = read_ok<model::VirtualNetwork>(
        R"({"location": "l", "properties": {"addressSpace": {"addressPrefixes":
            ["fd00:1::/48", "10.0.0.0/16"]}, "subnets": [{"name": "s", "properties":
            {"addressPrefixes": ["10.0.0.0/24", "fd00:1:0:5::/64"]}}]}})",
        id);
    const auto shown = show(value, NetworkView{});
    EXPECT_EQ(at(shown, "/properties/addressSpace/addressPrefixes"),
              json_of(R"(["10.0.0.0/16", "fd00:1::/48"])"));
    EXPECT_EQ(at(shown, "/properties/subnets/0/properties/addressPrefixes"),
              json_of(R"(["10.0.0.0/24", "fd00:1:0:5::/64"])"));
    EXPECT_THAT(read_errors<model::VirtualNetwork>(
                    R"({"location": "l", "properties": {"addressSpace": {"addressPrefixes":
                        ["10.0.0.0/16", "fd00:1::1/48"]}}})",
                    id),
                ElementsAre("properties.addressSpace.addressPrefixes[1] InvalidRequestFormat"));
}

constexpr auto kNic = R"({"location": "l", "properties": {"ipConfigurations": [
    {"name": "six", "properties": {"privateIPAddressVersion": "IPv6", %
     "subnet": {"id": "NW/virtualNetworks/v/subnets/s"}}},
    {"name": "four", "properties": {"subnet": {"id": "NW/virtualNetworks/v/subnets/s"}}}]}})";

std::string nic_with(const std::string& more) {
    std::string out = kNic;
    return out.replace(out.find('%'), 1, more);
}

TEST(Six, AnInterfaceHasOneConfigurationOfIt) {
    const auto id = network_id("networkInterfaces/n");
    auto value = read_ok<model::NetworkInterface>(
        nic_with(R"("privateIPAddress": "fd00:1::9", "privateIPAllocationMethod": "Dynamic",)"),
        id);
    ASSERT_TRUE(value.six);
    ASSERT_EQ(value.ip_configurations.size(), 1u);
    EXPECT_TRUE(value.ip_configurations[0].primary);
    EXPECT_EQ(value.six->address, net::Ipv6{}) << "the server gives it";
    value.six->address = *net::Ipv6::parse("fd00:1::a00:4");
    const auto shown = show(value, NicView{});
    const std::string base = "/properties/ipConfigurations/1";
    EXPECT_EQ(at(shown, base + "/name"), "six");
    EXPECT_EQ(at(shown, base + "/properties/privateIPAddress"), "fd00:1::a00:4");
    EXPECT_EQ(at(shown, base + "/properties/privateIPAddressVersion"), "IPv6");
    EXPECT_EQ(at(shown, base + "/properties/privateIPAllocationMethod"), "Dynamic");
}

TEST(Six, WhatAnInterfaceCannotHaveOfItIsRefused) {
    const auto id = network_id("networkInterfaces/n");
    const std::string base = "properties.ipConfigurations[0].properties.";
    const std::string code = " InvalidRequestFormat";
    for (const auto& [more, field] : std::vector<std::pair<std::string, std::string>>{
             {R"("privateIPAllocationMethod": "Static", "privateIPAddress": "fd00:1::9",)",
              "privateIPAllocationMethod"},
             {R"("primary": true,)", "primary"}}) {
        EXPECT_THAT(read_errors<model::NetworkInterface>(nic_with(more), id),
                    ElementsAre(::testing::StartsWith(base + field)));
    }
    std::string two = nic_with("");
    two.replace(two.find(R"("name": "four", "properties": {)"), 31,
                R"("name": "four", "properties": {"privateIPAddressVersion": "IPv6",)");
    EXPECT_THAT(
        read_errors<model::NetworkInterface>(two, id),
        ElementsAre("properties.ipConfigurations[1].properties.privateIPAddressVersion" + code));
}

TEST(Six, AnInterfaceIsInPoolsByIt) {
    const auto id = network_id("networkInterfaces/n");
    const auto value =
        read_ok<model::NetworkInterface>(nic_with(R"("loadBalancerBackendAddressPools":
                 [{"id": "NW/loadBalancers/l/backendAddressPools/p"}],)"),
                                         id);
    ASSERT_TRUE(value.six);
    ASSERT_EQ(value.six->pools.size(), 1u);
    EXPECT_TRUE(value.ip_configurations[0].pools.empty());
    EXPECT_EQ(at(show(value, NicView{}),
                 "/properties/ipConfigurations/1/properties/"
                 "loadBalancerBackendAddressPools/0/id"),
              value.six->pools[0].str());
    EXPECT_EQ(*decode<model::NetworkInterface>(encode(value)), value);
}

TEST(Six, FrontendsAndNatAddressesAreOfIt) {
    constexpr auto kConfig = R"({"name": "one", "properties": {"privateIPAddressVersion": "ipv6",
        "privateIPAddress": "fd00:1::9", "subnet": {"id": "NW/virtualNetworks/v/subnets/s"}}})";
    const auto with = [&](const std::string& list, const std::string& config) {
        return R"({"location": "l", "properties": {")" + list + R"(": [)" + config + "]}}";
    };
    auto balancer = read_ok<model::LoadBalancer>(with("frontendIPConfigurations", kConfig),
                                                 network_id("loadBalancers/l"));
    auto service = read_ok<model::PrivateLinkService>(with("ipConfigurations", kConfig),
                                                      network_id("privateLinkServices/s"));
    ASSERT_TRUE(balancer.frontends[0].six && service.nat[0].six);
    EXPECT_EQ(*service.nat[0].six, net::Ipv6{}) << "the server gives it";
    EXPECT_FALSE(service.nat[0].address);
    const auto six = *net::Ipv6::parse("fd00:1::a00:4");
    balancer.frontends[0].six = service.nat[0].six = six;
    balancer.frontends[0].address = service.nat[0].address = *net::Ipv4::parse("10.0.0.4");
    const auto is_six = [](const auto& shown, const std::string& base) {
        EXPECT_EQ(at(shown, base + "/privateIPAddress"), "fd00:1::a00:4");
        EXPECT_EQ(at(shown, base + "/privateIPAddressVersion"), "IPv6");
        EXPECT_EQ(at(shown, base + "/privateIPAllocationMethod"), "Dynamic");
    };
    is_six(show(balancer, BalancerView{}), "/properties/frontendIPConfigurations/0/properties");
    is_six(show(service, ServiceView{}), "/properties/ipConfigurations/0/properties");
    EXPECT_EQ(*decode<model::LoadBalancer>(encode(balancer)), balancer);
    EXPECT_EQ(*decode<model::PrivateLinkService>(encode(service)), service);
    std::string fixed = kConfig;
    fixed.insert(fixed.find(R"("subnet")"), R"("privateIPAllocationMethod": "Static", )");
    EXPECT_THAT(read_errors<model::PrivateLinkService>(with("ipConfigurations", fixed),
                                                       network_id("privateLinkServices/s")),
                ElementsAre("properties.ipConfigurations[0].properties.privateIPAllocationMethod "
                            "InvalidRequestFormat"));
}

TEST(Six, AConnectionShowsTheNatAddressThatItsBackendsSee) {
    model::PrivateEndpointConnection value;
    value.id = network_id("privateLinkServices/s/privateEndpointConnections/c");
    value.nat = *net::Ipv4::parse("10.0.0.4");
    EXPECT_EQ(at(show(value, ConnectionView{}), "/properties/natAddress"), "10.0.0.4");
    value.nat_six = *net::Ipv6::parse("fd00:1::a00:4");
    EXPECT_EQ(at(show(value, ConnectionView{}), "/properties/natAddress"), "fd00:1::a00:4");
    EXPECT_EQ(*decode<model::PrivateEndpointConnection>(encode(value)), value);
}

TEST(Six, AnEndpointSaysWhichVersionsItHas) {
    const auto id = network_id("privateEndpoints/p");
    const auto with = [&](const std::string& version) {
        return read_ok<model::PrivateEndpoint>(
            R"({"location": "l", "properties": {)" + version +
                R"("subnet": {"id": "NW/virtualNetworks/v/subnets/s"},
                "privateLinkServiceConnections": [{"name": "c", "properties":
                {"privateLinkServiceId": "NW/privateLinkServices/s"}}]}})",
            id);
    };
    const auto plain = with("");
    EXPECT_EQ(plain.ip_version, model::IpVersion::kUnsaid);
    EXPECT_EQ(at(show(plain, EndpointView{}), "/properties/ipVersionType"), "IPv4");
    auto both = with(R"("ipVersionType": "dualstack",)");
    EXPECT_EQ(both.ip_version, model::IpVersion::kDualStack);
    EXPECT_EQ(at(show(both, EndpointView{}), "/properties/ipVersionType"), "DualStack");
    both.six = *net::Ipv6::parse("fd00:1::a00:105");
    const auto again = decode<model::PrivateEndpoint>(encode(both));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, both);
    EXPECT_EQ(encode(plain).find("ipVersion"), std::string::npos)
        << "what was stored before there was IPv6 is stored the same";
}

}  // namespace
}  // namespace culvert::wire
