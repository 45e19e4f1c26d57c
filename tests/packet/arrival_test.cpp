// SPDX-License-Identifier: Apache-2.0
// Private link from the backbone: both halves across two nodes, and every crafted field.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

// The consumer's node, after its consumer has opened a connection.
Send opened() { return consumer_sends(request().syn()); }
const std::vector<Row> kForward = {
    {.name = "a consumer elsewhere reaches the backend here",
     .maps = consumer_there,
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}},
     .flows = 2},
    {.name = "data of a consumer elsewhere follows on the flow",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .in = backbone_brings(arriving().payload(777)),
     .verdict = Verdict::Redirected,
     .out = asked().payload(777),
     .moved = {{"LINK_IN", 1}},
     .flows = 2},
    {.name = "the backend's answer is restored and sent to the consumer's node",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .in = backend_sends(answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = Packet()
                .eth(mac(kBackend), mac(kRouter))
                .ipv4(node_address(kHere), node_address(kThere))
                .ip_id(0)
                .udp(kAnyPort, kVxlanPort)
                .no_checksum()
                .vxlan(kLinkVni)
                .eth(mac(kBackend), mac(kConsumer))
                .ipv4(kEndpoint, kClient)
                .tcp(kPort, kClientPort)
                .syn_ack(),
     .moved = {{"LINK_OUT", 1}},
     .flows = 2},
    {.name = "consumer elsewhere and backend here have the same address",
     .maps =
         [](World& world) {
             one_link(world, {.backend = "10.0.0.4", .nat = "10.0.1.5", .consumer_node = kThere});
         },
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kEndpoint, kClient).tcp(kNatPort, kBackendPort).syn(),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}}},
    {.name = "two consumers with one address and port at the same time, by two links",
     .maps =
         [](World& world) {
             consumer_there(world);
             auto link = world.link(kLink);
             link.consumer_vnet = kStrangerVnet;
             world.link(kLink + 1, link);
             change_nic(world, kStranger, [](cv_nic& nic) { nic.address = ip("10.0.0.4"); });
         },
     .before = {backbone_brings(arriving().syn())},
     .in = backbone_brings(tunnel(CV_VNI_LINK | (kLink + 1), kStranger, kBackend)
                               .ipv4(kClient, kEndpoint)
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}},
     .flows = 4},
    {.name = "a SYN for another backend of this node moves the flow",
     .maps =
         [](World& world) {
             consumer_there(world);
             world.pool(kPool, {kBackend, kSecondBackend});
         },
     .before = {backbone_brings(arriving().syn())},
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kSecondBackend)
                               .ipv4(kClient, kEndpoint)
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Redirected,
     .out = to(kSecondBackend).ipv4(kNat, ip("10.0.0.8")).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2},
    {.name = "a backend that left the pool keeps its connections",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = [](World& world) { world.remove_member(kPool, kBackend); },
     .in = backbone_brings(arriving().payload(5)),
     .verdict = Verdict::Redirected,
     .out = asked().payload(5),
     .moved = {{"LINK_IN", 1}}},
    {.name = "a SYN on a connection that both closed takes a new NAT port here",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn()), backend_sends(answer().syn_ack()),
                backbone_brings(arriving().fin()), backend_sends(answer().fin())},
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2},
};

Row crafted(std::string name, const Packet& packet, const std::string& reason) {
    return {.name = std::move(name),
            .maps = consumer_there,
            .before = {backbone_brings(arriving().syn())},
            .in = backbone_brings(packet),
            .verdict = Verdict::Dropped,
            .moved = {{"drop." + reason, 1}},
            .flows = 2};
}

const std::vector<Row> kCraftedForward = {
    crafted("a link id that is not here",
            tunnel(CV_VNI_LINK | 11, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
            "LINK_UNKNOWN"),
    crafted("a link id beyond the table",
            tunnel(0xffffff, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
            "LINK_UNKNOWN"),
    crafted("a sender of another VNet",
            tunnel(kLinkVni, kStranger, kBackend)
                .ipv4(ip("10.0.0.6"), kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
            "NIC_NOT_IN_VNET"),
    crafted("a sender that is no NIC",
            tunnel(kLinkVni, 33, kBackend).ipv4(kClient, kEndpoint).tcp(kClientPort, kPort),
            "NIC_NOT_IN_VNET"),
    crafted("an outer source that is not the sender's node",
            wire(kElsewhere, kHere, kLinkVni, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort),
            "OUTER_SOURCE"),
    crafted("an outer source that is this node's own",
            wire(kHere, kHere, kLinkVni, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort),
            "OUTER_SOURCE"),
    crafted("a target of another VNet",
            tunnel(kLinkVni, kConsumer, kNeighbour)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
            "NIC_NOT_IN_VNET"),
    crafted("a target outside the pool",
            tunnel(kLinkVni, kConsumer, kSecondBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort + 1, kPort)
                .syn(),
            "NIC_NOT_IN_POOL"),
    crafted("an established flow's segment named to another NIC",
            tunnel(kLinkVni, kConsumer, kSecondBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort),
            "NO_FLOW"),
    crafted("an inner source that is not the sender's",
            tunnel(kLinkVni, kConsumer, kBackend)
                .ipv4(kNobody, kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
            "INNER_ADDRESS"),
    crafted(
        "a port without a rule",
        tunnel(kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint).tcp(kClientPort, 22).syn(),
        "NO_RULE"),
    crafted(
        "a segment of no connection",
        tunnel(kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint).tcp(kClientPort + 1, kPort),
        "NO_FLOW"),
    crafted("the backend's true address instead of the endpoint's",
            tunnel(kLinkVni, kConsumer, kBackend)
                .ipv4(kClient, kServer)
                .tcp(kClientPort, kBackendPort)
                .syn(),
            "NIC_NOT_IN_VNET"),
};

const std::vector<Row> kForwardRevoked = {
    {.name = "a rejected link stops at the backend's node, too",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = reject,
     .in = backbone_brings(arriving().payload(5)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_REFUSED", 1}}},
    {.name = "a rejected link stops the backend's answers to another node",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = reject,
     .in = backend_sends(answer().payload(5)),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.LINK_REFUSED", 1}, {"RESET_SENT", 1}}},
    {.name = "a flow of an earlier approval is dead at the backend's node",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile = approve_anew,
     .in = backbone_brings(arriving().payload(5)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_STALE", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a backend that left its node is not here",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile =
         [](World& world) {
             change_nic(world, kBackend, [](cv_nic& nic) {
                 nic.node = kElsewhere;
                 nic.ifindex = 0;
             });
         },
     .in = backbone_brings(arriving().payload(5)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_HERE", 1}}},
    {.name = "a consumer's NIC does not inherit flows at the backend's node",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .meanwhile =
         [](World& world) { change_nic(world, kConsumer, [](cv_nic& nic) { nic.generation++; }); },
     .in = backbone_brings(arriving().payload(5)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a consumer elsewhere finds no free NAT port",
     .maps =
         [](World& world) {
             consumer_there(world);
             world.service(kService, kProviderVnet, {});
         },
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NAT_EXHAUSTED", 1}},
     .flows = 0},
};

const std::vector<Row> kReply = {
    {.name = "the answer of a backend elsewhere reaches the consumer unchanged",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_IN", 1}},
     .flows = 1},
    {.name = "data of a backend elsewhere reaches the consumer",
     .maps = backend_there,
     .before = {opened(), backbone_brings(returning().syn_ack())},
     .in = backbone_brings(returning().payload(1234)),
     .verdict = Verdict::Redirected,
     .out = answered().payload(1234),
     .moved = {{"LINK_IN", 1}}},
    {.name = "a backend elsewhere with the consumer's address answers",
     .maps =
         [](World& world) {
             one_link(world, {.backend = "10.0.0.4", .nat = "10.0.1.5", .backend_node = kThere});
         },
     .before = {opened()},
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_IN", 1}}},
    {.name = "an answer without a connection is dropped",
     .maps = backend_there,
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}}},
    {.name = "a backend elsewhere opens nothing",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(returning().syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}}},
    {.name = "an answer from the backbone to a connection whose backend is here is dropped",
     .maps =
         [](World& world) {
             one_link(world);
             change_nic(world, kSecondBackend, [](cv_nic& nic) {
                 nic.node = kThere;
                 nic.ifindex = 0;
             });
         },
     .before = {opened()},
     .in = backbone_brings(tunnel(kLinkVni, kSecondBackend, kConsumer)
                               .ipv4(kEndpoint, kClient)
                               .tcp(kPort, kClientPort)
                               .rst()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}},
     .flows = 2},
    {.name = "an answer of another backend than the flow's is dropped",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(tunnel(kLinkVni, kSecondBackend, kConsumer)
                               .ipv4(kEndpoint, kClient)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}}},
    {.name = "an answer under another link of the same endpoint's VNets is dropped",
     .maps =
         [](World& world) {
             backend_there(world);
             world.link(kLink + 1, world.link(kLink));
         },
     .before = {opened()},
     .in = backbone_brings(tunnel(CV_VNI_LINK | (kLink + 1), kBackend, kConsumer)
                               .ipv4(kEndpoint, kClient)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}}},
    {.name = "an answer from another node than the backend's is dropped",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(wire(kElsewhere, kHere, kLinkVni, kBackend, kConsumer)
                               .ipv4(kEndpoint, kClient)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.OUTER_SOURCE", 1}}},
    {.name = "an answer that is not from the endpoint's address is dropped",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(tunnel(kLinkVni, kBackend, kConsumer)
                               .ipv4(kServer, kClient)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an answer to an address that is not the consumer's is dropped",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(tunnel(kLinkVni, kBackend, kConsumer)
                               .ipv4(kEndpoint, kPeer)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an answer named to another NIC of the VNet is dropped",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(tunnel(kLinkVni, kBackend, kNeighbour)
                               .ipv4(kEndpoint, kClient)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an answer by a NIC outside the provider's VNet is dropped",
     .maps = backend_there,
     .before = {opened()},
     .in = backbone_brings(tunnel(kLinkVni, kStranger, kConsumer)
                               .ipv4(kEndpoint, kClient)
                               .tcp(kPort, kClientPort)
                               .syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_VNET", 1}}},
    {.name = "a rejected link stops answers at the consumer's node",
     .maps = backend_there,
     .before = {opened()},
     .meanwhile = reject,
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_REFUSED", 1}}},
    {.name = "an answer to a flow of an earlier approval is dropped, the flow removed",
     .maps = backend_there,
     .before = {opened()},
     .meanwhile = approve_anew,
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_STALE", 1}, {"FLOW_REMOVED", 1}},
     .flows = 0},
    {.name = "an answer of a NIC that took over the backend's index is dropped",
     .maps = backend_there,
     .before = {opened()},
     .meanwhile =
         [](World& world) { change_nic(world, kBackend, [](cv_nic& nic) { nic.generation++; }); },
     .in = backbone_brings(returning().syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}, {"FLOW_REMOVED", 1}},
     .flows = 0},
    {.name = "a connection of a backend elsewhere that was reset opens anew",
     .maps = backend_there,
     .before = {opened(), backbone_brings(returning().rst())},
     .in = opened(),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kLinkVni, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
     .moved = {{"LINK_OUT", 1}, {"FLOW_CREATED", 1}, {"FLOW_REMOVED", 1}},
     .flows = 1},
};

CULVERT_PACKET_ROWS(ForwardFromBackbone, kForward);
CULVERT_PACKET_ROWS(CraftedForward, kCraftedForward);
CULVERT_PACKET_ROWS(ForwardRevoked, kForwardRevoked);
CULVERT_PACKET_ROWS(ReplyFromBackbone, kReply);

}  // namespace
}  // namespace culvert::packet
