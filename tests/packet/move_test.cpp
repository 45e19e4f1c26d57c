// SPDX-License-Identifier: Apache-2.0
// A NIC moves to another node: whose packets are taken meanwhile, and where stragglers go.
#include "tests/packet/row.hpp"

#include <limits>

namespace culvert::packet {
namespace {

const auto kClient = ip("10.0.0.4"), kServer = ip("10.0.0.7"), kEndpoint = ip("10.0.1.5"),
           kNat = ip("10.0.1.9"), kPeer = ip("10.0.0.5");
constexpr auto kLinkVni = CV_VNI_LINK | kLink;
constexpr std::uint32_t kForever = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t kOver = 1;  // a second of CLOCK_MONOTONIC long ago

Packet framed(std::uint32_t outer_source, std::uint32_t source, std::uint32_t target) {
    return wire(outer_source, kHere, kLinkVni, source, target);
}
Packet request(std::uint32_t outer_source) {
    return framed(outer_source, kConsumer, kBackend)
        .ipv4(kClient, kEndpoint)
        .tcp(kClientPort, kPort);
}
Packet reply(std::uint32_t outer_source) {
    return framed(outer_source, kBackend, kConsumer)
        .ipv4(kEndpoint, kClient)
        .tcp(kPort, kClientPort);
}
Packet asked() { return to(kBackend).ipv4(kNat, kServer).tcp(kFirstNatPort, kBackendPort); }
Packet replied() { return to(kConsumer).ipv4(kEndpoint, kClient).tcp(kPort, kClientPort); }
Packet passed_on(std::uint32_t source, std::uint32_t target) {
    return wire(kHere, kElsewhere, kLinkVni, source, target).vxlan_reserved(CV_VXLAN_PASSED_ON);
}

void consumer_there(World& world) { one_link(world, {.consumer_node = kThere}); }
void backend_there(World& world) { one_link(world, {.backend_node = kThere}); }

// The NIC has left this node for kElsewhere.
std::function<void(World&)> left(std::uint32_t nic, std::uint32_t until_s = kForever) {
    return [=](World& world) {
        change_nic(world, nic, [&](cv_nic& value) {
            value.node = kElsewhere;
            value.ifindex = 0;
            value.other = kHere;
            value.until_s = until_s;
        });
    };
}
// The NIC is where it was, with another node that its packets may come from.
std::function<void(World&)> other(std::uint32_t nic, std::uint32_t node,
                                  std::uint32_t until_s = kForever) {
    return [=](World& world) {
        change_nic(world, nic, [&](cv_nic& value) {
            value.other = node;
            value.until_s = until_s;
        });
    };
}

Send opened() { return backbone_brings(request(kThere).syn()); }

const std::vector<Row> kStragglers = {
    {.name = "a straggler is passed on to where its target is now",
     .maps = consumer_there,
     .before = {opened()},
     .meanwhile = left(kBackend),
     .in = backbone_brings(request(kThere).payload(100)),
     .verdict = Verdict::Redirected,
     .out = passed_on(kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .payload(100),
     .moved = {{"MOVED_ON", 1}}},
    {.name = "a straggler that was passed on already goes no further",
     .maps = consumer_there,
     .meanwhile = left(kBackend),
     .in = backbone_brings(framed(kThere, kConsumer, kBackend)
                               .vxlan_reserved(CV_VXLAN_PASSED_ON)
                               .ipv4(kClient, kEndpoint)
                               .tcp(kClientPort, kPort)
                               .payload(100)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MOVED_TWICE", 1}}},
    {.name = "after its time nothing is passed on",
     .maps = consumer_there,
     .meanwhile = left(kBackend, kOver),
     .in = backbone_brings(request(kThere).payload(100)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_HERE", 1}}},
    {.name = "for a NIC that never was here nothing is passed on",
     .maps =
         [](World& world) {
             consumer_there(world);
             left(kBackend)(world);
             change_nic(world, kBackend, [](cv_nic& nic) { nic.other = kThere; });
         },
     .in = backbone_brings(request(kThere).payload(100)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_HERE", 1}}},
    {.name = "what a stranger's node sends is not passed on",
     .maps = consumer_there,
     .meanwhile = left(kBackend),
     .in = backbone_brings(request(kElsewhere).payload(100)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
    {.name = "a refused link's straggler is not passed on",
     .maps = consumer_there,
     .meanwhile =
         [](World& world) {
             left(kBackend)(world);
             reject(world);
         },
     .in = backbone_brings(request(kThere).payload(100)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_REFUSED", 1}}},
    {.name = "a straggler inside a network is passed on",
     .maps = [](World& world) { one_link(world, {.neighbour_node = kThere}); },
     .meanwhile = left(kConsumer),
     .in = backbone_brings(wire(kThere, kHere, kConsumerVnet, kNeighbour, kConsumer)
                               .ipv4(kPeer, kClient)
                               .udp(1, 2)
                               .payload(20)),
     .verdict = Verdict::Redirected,
     .out = wire(kHere, kElsewhere, kConsumerVnet, kNeighbour, kConsumer)
                .vxlan_reserved(CV_VXLAN_PASSED_ON)
                .ipv4(kPeer, kClient)
                .udp(1, 2)
                .payload(20),
     .moved = {{"MOVED_ON", 1}}},
    {.name = "a workload's packet to what has left goes straight there",
     .maps = [](World& world) { one_link(world); },
     .meanwhile = left(kNeighbour),
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2).payload(20)),
     .verdict = Verdict::Redirected,
     .out = wired(kElsewhere, kConsumerVnet, kConsumer, kNeighbour)
                .ipv4(kClient, kPeer)
                .udp(1, 2)
                .payload(20),
     .moved = {{"VNET_OUT", 1}}},
};

const std::vector<Row> kOtherNode = {
    {.name = "a NIC that moves may answer from its other node",
     .maps = backend_there,
     .before = {consumer_sends(
         from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, kPort).syn())},
     .meanwhile = other(kBackend, kElsewhere),
     .in = backbone_brings(reply(kElsewhere).syn_ack()),
     .verdict = Verdict::Redirected,
     .out = replied().syn_ack(),
     .moved = {{"LINK_IN", 1}, {"MOVED_IN", 1}}},
    {.name = "after its time the other node counts no more",
     .maps = backend_there,
     .before = {consumer_sends(
         from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, kPort).syn())},
     .meanwhile = other(kBackend, kElsewhere, kOver),
     .in = backbone_brings(reply(kElsewhere).syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
    {.name = "a NIC that moves may open connections from its other node",
     .maps = consumer_there,
     .meanwhile = other(kConsumer, kElsewhere),
     .in = backbone_brings(request(kElsewhere).syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_IN", 1}, {"MOVED_IN", 1}, {"FLOW_CREATED", 2}}},
    {.name = "the node that the target has left passes on what belongs to a flow",
     .maps = consumer_there,
     .before = {opened()},
     .meanwhile = other(kBackend, kElsewhere),
     .in = backbone_brings(request(kElsewhere).payload(50)),
     .verdict = Verdict::Redirected,
     .out = asked().payload(50),
     .moved = {{"LINK_IN", 1}, {"MOVED_IN", 1}}},
    {.name = "the node that the target has left opens no connection in another's name",
     .maps = consumer_there,
     .meanwhile = other(kBackend, kElsewhere),
     .in = backbone_brings(request(kElsewhere).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"MOVED_IN", 1}, {"drop.MOVED_OPENING", 1}},
     .flows = 0},
    {.name = "a flow that the node the target has left makes up is not known",
     .maps = consumer_there,
     .before = {opened()},
     .meanwhile = other(kBackend, kElsewhere),
     .in = backbone_brings(framed(kElsewhere, kConsumer, kBackend)
                               .ipv4(kClient, kEndpoint)
                               .tcp(kClientPort + 1, kPort)
                               .payload(50)),
     .verdict = Verdict::Dropped,
     .moved = {{"MOVED_IN", 1}, {"drop.NO_FLOW", 1}}},
    {.name = "after its time the node that the target has left is a stranger",
     .maps = consumer_there,
     .before = {opened()},
     .meanwhile = other(kBackend, kElsewhere, kOver),
     .in = backbone_brings(request(kElsewhere).payload(50)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
    {.name = "the other node of one NIC says nothing for another",
     .maps = consumer_there,
     .meanwhile = other(kSecondBackend, kElsewhere),
     .in = backbone_brings(request(kElsewhere).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
};

CULVERT_PACKET_ROWS(Stragglers, kStragglers);
CULVERT_PACKET_ROWS(OtherNode, kOtherNode);

}  // namespace
}  // namespace culvert::packet
