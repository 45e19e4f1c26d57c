// SPDX-License-Identifier: Apache-2.0
// What clients get: every array present, ids well formed, and a read of what was shown is the same
// resource (clients do GET, change, PUT).
#include "wire/testing.hpp"

#include <gmock/gmock.h>

namespace culvert::wire {
namespace {

using namespace testing;

const std::string kNw = std::string(kGroup) + "/providers/Microsoft.Network/";

model::VirtualNetwork network() {
    model::VirtualNetwork net;
    net.id = network_id("virtualNetworks/Vnet1");
    net.location = "westeurope";
    net.resource_guid = "g-1";
    net.prefixes = {*net::Ipv4Prefix::parse("10.0.0.0/16")};
    net.dns_servers = {"10.0.0.4"};
    model::Subnet one;
    one.name = "Default";
    one.prefixes = {*net::Ipv4Prefix::parse("10.0.0.0/24")};
    one.delegations_json = R"([{"name":"0"}])";
    model::Subnet two;
    two.name = "two";
    two.prefixes = {*net::Ipv4Prefix::parse("10.0.1.0/24"), *net::Ipv4Prefix::parse("10.0.2.0/24")};
    two.prefixes_as_list = true;
    two.service_policies = false;
    net.subnets = {one, two};
    return net;
}

TEST(ShowGroup, IsWhatAzNeeds) {
    model::ResourceGroup group;
    group.id = group_id();
    group.location = "westeurope";
    const boost::json::value shown = show(group);
    EXPECT_EQ(at(shown, "/id"), std::string(kGroup));
    EXPECT_EQ(at(shown, "/name"), "Rg1");
    EXPECT_EQ(at(shown, "/type"), "Microsoft.Resources/resourceGroups");
    EXPECT_EQ(at(shown, "/properties/provisioningState"), "Succeeded");
}

TEST(ShowNetwork, HasTheBackReferencesOfEachSubnet) {
    NetworkView view;
    view.etag = etag(42);
    view.subnets["default"].private_endpoints = {network_id("privateEndpoints/pe1")};
    view.subnets["default"].ip_configurations = {
        network_id("networkInterfaces/n/ipConfigurations/c")};
    const boost::json::value shown = show(network(), view);
    EXPECT_EQ(at(shown, "/etag"), "W/\"42\"");
    EXPECT_EQ(at(shown, "/type"), "Microsoft.Network/virtualNetworks");
    EXPECT_EQ(at(shown, "/properties/resourceGuid"), "g-1");
    EXPECT_EQ(at(shown, "/properties/addressSpace/addressPrefixes/0"), "10.0.0.0/16");
    EXPECT_EQ(at(shown, "/properties/dhcpOptions/dnsServers/0"), "10.0.0.4");
    const auto one = at(shown, "/properties/subnets/0");
    EXPECT_EQ(at(one, "/id"), kNw + "virtualNetworks/Vnet1/subnets/Default");
    EXPECT_EQ(at(one, "/type"), "Microsoft.Network/virtualNetworks/subnets");
    EXPECT_EQ(at(one, "/etag"), "W/\"42\"");
    EXPECT_EQ(at(one, "/properties/addressPrefix"), "10.0.0.0/24");
    EXPECT_EQ(at(one, "/properties/purpose"), "PrivateEndpoints");
    EXPECT_EQ(at(one, "/properties/privateEndpoints/0/id"), kNw + "privateEndpoints/pe1");
    EXPECT_EQ(at(one, "/properties/ipConfigurations/0/id"),
              kNw + "networkInterfaces/n/ipConfigurations/c");
    const auto two = at(shown, "/properties/subnets/1/properties");
    EXPECT_EQ(at(two, "/addressPrefixes/1"), "10.0.2.0/24");
    EXPECT_EQ(at(two, "/privateLinkServiceNetworkPolicies"), "Disabled");
    EXPECT_EQ(at(two, "/privateEndpoints"), boost::json::array{});
    EXPECT_EQ(at(two, "/delegations"), boost::json::array{});
    EXPECT_EQ(at(two, "/serviceEndpoints"), boost::json::array{});
}

TEST(ShowNetwork, AChildIsFoundByNameInAnyCase) {
    const auto shown = show(network(), {});
    ASSERT_TRUE(child(shown, "SUBNETS", "default"));
    EXPECT_EQ(child(shown, "subnets", "DEFAULT")->at("name"), "Default");
    EXPECT_FALSE(child(shown, "subnets", "three"));
    EXPECT_FALSE(child(shown, "probes", "x"));
    EXPECT_EQ(children(shown, "subnets")->size(), 2u);
    EXPECT_FALSE(children(shown, "nothing"));
    EXPECT_FALSE(children({}, "subnets"));
}

// --- read(show(x)) -------------------------------------------------------------------------------

TEST(ShowAndRead, ANetworkComesBackTheSame) {
    auto net = network();
    auto back = read<model::VirtualNetwork>(show(net, {}), net.id);
    ASSERT_TRUE(back);
    net.resource_guid.clear();  // server-owned
    EXPECT_EQ(*back, net);
}

model::LoadBalancer balancer() {
    model::LoadBalancer lb;
    lb.id = network_id("loadBalancers/lb1");
    lb.location = "westeurope";
    lb.tags = {{"a", "b"}};
    lb.sku = "Standard";
    lb.frontends = {{.name = "fe1",
                     .subnet = network_id("virtualNetworks/v/subnets/s"),
                     .allocation = model::Allocation::kStatic,
                     .address = net::Ipv4{0x0a000005},
                     .public_ip = {},
                     .zones = {"1"}}};
    lb.pools = {{.name = "bp1", .pool_index = 0, .addresses_json = ""}};
    lb.probes = {{.name = "pr",
                  .protocol = "Http",
                  .port = 80,
                  .interval_s = 5,
                  .count = 2,
                  .threshold = 1,
                  .request_path = "/"}};
    lb.rules = {{.name = "r1",
                 .frontend = lb.id.child("frontendIPConfigurations", "fe1"),
                 .pool = lb.id.child("backendAddressPools", "bp1"),
                 .probe = lb.id.child("probes", "pr"),
                 .protocol = model::Protocol::kUdp,
                 .frontend_port = 53,
                 .backend_port = 5353,
                 .idle_minutes = 9,
                 .floating_ip = true,
                 .tcp_reset = true,
                 .disable_outbound_snat = true,
                 .affinity = model::Affinity::kSourceIpProtocol}};
    lb.outbound_rules_json = R"([{"name":"o"}])";
    return lb;
}

TEST(ShowBalancer, AlwaysHasEveryArrayAndTheRulesOfEachPart) {
    model::LoadBalancer bare;
    bare.id = network_id("loadBalancers/empty");
    const boost::json::value empty = show(bare, {});
    for (const auto* list :
         {"frontendIPConfigurations", "backendAddressPools", "loadBalancingRules", "probes",
          "inboundNatRules", "outboundRules", "inboundNatPools"}) {
        EXPECT_EQ(at(empty, std::string("/properties/") + list), boost::json::array{}) << list;
    }
    BalancerView view;
    view.etag = etag(7);
    view.pool_members["bp1"] = {network_id("networkInterfaces/n/ipConfigurations/c")};
    const boost::json::value shown = show(balancer(), view);
    EXPECT_EQ(at(shown, "/sku/name"), "Standard");
    const std::string rule = kNw + "loadBalancers/lb1/loadBalancingRules/r1";
    EXPECT_EQ(
        at(shown, "/properties/frontendIPConfigurations/0/properties/loadBalancingRules/0/id"),
        rule);
    EXPECT_EQ(at(shown, "/properties/frontendIPConfigurations/0/zones/0"), "1");
    EXPECT_EQ(at(shown, "/properties/backendAddressPools/0/properties/loadBalancingRules/0/id"),
              rule);
    EXPECT_EQ(
        at(shown, "/properties/backendAddressPools/0/properties/backendIPConfigurations/0/id"),
        kNw + "networkInterfaces/n/ipConfigurations/c");
    EXPECT_EQ(at(shown, "/properties/probes/0/properties/loadBalancingRules/0/id"), rule);
    EXPECT_EQ(at(shown, "/properties/loadBalancingRules/0/properties/protocol"), "Udp");
    EXPECT_EQ(at(shown, "/properties/outboundRules/0/name"), "o");
}

TEST(ShowAndRead, ABalancerComesBackTheSame) {
    const auto lb = balancer();
    const auto back = read<model::LoadBalancer>(show(lb, {}), lb.id);
    ASSERT_TRUE(back) << back.error().front().message;
    EXPECT_EQ(*back, lb);
}

TEST(ShowNic, HasItsMacAndItsOwner) {
    model::NetworkInterface nic;
    nic.id = network_id("networkInterfaces/n");
    nic.nic_index = 7;
    nic.private_endpoint = network_id("privateEndpoints/pe");
    nic.ip_configurations = {{.name = "c",
                              .subnet = network_id("virtualNetworks/v/subnets/s"),
                              .allocation = model::Allocation::kDynamic,
                              .address = net::Ipv4{0x0a000004},
                              .primary = true,
                              .pools = {}}};
    const boost::json::value shown = show(nic, {});
    EXPECT_EQ(at(shown, "/properties/macAddress"), "02-CF-00-00-00-07");
    EXPECT_EQ(at(shown, "/properties/privateEndpoint/id"), kNw + "privateEndpoints/pe");
    EXPECT_EQ(at(shown, "/properties/ipConfigurations/0/properties/privateIPAddress"), "10.0.0.4");
    EXPECT_EQ(at(shown, "/properties/ipConfigurations/0/properties/privateIPAllocationMethod"),
              "Dynamic");
    EXPECT_EQ(
        at(shown, "/properties/ipConfigurations/0/properties/loadBalancerBackendAddressPools"),
        boost::json::array{});
    auto back = read<model::NetworkInterface>(shown, nic.id);
    ASSERT_FALSE(back);  // no location was set
    EXPECT_EQ(back.error().front().arm_code, "LocationRequired");
}

TEST(ShowService, EmbedsItsConnections) {
    model::PrivateLinkService service;
    service.id = network_id("privateLinkServices/pls1");
    service.location = "westeurope";
    service.frontends = {network_id("loadBalancers/lb1/frontendIPConfigurations/fe1")};
    service.nat = {{.name = "c",
                    .subnet = network_id("virtualNetworks/v/subnets/s"),
                    .allocation = model::Allocation::kDynamic,
                    .address = net::Ipv4{0x0a000104},
                    .primary = true}};
    service.alias = "pls1.guid.westeurope.azure.privatelinkservice";
    service.nic = network_id("networkInterfaces/pls1.nic.guid");
    model::PrivateEndpointConnection connection;
    connection.id = service.id.child("privateEndpointConnections", "pe.guid");
    connection.private_endpoint = network_id("privateEndpoints/pe");
    connection.link_id = 536870912;
    connection.state = {model::ConnectionStatus::kApproved, "ok", ""};
    connection.endpoint_location = "westeurope";
    ServiceView view;
    view.connections = {{connection, etag(5)}};
    const boost::json::value shown = show(service, view);
    EXPECT_EQ(at(shown, "/properties/alias"), service.alias);
    EXPECT_EQ(at(shown, "/properties/networkInterfaces/0/id"), service.nic.str());
    EXPECT_EQ(at(shown, "/properties/visibility/subscriptions"), boost::json::array{});
    EXPECT_EQ(at(shown, "/properties/fqdns"), boost::json::array{});
    const auto embedded = at(shown, "/properties/privateEndpointConnections/0");
    EXPECT_EQ(embedded, boost::json::value(show(connection, ConnectionView{etag(5)})));
    EXPECT_EQ(at(embedded, "/type"),
              "Microsoft.Network/privateLinkServices/privateEndpointConnections");
    EXPECT_EQ(at(embedded, "/properties/linkIdentifier"), "536870912");
    EXPECT_EQ(at(embedded, "/properties/privateLinkServiceConnectionState/status"), "Approved");
    EXPECT_EQ(at(embedded, "/properties/privateLinkServiceConnectionState/actionsRequired"),
              "None");
    EXPECT_EQ(at(embedded, "/properties/privateEndpointLocation"), "westeurope");
    auto back = read<model::PrivateLinkService>(shown, service.id);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->frontends, service.frontends);
    EXPECT_TRUE(back->nat[0].primary);
    EXPECT_FALSE(back->nat_per_connection) << "not said is left as it is";
}

TEST(ShowService, TellsWhatIsItsOwnWhereItIsUsed) {
    model::PrivateLinkService service;
    service.id = network_id("privateLinkServices/pls1");
    service.location = "westeurope";
    service.nat_per_connection = true;
    model::PrivateEndpointConnection connection;
    connection.id = service.id.child("privateEndpointConnections", "pe.guid");
    connection.nat = net::Ipv4{0x0a000104};
    ServiceView view;
    view.connections = {{connection, etag(5)}};
    const boost::json::value shown = show(service, view);
    EXPECT_EQ(at(shown, "/properties/natAddressPerConnection"), true);
    EXPECT_EQ(at(shown, "/properties/privateEndpointConnections/0/properties/natAddress"),
              "10.0.1.4");
    EXPECT_EQ(read<model::PrivateLinkService>(shown, service.id)->nat_per_connection, true);
}

model::PrivateEndpoint endpoint(bool manual) {
    model::PrivateEndpoint pe;
    pe.id = network_id("privateEndpoints/pe1");
    pe.location = "westeurope";
    pe.subnet = network_id("virtualNetworks/v/subnets/s");
    pe.requests = {{.name = "c1",
                    .target = network_id("privateLinkServices/pls1").str(),
                    .group_ids = {},
                    .request_message = manual ? "please" : "",
                    .manual = manual}};
    return pe;
}

TEST(ShowEndpoint, PutsTheConnectionIntoItsOwnArray) {
    EndpointView view;
    view.state = model::ConnectionState{model::ConnectionStatus::kPending, "please", "None"};
    const boost::json::value manual = show(endpoint(true), view);
    EXPECT_EQ(at(manual, "/properties/privateLinkServiceConnections"), boost::json::array{});
    const auto request = at(manual, "/properties/manualPrivateLinkServiceConnections/0");
    EXPECT_EQ(at(request, "/id"),
              kNw + "privateEndpoints/pe1/manualPrivateLinkServiceConnections/c1");
    EXPECT_EQ(at(request, "/properties/requestMessage"), "please");
    EXPECT_EQ(at(request, "/properties/privateLinkServiceConnectionState/status"), "Pending");
    const boost::json::value automatic = show(endpoint(false), view);
    EXPECT_EQ(at(automatic, "/properties/manualPrivateLinkServiceConnections"),
              boost::json::array{});
    EXPECT_EQ(at(automatic, "/properties/privateLinkServiceConnections/0/properties/groupIds"),
              boost::json::array{});
    for (const auto* list : {"ipConfigurations", "customDnsConfigs", "networkInterfaces"}) {
        EXPECT_EQ(at(automatic, std::string("/properties/") + list), boost::json::array{}) << list;
    }
}

TEST(ShowEndpoint, WithoutAConnectionItIsDisconnected) {
    auto pe = endpoint(false);
    pe.disconnected_description = "the connection was deleted";
    const boost::json::value shown = show(pe, {});
    const auto state = at(shown,
                          "/properties/privateLinkServiceConnections/0/properties/"
                          "privateLinkServiceConnectionState");
    EXPECT_EQ(at(state, "/status"), "Disconnected");
    EXPECT_EQ(at(state, "/description"), "the connection was deleted");
}

TEST(ShowAndRead, AnEndpointComesBackTheSame) {
    for (const bool manual : {false, true}) {
        auto pe = endpoint(manual);
        pe.custom_nic_name = "nic3";
        pe.ip_version = model::IpVersion::kIpv4;
        pe.address = net::Ipv4{0x0a000232};
        pe.ip_configurations = {
            {.name = "i", .group_id = "", .member_name = "", .address = net::Ipv4{0x0a000232}}};
        const auto back = read<model::PrivateEndpoint>(show(pe, {}), pe.id);
        ASSERT_TRUE(back);
        EXPECT_EQ(*back, pe);
    }
}

}  // namespace
}  // namespace culvert::wire
