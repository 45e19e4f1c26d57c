// SPDX-License-Identifier: Apache-2.0
// Inbound NAT rules as clients write and see them.
#include "wire/testing.hpp"

#include <gmock/gmock.h>

namespace culvert::wire {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

const std::string kNw = std::string(kGroup) + "/providers/Microsoft.Network/";
const std::string kLb = kNw + "loadBalancers/lb";

model::LoadBalancer read_rules(const std::string& rules) {
    return read_ok<model::LoadBalancer>(
        R"({"location": "l", "sku": {"name": "Standard"}, "properties": {
            "frontendIPConfigurations": [{"name": "fe", "properties":
              {"subnet": {"id": "NW/virtualNetworks/v/subnets/s"}}}],
            "backendAddressPools": [{"name": "bp"}],
            "inboundNatRules": [)" +
            rules + "]}}",
        network_id("loadBalancers/lb"));
}

const std::string kBoth = R"(
    {"name": "ssh", "properties": {"protocol": "tcp", "frontendPort": 2222, "backendPort": 22,
      "frontendIPConfiguration": {"id": "NW/loadBalancers/lb/frontendIPConfigurations/fe"},
      "enableFloatingIP": true, "frontendPortRangeStart": 0,
      "backendIPConfiguration": {"id": "NW/networkInterfaces/x/ipConfigurations/c"}}},
    {"name": "each", "properties": {"protocol": "Udp", "backendPort": 53,
      "frontendPort": null, "frontendPortRangeStart": 500, "frontendPortRangeEnd": 509,
      "idleTimeoutInMinutes": 30, "enableTcpReset": true,
      "frontendIPConfiguration": {"id": "NW/loadBalancers/lb/frontendIPConfigurations/fe"},
      "backendAddressPool": {"id": "NW/loadBalancers/lb/backendAddressPools/bp"}}})";

TEST(NatRule, BothFormsAreRead) {
    const auto lb = read_rules(kBoth);
    ASSERT_EQ(lb.nat_rules.size(), 2U);
    const auto& one = lb.nat_rules[0];
    EXPECT_EQ(one.protocol, model::Protocol::kTcp);
    EXPECT_EQ(one.frontend_port, 2222);
    EXPECT_EQ(one.backend_port, 22);
    EXPECT_EQ(one.idle_minutes, 4U);
    EXPECT_TRUE(one.pool.empty() && one.floating_ip && !one.tcp_reset);
    EXPECT_TRUE(one.targets.empty()) << "who has the port is the server's to say";
    const auto& each = lb.nat_rules[1];
    EXPECT_EQ(each.range_first, 500);
    EXPECT_EQ(each.range_last, 509);
    EXPECT_EQ(each.pool.name(), "bp");
    EXPECT_EQ(each.idle_minutes, 30U);
    EXPECT_TRUE(each.tcp_reset);
}

TEST(NatRule, WhatIsMissingOrWrongIsNamed) {
    const std::string base = "properties.inboundNatRules[0].properties.";
    EXPECT_THAT(read_errors<model::LoadBalancer>(
                    R"({"location": "l", "properties": {"inboundNatRules": [
                        {"name": "r", "properties": {"frontendPort": 65536}}]}})",
                    network_id("loadBalancers/lb")),
                UnorderedElementsAre(base + "frontendIPConfiguration.id InvalidRequestContent",
                                     base + "protocol InvalidRequestContent",
                                     base + "backendPort InvalidRequestContent",
                                     base + "frontendPort InvalidRequestFormat"));
    EXPECT_THAT(read_errors<model::InboundNatRule>(
                    R"({"properties": {"protocol": "Sctp", "backendPort": 1,
                        "frontendIPConfiguration": {"id": "x"}}})",
                    network_id("loadBalancers/lb/inboundNatRules/r")),
                UnorderedElementsAre("properties.frontendIPConfiguration.id InvalidRequestFormat",
                                     "properties.protocol InvalidRequestFormat"));
}

TEST(NatRule, IsShownWithWhatItLeadsToAndWhereItIsUsed) {
    auto lb = read_rules(kBoth);
    const auto nic = network_id("networkInterfaces/n/ipConfigurations/c");
    lb.nat_rules[0].targets = {{.configuration = nic, .port = 2222}};
    lb.nat_rules[1].targets = {{.configuration = nic, .port = 500}};
    BalancerView view;
    view.etag = etag(7);
    const boost::json::value shown = show(lb, view);
    const std::string first = "/properties/inboundNatRules/0/";
    EXPECT_EQ(at(shown, first + "id"), kLb + "/inboundNatRules/ssh");
    EXPECT_EQ(at(shown, first + "etag"), view.etag);
    EXPECT_EQ(at(shown, first + "properties/provisioningState"), "Succeeded");
    EXPECT_EQ(at(shown, first + "properties/frontendPort"), 2222);
    EXPECT_EQ(at(shown, first + "properties/backendIPConfiguration/id"), nic.str());
    EXPECT_EQ(at(shown, first + "properties/backendAddressPool"), "(absent)");
    const std::string second = "/properties/inboundNatRules/1/properties/";
    EXPECT_EQ(at(shown, second + "frontendPort"), "(absent)");
    EXPECT_EQ(at(shown, second + "frontendPortRangeEnd"), 509);
    EXPECT_EQ(at(shown, second + "backendAddressPool/id"), kLb + "/backendAddressPools/bp");
    EXPECT_EQ(at(shown, second + "backendIPConfiguration"), "(absent)");
    EXPECT_EQ(at(shown, second + "carriedByPrivateLink"), false) << "no rule spreads beside it";
    lb.rules = {{.name = "r",
                 .frontend = lb.nat_rules[1].frontend,
                 .pool = lb.nat_rules[1].pool,
                 .probe = {}}};
    EXPECT_EQ(at(show(lb, view), second + "carriedByPrivateLink"), true);
    lb.rules.clear();
    EXPECT_EQ(at(shown, "/properties/frontendIPConfigurations/0/properties/inboundNatRules/1/id"),
              kLb + "/inboundNatRules/each");
    EXPECT_EQ(at(shown, "/properties/backendAddressPools/0/properties/inboundNatRules/0/id"),
              kLb + "/inboundNatRules/each");
    auto back = read<model::LoadBalancer>(shown, lb.id);
    ASSERT_TRUE(back) << back.error().front().message;
    for (auto& rule : lb.nat_rules) {
        rule.targets.clear();  // the server's
    }
    EXPECT_EQ(*back, lb);
    const auto child = wire::child(show(lb, view), "inboundnatrules", "SSH");
    ASSERT_TRUE(child);
    EXPECT_EQ(child->at("name"), "ssh");
}

TEST(NatRule, AnInterfaceNamesRules) {
    const auto nic = read_ok<model::NetworkInterface>(
        R"({"location": "l", "properties": {"ipConfigurations": [{"name": "c", "properties": {
            "subnet": {"id": "NW/virtualNetworks/v/subnets/s"}, "loadBalancerInboundNatRules":
            [{"id": "NW/loadBalancers/lb/inboundnatrules/ssh"}]}}]}})",
        network_id("networkInterfaces/n"));
    ASSERT_EQ(nic.ip_configurations[0].nat_rules.size(), 1U);
    EXPECT_EQ(nic.ip_configurations[0].nat_rules[0].str(), kLb + "/inboundNatRules/ssh");
    const boost::json::value shown = show(nic, {});
    EXPECT_EQ(
        at(shown, "/properties/ipConfigurations/0/properties/loadBalancerInboundNatRules/0/id"),
        kLb + "/inboundNatRules/ssh");
    EXPECT_EQ(*read<model::NetworkInterface>(shown, nic.id), nic);
    EXPECT_EQ(*decode<model::NetworkInterface>(encode(nic)), nic);
    EXPECT_THAT(
        read_errors<model::NetworkInterface>(
            R"({"location": "l", "properties": {"ipConfigurations": [{"name": "c", "properties": {
                "subnet": {"id": "NW/virtualNetworks/v/subnets/s"}}}, {"name": "six", "properties":
                {"subnet": {"id": "NW/virtualNetworks/v/subnets/s"}, "privateIPAddressVersion":
                "IPv6", "loadBalancerInboundNatRules":
                [{"id": "NW/loadBalancers/lb/inboundNatRules/ssh"}]}}]}})",
            network_id("networkInterfaces/n")),
        ElementsAre("properties.ipConfigurations[1].properties.loadBalancerInboundNatRules "
                    "InvalidRequestFormat"));
}

TEST(NatRule, ThePortsOfAnInterfaceAreTold) {
    auto lb = read_rules(kBoth);
    const auto nic = network_id("networkInterfaces/n");
    lb.nat_rules[1].targets = {
        {.configuration = network_id("networkInterfaces/m/ipConfigurations/c"), .port = 500},
        {.configuration = nic.child("ipConfigurations", "c"), .port = 501}};
    const boost::json::value told = show_ports(lb, lb.id.child("backendAddressPools", "BP"), nic);
    EXPECT_EQ(told, boost::json::parse(R"({"inboundNatRulePortMappings": [{"inboundNatRuleName":
        "each", "protocol": "Udp", "frontendPort": 501, "backendPort": 53}]})"));
    const auto asked = read_port_query(
        json_of(R"({"ipConfiguration": {"id": "NW/networkInterfaces/n/ipConfigurations/c"}})"));
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->configuration.parent(), nic);
    EXPECT_EQ(read_port_query(json_of(R"({"ipAddress": "10.0.0.4"})"))->address,
              net::Ipv4::parse("10.0.0.4").value());
    EXPECT_FALSE(read_port_query(json_of("{}")));
}

}  // namespace
}  // namespace culvert::wire
