// SPDX-License-Identifier: Apache-2.0
// Echoes between nodes: who is answered, what is passed on, what counts as an answer, and what a
// hostile node, host or workload gets for its trouble.
#include "tests/packet/row.hpp"

#include "abi/echo.h"
#include "abi/note.h"

#include <arpa/inet.h>

#include <cstring>

namespace culvert::packet {
namespace {

constexpr std::uint64_t kNonce = 0x1122334455667788, kRelayNonce = 0x99aabbccddeeff01;
constexpr std::uint32_t kNobody = 9;  // an index without a node

struct Echo {
    std::uint32_t from = kThere, to = kHere;  // nodes whose addresses the outer header has
    std::uint8_t step = CV_ECHO_ASK;
    std::uint32_t origin = kThere, target = kHere, relay = 0, sequence = 7;
    std::uint64_t nonce = kNonce;
    std::uint32_t vni = CV_ECHO_VNI;
    std::uint16_t type = CV_ECHO_ETHERTYPE;
    std::uint8_t version = CV_ECHO_VERSION;
    std::uint8_t ttl = 64;
    std::uint8_t fenced = 0;
};

Packet frame(const Echo& echo) {
    cv_echo_wire wire{};
    wire.version = echo.version;
    wire.step = echo.step;
    wire.origin = htonl(echo.origin);
    wire.target = htonl(echo.target);
    wire.relay = htonl(echo.relay);
    wire.sequence = htonl(echo.sequence);
    wire.nonce = echo.nonce;
    wire.fenced = echo.fenced;
    Bytes bytes(sizeof(wire));
    std::memcpy(bytes.data(), &wire, sizeof(wire));
    const net::Mac near{{0x02, 0, 0, 0, 0, 1}}, far{{0x02, 0, 0, 0, 0, 2}};
    return Packet()
        .eth(far, near)
        .ipv4(node_address(echo.from), node_address(echo.to))
        .ip_id(0)
        .ttl(echo.ttl)
        .udp(kWirePort, kVxlanPort)
        .no_checksum()
        .vxlan(echo.vni)
        .eth(mac(kRouter), mac(kRouter), echo.type)
        .raw(bytes);
}

// This node asks kThere, and kThere through kElsewhere.
void asking(World& world) {
    one_link(world);
    cv_echo echo{};
    echo.nonce = kNonce;
    echo.relay_nonce = kRelayNonce;
    echo.sequence = echo.relay_sequence = 5;
    world.echo(kThere, echo);
}

const Echo kAnswer{.step = CV_ECHO_ANSWER, .origin = kHere, .target = kThere};
const Echo kRelayAnswer{.from = kElsewhere,
                        .step = CV_ECHO_RELAY_ANSWER,
                        .origin = kHere,
                        .target = kThere,
                        .relay = kElsewhere,
                        .nonce = kRelayNonce};

Echo changed(Echo echo, const std::function<void(Echo&)>& change) {
    change(echo);
    return echo;
}

const std::vector<Row> kAnswered = {
    {.name = "a known node's echo is answered in place",
     .in = backbone_brings(frame({.ttl = 3})),
     .verdict = Verdict::Redirected,
     .out = frame({.from = kHere, .to = kThere, .step = CV_ECHO_ANSWER}),
     .moved = {{"ECHO_ANSWERED", 1}}},
    {.name = "a relay's echo goes back to the relay",
     .in = backbone_brings(frame(
         {.from = kElsewhere, .step = CV_ECHO_RELAY_PROBE, .origin = kThere, .relay = kElsewhere})),
     .verdict = Verdict::Redirected,
     .out = frame({.from = kHere,
                   .to = kElsewhere,
                   .step = CV_ECHO_RELAY_ECHO,
                   .origin = kThere,
                   .relay = kElsewhere}),
     .moved = {{"ECHO_ANSWERED", 1}}},
    {.name = "an echo to relay goes on to its target",
     .in =
         backbone_brings(frame({.step = CV_ECHO_RELAY_ASK, .target = kElsewhere, .relay = kHere})),
     .verdict = Verdict::Redirected,
     .out = frame({.from = kHere,
                   .to = kElsewhere,
                   .step = CV_ECHO_RELAY_PROBE,
                   .target = kElsewhere,
                   .relay = kHere}),
     .moved = {{"ECHO_RELAYED", 1}}},
    {.name = "a relayed echo comes back to its origin",
     .in = backbone_brings(frame(
         {.from = kElsewhere, .step = CV_ECHO_RELAY_ECHO, .target = kElsewhere, .relay = kHere})),
     .verdict = Verdict::Redirected,
     .out = frame({.from = kHere,
                   .to = kThere,
                   .step = CV_ECHO_RELAY_ANSWER,
                   .target = kElsewhere,
                   .relay = kHere}),
     .moved = {{"ECHO_RELAYED", 1}}},
};

// This node is fenced.
void fenced(World& world) {
    one_link(world);
    cv_config config = world.config();
    config.fenced = 1;
    world.config(config);
}

const std::vector<Row> kFenced = {
    {.name = "a fenced node says so in its answer",
     .maps = fenced,
     .in = backbone_brings(frame({})),
     .verdict = Verdict::Redirected,
     .out = frame({.from = kHere, .to = kThere, .step = CV_ECHO_ANSWER, .fenced = 1}),
     .moved = {{"ECHO_ANSWERED", 1}}},
    {.name = "nobody else can say that it is",
     .in = backbone_brings(frame({.fenced = 1})),
     .verdict = Verdict::Redirected,
     .out = frame({.from = kHere, .to = kThere, .step = CV_ECHO_ANSWER}),
     .moved = {{"ECHO_ANSWERED", 1}}},
    {.name = "a fenced relay does not say so of the target",
     .maps = fenced,
     .in = backbone_brings(frame(
         {.from = kElsewhere, .step = CV_ECHO_RELAY_ECHO, .target = kElsewhere, .relay = kHere})),
     .verdict = Verdict::Redirected,
     .out = frame({.from = kHere,
                   .to = kThere,
                   .step = CV_ECHO_RELAY_ANSWER,
                   .target = kElsewhere,
                   .relay = kHere}),
     .moved = {{"ECHO_RELAYED", 1}}},
};

const std::vector<Row> kRefused = {
    {.name = "an echo in another node's name is refused",
     .in = backbone_brings(frame({.from = kElsewhere})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_SOURCE", 1}}},
    {.name = "an echo of a node that is not known is refused",
     .in = backbone_brings(frame({.from = kNobody, .origin = kNobody})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_SOURCE", 1}}},
    {.name = "an echo of a node index beyond the table is refused",
     .in = backbone_brings(frame({.origin = 0xffffffff})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_SOURCE", 1}}},
    {.name = "an answer that only the relay could give is not taken from the target's neighbour",
     .maps = asking,
     .in = backbone_brings(frame(changed(kRelayAnswer, [](Echo& echo) { echo.from = kThere; }))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_SOURCE", 1}}},
    {.name = "an echo for another node is not answered",
     .in = backbone_brings(frame({.target = kElsewhere})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_STRAY", 1}}},
    {.name = "an echo is not passed on to a node that is not known",
     .in = backbone_brings(frame({.step = CV_ECHO_RELAY_ASK, .target = kNobody, .relay = kHere})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_STRAY", 1}}},
    {.name = "an echo is not passed on to this node itself",
     .in = backbone_brings(frame({.step = CV_ECHO_RELAY_ASK, .target = kHere, .relay = kHere})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_STRAY", 1}}},
    {.name = "an echo is not passed on to who sent it",
     .in = backbone_brings(frame({.step = CV_ECHO_RELAY_ASK, .target = kThere, .relay = kHere})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an answer nobody asked for is forged",
     .in = backbone_brings(frame(kAnswer)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_FORGED", 1}}},
    {.name = "an answer with a guessed nonce is forged",
     .maps = asking,
     .in = backbone_brings(frame(changed(kAnswer, [](Echo& echo) { echo.nonce++; }))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_FORGED", 1}}},
    {.name = "an answer with the nonce zero is forged",
     .in = backbone_brings(frame(changed(kAnswer, [](Echo& echo) { echo.nonce = 0; }))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_FORGED", 1}}},
    {.name = "a relay's nonce is worth nothing without the relay",
     .maps = asking,
     .in = backbone_brings(frame(changed(kAnswer, [](Echo& echo) { echo.nonce = kRelayNonce; }))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_FORGED", 1}}},
    {.name = "the target's nonce is worth nothing through a relay",
     .maps = asking,
     .in = backbone_brings(frame(changed(kRelayAnswer, [](Echo& echo) { echo.nonce = kNonce; }))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_FORGED", 1}}},
    {.name = "an echo under a link's id is malformed",
     .in = backbone_brings(frame({.vni = CV_VNI_LINK | kLink})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an echo under a VNet's id is malformed",
     .in = backbone_brings(frame({.vni = kConsumerVnet})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an echo of another version is malformed",
     .in = backbone_brings(frame({.version = 2})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an echo of no step is malformed",
     .in = backbone_brings(frame({.step = 0})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an echo of a step too many is malformed",
     .in = backbone_brings(frame({.step = CV_ECHO_RELAY_ANSWER + 1})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "a long echo is malformed and not answered at length",
     .in = backbone_brings(frame({}).payload(600)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "a cut echo is malformed",
     .in = backbone_brings(frame({}).cut(90)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an inner frame of another type is no echo",
     .in = backbone_brings(frame({.type = 0x88b7})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NOT_IPV4", 1}}},
    {.name = "the echo's VNI carries no packet",
     .maps = [](World& world) { one_link(world, {.consumer_node = kThere}); },
     .in = backbone_brings(wire(kThere, kHere, CV_ECHO_VNI, kConsumer, kBackend)
                               .ipv4(ip("10.0.0.4"), ip("10.0.1.5"))
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_UNKNOWN", 1}}},
    {.name = "a workload's frame of the echo's type goes nowhere",
     .in = consumer_sends(Packet()
                              .eth(mac(kConsumer), mac(kRouter), CV_ECHO_ETHERTYPE)
                              .payload(sizeof(cv_echo_wire))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NOT_IPV4", 1}}},
    {.name = "a workload's VXLAN to a node's address goes nowhere",
     .in = consumer_sends(from(kConsumer)
                              .ipv4(ip("10.0.0.4"), node_address(kThere))
                              .udp(kWirePort, kVxlanPort)
                              .vxlan(CV_ECHO_VNI)
                              .eth(mac(kRouter), mac(kRouter), CV_ECHO_ETHERTYPE)
                              .payload(sizeof(cv_echo_wire))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_DESTINATION", 1}}},
};

CULVERT_PACKET_ROWS(EchoAnswered, kAnswered);
CULVERT_PACKET_ROWS(EchoFenced, kFenced);
CULVERT_PACKET_ROWS(EchoRefused, kRefused);

class EchoTest : public testing::Test {
  protected:
    EchoTest() {
        devices();
        world().reset();
        asking(world());
    }
    static World& world() {
        static World made(64);
        return made;
    }
    static Outcome bring(const Echo& echo) {
        return world().send(Hook::Backbone, devices().backbone, frame(echo).bytes());
    }
};

// More of either than it may have in a slice of time, and then a question of its own.
TEST_F(EchoTest, WhatANodeTellsAndHasPassedOnTakesNothingFromItsOwnQuestions) {
    cv_note_wire note{};
    note.version = CV_NOTE_VERSION;
    note.kind = CV_NOTE_HAVE;
    note.origin = htonl(kThere);
    note.target = htonl(kHere);
    Bytes told(sizeof(note));
    std::memcpy(told.data(), &note, sizeof(note));
    const net::Mac near{{0x02, 0, 0, 0, 0, 1}}, far{{0x02, 0, 0, 0, 0, 2}};
    const auto telling = Packet()
                             .eth(far, near)
                             .ipv4(node_address(kThere), node_address(kHere))
                             .udp(kWirePort, kVxlanPort)
                             .no_checksum()
                             .vxlan(CV_ECHO_VNI)
                             .eth(mac(kRouter), mac(kRouter), CV_NOTE_ETHERTYPE)
                             .raw(told)
                             .bytes();
    const Echo relayed{.step = CV_ECHO_RELAY_ASK, .target = kElsewhere, .relay = kHere};
    Moved moved;
    constexpr int kTurns = 10;
    for (int turn = 0; turn < kTurns; ++turn) {
        for (int i = 0; i < 2 * CV_ECHO_WINDOW_MAX; ++i) {
            world().send(Hook::Backbone, devices().backbone, telling);
            bring(relayed);
        }
        bring({});
        for (const auto& [name, value] : world().moved()) {
            moved[name] += value;
        }
    }
    EXPECT_EQ(moved["ECHO_ANSWERED"], kTurns);
    EXPECT_GT(moved["drop.ECHO_LIMIT"], 0u);
    EXPECT_GT(moved["NOTE_HEARD"], 0u) << "and echoes take nothing from what it tells";
}

TEST_F(EchoTest, AnswersAreNotedOnceAndInOrder) {
    bring(kAnswer);
    const auto first = world().echo(kThere);
    EXPECT_EQ(first.sequence, 7u);
    EXPECT_EQ(first.answers, 1u);
    EXPECT_NE(first.heard_ns, 0u);
    EXPECT_EQ(first.relay_heard_ns, 0u);
    bring(kAnswer);                                                  // twice
    bring(changed(kAnswer, [](Echo& echo) { echo.sequence = 6; }));  // late
    bring(changed(kAnswer, [](Echo& echo) { echo.nonce = 1; }));     // forged
    EXPECT_EQ(world().echo(kThere).answers, 1u);
    EXPECT_EQ(world().echo(kThere).heard_ns, first.heard_ns);
    bring(changed(kAnswer, [](Echo& echo) { echo.sequence = 8; }));
    EXPECT_EQ(world().echo(kThere).answers, 2u);
    EXPECT_EQ(world().echo(kThere).sequence, 8u);
    const Moved expected{{"ECHO_HEARD", 4}, {"drop.ECHO_FORGED", 1}};
    EXPECT_EQ(world().moved(), expected);
}

TEST_F(EchoTest, AFencedAnswerIsNotedUntilTheNextOne) {
    bring(changed(kAnswer, [](Echo& echo) { echo.fenced = 1; }));
    EXPECT_EQ(world().echo(kThere).fenced, 1u);
    EXPECT_EQ(world().echo(kThere).answers, 1u);
    bring(changed(kAnswer, [](Echo& echo) { echo.sequence = 8; }));
    EXPECT_EQ(world().echo(kThere).fenced, 0u);
}

TEST_F(EchoTest, SequencesWrapAround) {
    cv_echo echo = world().echo(kThere);
    echo.sequence = 0xffffffff;
    world().echo(kThere, echo);
    bring(changed(kAnswer, [](Echo& each) { each.sequence = 0; }));
    EXPECT_EQ(world().echo(kThere).sequence, 0u);
    EXPECT_EQ(world().echo(kThere).answers, 1u);
}

TEST_F(EchoTest, RelayedAnswersAreNotedApart) {
    bring(kRelayAnswer);
    EXPECT_EQ(world().echo(kThere).answers, 0u);
    EXPECT_EQ(world().echo(kThere).heard_ns, 0u);
    EXPECT_EQ(world().echo(kThere).relay_sequence, 7u);
    EXPECT_NE(world().echo(kThere).relay_heard_ns, 0u);
}

// Windows are set from here rather than waited for: what is spent in this slice counts in this one
// alone, so a frame that meets a new slice is answered.
TEST_F(EchoTest, OneNodeGetsNoMoreThanItsShare) {
    const auto spent = [](std::uint32_t count) {
        // the slice that the program is in now, as it noted it a moment ago
        for (;;) {
            bring({});
            cv_echo echo = world().echo(kThere);
            const auto window = echo.window;
            echo.spent = count;
            world().echo(kThere, echo);
            world().moved();
            bring({});
            const auto after = world().echo(kThere);
            if (after.window == window) {
                return world().moved();
            }
        }
    };
    EXPECT_EQ(spent(CV_ECHO_WINDOW_MAX - 1), (Moved{{"ECHO_ANSWERED", 1}}));
    EXPECT_EQ(spent(CV_ECHO_WINDOW_MAX), (Moved{{"drop.ECHO_LIMIT", 1}}));
    // another node is not concerned
    bring({.from = kElsewhere, .origin = kElsewhere});
    EXPECT_EQ(world().moved(), (Moved{{"ECHO_ANSWERED", 1}}));
}

TEST_F(EchoTest, RelayingNeverTakesTheWholeShare) {
    const Echo to_relay{.step = CV_ECHO_RELAY_ASK, .target = kElsewhere, .relay = kHere};
    for (;;) {
        bring({});
        cv_echo echo = world().echo(kThere);
        echo.spent = CV_ECHO_WINDOW_MAX / 2;
        world().echo(kThere, echo);
        world().moved();
        bring(to_relay);
        bring({});
        if (world().echo(kThere).window == echo.window) {
            break;
        }
    }
    EXPECT_EQ(world().moved(), (Moved{{"ECHO_ANSWERED", 1}, {"drop.ECHO_LIMIT", 1}}));
}

// --- closed nodes ---

class ClosedNodeTest : public EchoTest {
  protected:
    // Two backends, on kThere and on kElsewhere, in turn in the table.
    ClosedNodeTest() {
        world().reset();
        one_link(world());
        change_nic(world(), kBackend, [](cv_nic& nic) { nic.node = kThere; });
        change_nic(world(), kSecondBackend, [](cv_nic& nic) { nic.node = kElsewhere; });
        world().pool(kPool, {kBackend, kSecondBackend});
        world().moved();
    }
    static void close(std::uint32_t node, std::uint8_t state) {
        auto value = world().node(node);
        value.state = state;
        world().node(node, value);
    }
    static Packet segment(std::uint16_t port) {
        return from(kConsumer).ipv4(ip("10.0.0.4"), ip("10.0.1.5")).tcp(port, kPort);
    }
    static Outcome send(const Packet& packet) {
        return world().send(Hook::Workload, devices().consumer, packet.bytes());
    }
    // The node a connection's frames go to; 0: to none.
    static std::uint32_t node_of(const Outcome& outcome) {
        if (outcome.verdict != Verdict::Redirected || outcome.out.size() < 34) {
            return 0;
        }
        for (const auto node : {kThere, kElsewhere}) {
            const auto address = node_address(node);
            if (std::memcmp(&outcome.out[30], &address, sizeof(address)) == 0) {
                return node;
            }
        }
        return 0;
    }
};

TEST_F(ClosedNodeTest, ConnectionsThatBeginGoElsewhereBeforeTheTableFollows) {
    close(kThere, CV_NODE_CLOSED);
    std::uint32_t elsewhere = 0;
    for (std::uint16_t port = 40000; port < 40064; ++port) {
        const auto node = node_of(send(segment(port).syn()));
        EXPECT_NE(node, kThere);
        elsewhere += node == kElsewhere ? 1 : 0;
    }
    // one in 2^CV_BACKEND_TRIES finds no open node and is told so
    EXPECT_GT(elsewhere, 48u);
}

TEST_F(ClosedNodeTest, NoBackendIsLeftWhenAllNodesAreClosed) {
    close(kThere, CV_NODE_CLOSED);
    close(kElsewhere, CV_NODE_CLOSED);
    send(segment(kClientPort).syn());
    EXPECT_EQ(world().moved(), (Moved{{"RESET_SENT", 1}, {"drop.NO_BACKEND", 1}}));
}

TEST_F(ClosedNodeTest, ARepeatedSynOfALostConnectionChoosesAnew) {
    std::uint16_t port = 41000;
    while (node_of(send(segment(port).syn())) != kThere) {
        ++port;
    }
    close(kThere, CV_NODE_CLOSED);
    std::uint16_t same = port;
    const auto again = node_of(send(segment(same).syn()));
    EXPECT_NE(again, kThere);
    world().pool(kPool, {kSecondBackend});
    EXPECT_EQ(node_of(send(segment(same).syn())), kElsewhere);
}

TEST_F(ClosedNodeTest, EstablishedConnectionsStayUntilTheNodeIsGone) {
    std::uint16_t port = 42000;
    while (node_of(send(segment(port).syn())) != kThere) {
        ++port;
    }
    close(kThere, CV_NODE_CLOSED);
    EXPECT_EQ(node_of(send(segment(port))), kThere);
    close(kThere, CV_NODE_GONE);
    world().moved();
    const auto outcome = send(segment(port));
    EXPECT_EQ(world().moved(), (Moved{{"RESET_SENT", 1}, {"drop.NODE_LOST", 1}}));
    const auto expected =
        to(kConsumer).ipv4(ip("10.0.1.5"), ip("10.0.0.4")).ip_id(0).tcp(kPort, port).resets_ack();
    EXPECT_TRUE(outcome.out == expected.bytes()) << describe(outcome.out);
    close(kThere, CV_NODE_OPEN);
    EXPECT_EQ(node_of(send(segment(port))), kThere) << "and goes on when the node is back";
}

}  // namespace
}  // namespace culvert::packet
