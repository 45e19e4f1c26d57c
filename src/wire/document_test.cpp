// SPDX-License-Identifier: Apache-2.0
// Stored documents: decode(encode(x)) == x with every field set, and nothing else is accepted.
#include "wire/testing.hpp"

namespace culvert::wire {
namespace {

using namespace testing;

template <typename T>
T resource(std::string_view tail) {
    T value;
    value.id = network_id(tail);
    value.location = "westeurope";
    value.tags = {{"Key", "v\"1\n"}, {"z", ""}};
    value.provisioning = model::Provisioning::kUpdating;
    value.resource_guid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    return value;
}

// `later`: a field that documents of earlier versions do not have.
template <typename T>
void round_trip(const T& value, std::string_view later = "") {
    const std::string document = encode(value);
    const auto back = decode<T>(document);
    ASSERT_TRUE(back) << back.error().message << "\n" << document;
    EXPECT_EQ(*back, value) << document;
    EXPECT_EQ(back->id.str(), value.id.str()) << "casing is kept";
    EXPECT_EQ(encode(*back), document);
    EXPECT_NE(encode(T{}), document);

    // every field is needed, and no other is taken
    auto object = boost::json::parse(document).as_object();
    ASSERT_EQ(object.at("v"), 1);
    for (const auto& member : boost::json::object(object)) {
        auto less = object;
        less.erase(member.key());
        EXPECT_EQ(decode<T>(boost::json::serialize(less)).has_value(), member.key() == later)
            << member.key();
        auto other = object;
        other[member.key()] = boost::json::parse("[true]");
        const auto wrong = decode<T>(boost::json::serialize(other));
        ASSERT_FALSE(wrong) << member.key();
        EXPECT_EQ(wrong.error().code, Code::kCorrupt);
    }
    auto more = object;
    more["surprise"] = 1;
    EXPECT_FALSE(decode<T>(boost::json::serialize(more)));
    object["v"] = 2;
    const auto newer = decode<T>(boost::json::serialize(object));
    ASSERT_FALSE(newer);
    EXPECT_EQ(newer.error().code, Code::kCorrupt);
    EXPECT_NE(newer.error().message.find("version 2"), std::string::npos);
    EXPECT_FALSE(decode<T>(document.substr(0, document.size() / 2)));
}

model::ConnectionState state() {
    return {model::ConnectionStatus::kRejected, "no \xc3\xa9", "None"};
}

TEST(Document, GroupsComeBack) {
    auto group = resource<model::ResourceGroup>("virtualNetworks/x");
    group.id = group_id();
    round_trip(group);
}

TEST(Document, NetworksComeBack) {
    auto net = resource<model::VirtualNetwork>("virtualNetworks/Vnet1");
    net.prefixes = {*net::Ipv4Prefix::parse("10.0.0.0/16"), *net::Ipv4Prefix::parse("0.0.0.0/2")};
    net.prefixes6 = {*net::Ipv6Prefix::parse("fd00:1::/48")};
    net.dns_servers = {"10.0.0.4", "10.0.0.5"};
    net.vnet_index = 0x7fffff;
    net.subnets.resize(2);
    net.subnets[0] = {.name = "S",
                      .prefixes = {*net::Ipv4Prefix::parse("10.0.0.0/24")},
                      .prefixes6 = {*net::Ipv6Prefix::parse("fd00:1:0:1::/64")},
                      .prefixes_as_list = true,
                      .endpoint_policies = model::EndpointPolicies::kRouteTableEnabled,
                      .service_policies = false,
                      .service_endpoints_json = "[{}]",
                      .delegations_json = "[1]"};
    round_trip(net, "prefixes6");
}

TEST(Document, InterfacesComeBack) {
    auto nic = resource<model::NetworkInterface>("networkInterfaces/n");
    nic.ip_configurations = {{.name = "a",
                              .subnet = network_id("virtualNetworks/v/subnets/s"),
                              .allocation = model::Allocation::kStatic,
                              .address = net::Ipv4{0xfffffffe},
                              .primary = false,
                              .pools = {network_id("loadBalancers/l/backendAddressPools/p")}},
                             {}};
    nic.six = {.name = "b",
               .subnet = network_id("virtualNetworks/v/subnets/s"),
               .address = *net::Ipv6::parse("fd00:1::a00:4")};
    nic.ip_forwarding = true;
    nic.nic_index = 4294967295;
    nic.nic_generation = 3;
    nic.private_endpoint = network_id("privateEndpoints/p");
    nic.private_link_service = network_id("privateLinkServices/p");
    round_trip(nic, "six");
}

TEST(Document, BalancersComeBack) {
    auto lb = resource<model::LoadBalancer>("loadBalancers/lb");
    lb.sku = "Standard";
    lb.tier = "Global";
    lb.frontends = {{.name = "f",
                     .subnet = network_id("virtualNetworks/v/subnets/s"),
                     .allocation = model::Allocation::kStatic,
                     .address = net::Ipv4{0},
                     .public_ip = network_id("publicIPAddresses/p"),
                     .zones = {"1", "2"}},
                    {}};
    lb.pools = {{.name = "p", .pool_index = 9, .addresses_json = "[{}]"}};
    lb.rules = {{.name = "r",
                 .frontend = lb.id.child("frontendIPConfigurations", "f"),
                 .pool = lb.id.child("backendAddressPools", "p"),
                 .probe = lb.id.child("probes", "q"),
                 .protocol = model::Protocol::kAll,
                 .frontend_port = 65535,
                 .backend_port = 1,
                 .idle_minutes = 100,
                 .floating_ip = true,
                 .tcp_reset = true,
                 .disable_outbound_snat = true,
                 .affinity = model::Affinity::kSourceIp}};
    lb.probes = {{.name = "q",
                  .protocol = "Https",
                  .port = 443,
                  .interval_s = 30,
                  .count = 4,
                  .threshold = 5,
                  .request_path = "/p",
                  .all_up = true}};
    lb.nat_rules = {
        {.name = "n",
         .frontend = lb.id.child("frontendIPConfigurations", "f"),
         .protocol = model::Protocol::kUdp,
         .frontend_port = 1,
         .pool = lb.id.child("backendAddressPools", "p"),
         .range_first = 2,
         .range_last = 65535,
         .backend_port = 3,
         .idle_minutes = 5,
         .floating_ip = true,
         .tcp_reset = true,
         .targets = {
             {.configuration = network_id("networkInterfaces/n/ipConfigurations/c"), .port = 2}}}};
    lb.outbound_rules_json = "[2]";
    lb.inbound_nat_pools_json = "[3]";
    round_trip(lb, "natRules");
}

// They had no effect then: those that cannot be read are left out.
TEST(Document, InboundNatRulesOfEarlierVersionsAreRead) {
    auto lb = resource<model::LoadBalancer>("loadBalancers/lb");
    auto document = boost::json::parse(encode(lb)).as_object();
    document["inboundNatRules"] = boost::json::serialize(json_of(R"([
        {"name": "ssh", "id": "NW/loadBalancers/lb/inboundNatRules/ssh", "etag": "W/1",
         "properties": {"provisioningState": "Succeeded", "protocol": "Tcp", "backendPort": 22,
          "frontendIPConfiguration": {"id": "NW/loadBalancers/lb/frontendIPConfigurations/f"},
          "frontendPort": 2222, "backendAddressPool": null}},
        {"name": "half"}, 7, {"properties": {}}])"));
    const auto back = decode<model::LoadBalancer>(boost::json::serialize(document));
    ASSERT_TRUE(back) << back.error().message;
    ASSERT_EQ(back->nat_rules.size(), 1U);
    EXPECT_EQ(back->nat_rules[0].name, "ssh");
    EXPECT_EQ(back->nat_rules[0].frontend_port, 2222);
    EXPECT_EQ(back->nat_rules[0].frontend, lb.id.child("frontendIPConfigurations", "f"));
    EXPECT_TRUE(back->nat_rules[0].targets.empty());
    EXPECT_EQ(*decode<model::LoadBalancer>(encode(*back)), *back);
    document["inboundNatRules"] = "[";
    EXPECT_TRUE(decode<model::LoadBalancer>(boost::json::serialize(document))->nat_rules.empty());
}

TEST(Document, ServicesComeBack) {
    auto service = resource<model::PrivateLinkService>("privateLinkServices/p");
    service.frontends = {network_id("loadBalancers/l/frontendIPConfigurations/f")};
    service.nat = {{.name = "n",
                    .subnet = network_id("virtualNetworks/v/subnets/s"),
                    .allocation = model::Allocation::kStatic,
                    .address = net::Ipv4{7},
                    .primary = true}};
    service.visibility = {"*"};
    service.auto_approval = {"a", "b"};
    service.fqdns = {"x.y"};
    service.proxy_protocol = true;
    service.alias = "p.g.l";
    service.service_index = 5;
    service.nic = network_id("networkInterfaces/n");
    round_trip(service);
    EXPECT_EQ(encode(service).find("natPerConnection"), std::string::npos)
        << "as earlier versions wrote it";
    for (const bool wanted : {false, true}) {
        service.nat_per_connection = wanted;
        round_trip(service, "natPerConnection");
    }
}

TEST(Document, ConnectionsComeBack) {
    model::PrivateEndpointConnection connection;
    connection.id = network_id("privateLinkServices/p/privateEndpointConnections/c");
    connection.private_endpoint = network_id("privateEndpoints/e");
    connection.endpoint_location = "l";
    connection.request_message = "m";
    connection.state = state();
    connection.link_id = 0x7fffff;
    connection.link_generation = 8;
    connection.provisioning = model::Provisioning::kFailed;
    round_trip(connection);
    connection.nat = net::Ipv4{8};
    round_trip(connection, "nat");
}

TEST(Document, EndpointsComeBack) {
    auto pe = resource<model::PrivateEndpoint>("privateEndpoints/e");
    pe.subnet = network_id("virtualNetworks/v/subnets/s");
    pe.requests = {{.name = "c",
                    .target = "alias.x",
                    .group_ids = {"g"},
                    .request_message = "m",
                    .manual = true}};
    pe.ip_configurations = {
        {.name = "i", .group_id = "g", .member_name = "m", .address = net::Ipv4{9}}};
    pe.security_groups = {network_id("applicationSecurityGroups/a")};
    pe.custom_nic_name = "nic";
    pe.nic = network_id("networkInterfaces/n");
    pe.address = net::Ipv4{9};
    pe.connection = network_id("privateLinkServices/p/privateEndpointConnections/c");
    pe.disconnected_description = "gone";
    round_trip(pe);
}

TEST(Document, DamageIsNamedWithItsPath) {
    auto net = resource<model::VirtualNetwork>("virtualNetworks/v");
    net.prefixes = {*net::Ipv4Prefix::parse("10.0.0.0/16")};
    std::string document = encode(net);
    document.replace(document.find("10.0.0.0/16"), 11, "10.0.0.1/16");
    const auto back = decode<model::VirtualNetwork>(document);
    ASSERT_FALSE(back);
    EXPECT_EQ(back.error().message, "read document: document.prefixes[0] does not parse");
    EXPECT_FALSE(decode<model::VirtualNetwork>(""));
    EXPECT_FALSE(decode<model::VirtualNetwork>("[]"));
    EXPECT_FALSE(decode<model::VirtualNetwork>("{\"v\":\"1\"}"));
}

TEST(Document, AnIdWithoutASubscriptionIsDamage) {
    std::string document = encode(resource<model::ResourceGroup>("x/y"));
    const auto begin = document.find("/subscriptions");
    document.erase(begin, document.find("/providers") - begin);
    const auto back = decode<model::ResourceGroup>(document);
    ASSERT_FALSE(back);
    EXPECT_EQ(back.error().message, "read document: document.id names no subscription");
}

}  // namespace
}  // namespace culvert::wire
