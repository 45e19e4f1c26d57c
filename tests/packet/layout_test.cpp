// SPDX-License-Identifier: Apache-2.0
// Flows of another map layout beside our own: served where they are, never twice under one key, and
// ended by the sweep of their own layout.
#include "tests/packet/usual.hpp"

#include "bpf/datapath.skel.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace culvert::packet {
namespace {

using namespace std::chrono_literals;

void hand_over(World& world) { world.hand_over(); }

const std::vector<Row> kServed = {
    {.name = "a connection of the other layout goes forward",
     .before = handshake(),
     .meanwhile = hand_over,
     .in = consumer_sends(request().payload(333)),
     .verdict = Verdict::Redirected,
     .out = asked().payload(333),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 0,
     .other = true},
    {.name = "a connection of the other layout comes back",
     .before = handshake(),
     .meanwhile = hand_over,
     .in = backend_sends(answer().payload(1001)),
     .verdict = Verdict::Redirected,
     .out = answered().payload(1001),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 0,
     .other = true},
    {.name = "our own connection is found first",
     .before = handshake(),
     .in = consumer_sends(request().payload(333)),
     .verdict = Verdict::Redirected,
     .out = asked().payload(333),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2,
     .other = true},
    {.name = "a SYN sent again goes on in the other layout",
     .before = {consumer_sends(request().syn())},
     .meanwhile = hand_over,
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 0,
     .other = true},
    {.name = "a new connection is made in our own layout",
     .before = {consumer_sends(request(1).syn())},
     .meanwhile = hand_over,
     .in = consumer_sends(request(2).syn()),
     .verdict = Verdict::Redirected,
     .out = asked(kNatPort + 1).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 2,
     .other = true},
    {.name = "a NAT port that is taken in the other layout is not given again",
     .before = {consumer_sends(request(1).syn())},
     .meanwhile =
         [](World& world) {
             world.hand_over();
             world.cursor(1);  // the search begins where that port is
         },
     .in = consumer_sends(request(2).syn()),
     .verdict = Verdict::Redirected,
     .out = asked(kNatPort + 1).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 2,
     .other = true},
    {.name = "what comes by the backbone for a connection of the other layout",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = hand_over,
     .in = backbone_brings(arriving().payload(9)),
     .verdict = Verdict::Redirected,
     .out = asked().payload(9),
     .moved = {{"LINK_IN", 1}},
     .flows = 0,
     .other = true},
    {.name = "an answer by the backbone to a connection of the other layout",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = hand_over,
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_IN", 1}},
     .flows = 0,
     .other = true},
    {.name = "without another layout nobody looks for its flows",
     .before = handshake(),
     .meanwhile =
         [](World& world) {
             for (const auto& [key, flow] : world.flows()) {
                 bpf_map__delete_elem(world.skeleton().maps.cv_flows, &key, sizeof(key), 0);
             }
         },
     .in = consumer_sends(request().payload(1)),
     .verdict = Verdict::Redirected,  // the reset
     .out = answered().resets_ack(),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}},
     .flows = 0},
};

const std::vector<Row> kRefused = {
    {.name = "a refused link stops the other layout's connections, too",
     .before = handshake(),
     .meanwhile =
         [](World& world) {
             world.hand_over();
             reject(world);
         },
     .in = backend_sends(answer().rst()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_REFUSED", 1}},
     .other = true},
    {.name = "a connection of an earlier approval ends in the other layout",
     .before = handshake(),
     .meanwhile =
         [](World& world) {
             world.hand_over();
             approve_anew(world);
         },
     .in = backend_sends(answer().rst()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_STALE", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0,
     .other = true},
    {.name = "a connection opened anew leaves the other layout",
     .before = {consumer_sends(request().syn()), backend_sends(answer().rst())},
     .meanwhile = hand_over,
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked(kNatPort + 1).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2,
     .other = true},
    {.name = "a backend opens no connection on an entry of the other layout",
     .before = handshake(),
     .meanwhile = hand_over,
     .in = backend_sends(from(kBackend).ipv4(kServer, kNat).tcp(kBackendPort, kNatPort).syn()),
     .verdict = Verdict::Redirected,
     .out = asked().resets(1),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}},
     .other = true},
};

class BothClosed : public testing::Test {
  protected:
    static void send(World& world, const Send& what) {
        world.send(what.hook, what.ifindex, what.packet.bytes());
    }
    static void open(World& world) {
        for (const auto& each : handshake()) {
            send(world, each);
        }
    }
};

TEST_F(BothClosed, TellsTheSweepOfItsOwnLayoutToLookSoon) {
    devices();
    World world(256, {}, true);
    one_link(world);
    open(world);
    world.hand_over();
    ASSERT_EQ(world.other_slots().size(), 1u);
    const auto before = world.other_slots()[0].check_ns;
    send(world, consumer_sends(request().fin()));
    EXPECT_EQ(world.other_slots()[0].check_ns, before) << "one side alone";
    send(world, backend_sends(answer().fin()));
    EXPECT_LT(world.other_slots()[0].check_ns, before);
    for (const auto& [key, flow] : world.other_flows()) {
        EXPECT_NE(flow.flags & (CV_FLOW_FIN_FORWARD | CV_FLOW_FIN_REPLY), 0u);
    }
}

// The kernel's timer holds what it needs as long as somebody holds its map: a pin, or a descriptor
// as here.
TEST_F(BothClosed, EndsWhenNeitherProcessNorProgramIsLeft) {
    devices();
    int flows = -1;
    int sweep = -1;
    {
        World world(256, 1s);
        one_link(world);
        open(world);
        flows = fcntl(bpf_map__fd(world.skeleton().maps.cv_flows), F_DUPFD_CLOEXEC, 0);
        sweep = fcntl(bpf_map__fd(world.skeleton().maps.cv_sweep), F_DUPFD_CLOEXEC, 0);
        ASSERT_EQ(world.flows().size(), 2u);
        send(world, backend_sends(answer().rst()));
    }
    cv_flow_key key{};
    bool ended = false;
    for (auto until = std::chrono::steady_clock::now() + 20s;
         !ended && std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(20ms)) {
        ended = bpf_map_get_next_key(flows, nullptr, &key) != 0;
    }
    EXPECT_TRUE(ended);
    close(flows);
    close(sweep);
}

CULVERT_PACKET_ROWS(OtherLayoutServed, kServed);
CULVERT_PACKET_ROWS(OtherLayoutRefused, kRefused);

}  // namespace
}  // namespace culvert::packet
