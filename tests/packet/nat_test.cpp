// SPDX-License-Identifier: Apache-2.0
// NAT addresses: how many connections have one, which one a link gets; rules of every port; idle
// connections whose ends are to be reset.
#include "tests/packet/usual.hpp"

#include <arpa/inet.h>

#include <set>

namespace culvert::packet {
namespace {

using namespace std::chrono_literals;

const std::uint32_t kSecondNat = ip("10.0.1.10");
constexpr std::uint8_t kUdp = 17;

// The NAT addresses that the connections' backends see.
std::multiset<std::uint32_t> given(const World& world) {
    std::multiset<std::uint32_t> out;
    for (const auto& [key, flow] : world.flows()) {
        if ((flow.flags & CV_FLOW_PRIMARY) != 0) {
            out.insert(flow.saddr);
        }
    }
    return out;
}

TEST(NatAddresses, AnAddedOneIsUsedAtOnceAndARemovedOneNoMore) {
    devices();
    World world;
    one_link(world);
    send(world, consumer_sends(request(1).syn()));
    world.service(kService, kProviderVnet, {kNat, kSecondNat});
    for (std::uint16_t port = 2; port <= 5; ++port) {
        send(world, consumer_sends(request(port).syn()));
    }
    EXPECT_EQ(given(world).count(kSecondNat), 2u) << "in turn";
    world.service(kService, kProviderVnet, {kSecondNat});
    for (std::uint16_t port = 6; port <= 9; ++port) {
        send(world, consumer_sends(request(port).syn()));
    }
    EXPECT_EQ(given(world).count(kSecondNat), 6u);
    // what has the removed one goes on
    EXPECT_EQ(send(world, backend_sends(answer().syn_ack())), Verdict::Redirected);
    EXPECT_EQ(send(world, consumer_sends(request(1).payload(3))), Verdict::Redirected);
}

TEST(NatAddresses, ALinkWithOneOfItsOwnGetsNoOther) {
    devices();
    World world;
    one_link(world);
    world.service(kService, kProviderVnet, {kNat, kSecondNat});
    change_link(world, [](cv_link& link) { link.nat = kSecondNat; });
    for (std::uint16_t port = 1; port <= 8; ++port) {
        send(world, consumer_sends(request(port).syn()));
    }
    EXPECT_EQ(given(world).count(kSecondNat), 8u);
    world.walk();
    EXPECT_EQ(world.nat_used(kBackend, kSecondNat), 8u);
    EXPECT_EQ(world.nat_used(kBackend, kNat), 0u);
}

// Established connections of a rule that asks for it, and no others.
TEST(IdleReset, TellsOfEstablishedConnectionsWhoseRuleAsksForIt) {
    devices();
    World world(256, 1s);
    one_link(world);
    world.rule(kService, kPort, kPool, kBackendPort, 1, 5, 6, CV_RULE_RESET);
    open(world, 1, kNatPort);
    send(world, consumer_sends(request(2).syn()));  // never answered
    open(world, 3, kNatPort + 2);
    send(world, consumer_sends(request(3).rst()));  // both know
    world.rule(kService, kPort, kPool, kBackendPort, 1);
    open(world, 4, kNatPort + 3);  // its rule does not ask
    EXPECT_TRUE(eventually([&] { return world.flows().empty(); }));
    const auto ended = world.ended();
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_EQ(ended[0].key.sport, htons(1));
    EXPECT_EQ(ended[0].flow.saddr, kNat);
    EXPECT_EQ(ended[0].flow.nic, kBackend);
    EXPECT_EQ(world.moved()["IDLE_RESET"], 1u);
    // what either end says then is answered by the exact reset
    const Send says = backend_sends(answer());
    const auto said = world.send(says.hook, says.ifindex, says.packet.bytes());
    EXPECT_EQ(said.out,
              to(kBackend).ipv4(kNat, kServer).tcp(kNatPort, kBackendPort).resets_ack().bytes());
    EXPECT_EQ(world.moved()["RESET_SENT"], 1u);
}

TEST(IdleReset, ADatagramsFlowEndsSilently) {
    devices();
    World world(256, 1s);
    one_link(world);
    world.rule(kService, kPort, kPool, kBackendPort, 1, 5, kUdp, CV_RULE_RESET);
    send(world, consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).udp(3, kPort)));
    send(world, backend_sends(from(kBackend).ipv4(kServer, kNat).udp(kBackendPort, kNatPort)));
    EXPECT_TRUE(eventually([&] { return world.flows().empty(); }));
    EXPECT_TRUE(world.ended().empty());
}

// A rule of every port, for TCP and UDP.
void every_port(World& world) {
    one_link(world);
    for (const std::uint8_t protocol : {std::uint8_t{6}, kUdp}) {
        world.rule(kService, 0, kPool, 0, 300, 5, protocol);
    }
}
void every_port_there(World& world) {
    one_link(world, {.consumer_node = kThere});
    world.rule(kService, 0, kPool, 0);
}

const std::vector<Row> kEveryPort = {
    {.name = "a port without a rule of its own goes to the same port of the backend",
     .maps = every_port,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, 7777).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort, 7777).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "a datagram, too",
     .maps = every_port,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).udp(kClientPort, 53)),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).udp(kNatPort, 53),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "a rule of the port goes before that of every port",
     .maps = every_port,
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "the answer comes from the port that was asked",
     .maps = every_port,
     .before = {consumer_sends(
         from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, 7777).syn())},
     .in = backend_sends(from(kBackend).ipv4(kServer, kNat).tcp(7777, kNatPort).syn_ack()),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).tcp(7777, kClientPort).syn_ack(),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "from another node, too",
     .maps = every_port_there,
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kBackend)
                               .ipv4(kClient, kEndpoint)
                               .tcp(kClientPort, 7777)
                               .syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort, 7777).syn(),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}}},
    {.name = "a rule of every port of another protocol opens nothing",
     .maps =
         [](World& world) {
             one_link(world);
             world.rule(kService, 0, kPool, 0, 300, 5, kUdp);
         },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, 7777).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).tcp(7777, kClientPort).resets(1),
     .moved = {{"drop.NO_RULE", 1}, {"RESET_SENT", 1}}},
};
CULVERT_PACKET_ROWS(EveryPort, kEveryPort);

}  // namespace
}  // namespace culvert::packet
