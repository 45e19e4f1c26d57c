// SPDX-License-Identifier: Apache-2.0
// Private link from a workload: opening, both directions on one node, and the consumer's half
// across two.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

const auto kFrontend = ip("10.0.1.200");

void reuse_index(World& world, std::uint32_t index) {
    change_nic(world, index, [](cv_nic& nic) { nic.generation++; });
}

const std::vector<Row> kOneNode = {
    {.name = "consumer reaches the provider through the endpoint's address",
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 2},
    {.name = "the backend's answer comes from the endpoint's address",
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "data goes forward on the flow",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack())},
     .in = consumer_sends(request().payload(333)),
     .verdict = Verdict::Redirected,
     .out = asked().payload(333),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "data comes back on the flow",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack())},
     .in = backend_sends(answer().payload(1001)),
     .verdict = Verdict::Redirected,
     .out = answered().payload(1001),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "a SYN sent again uses the same NAT port",
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "the next connection takes the next NAT port",
     .before = {consumer_sends(request().syn())},
     .in =
         consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort + 1, kPort).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 4},
    {.name = "one client port to two endpoint ports that map to one backend port",
     .maps =
         [](World& world) {
             one_link(world);
             world.rule(kService, 444, kPool, kBackendPort);
         },
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, 444).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 4},
    {.name = "a workload that is no veth in another namespace still gets its packet",
     .meanwhile =
         [](World& world) {
             auto nic = world.nic(kBackend);
             nic.port_flags = 0;
             world.nic(kBackend, nic);
         },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
};

const std::vector<Row> kOverlaps = {
    {.name = "consumer and backend have the same address",
     .maps = [](World& world) { one_link(world, {.backend = "10.0.0.4"}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kClient).tcp(kNatPort, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "the answer of a backend with the consumer's address",
     .maps = [](World& world) { one_link(world, {.backend = "10.0.0.4"}); },
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(from(kBackend).ipv4(kClient, kNat).tcp(kBackendPort, kNatPort).syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "endpoint and NAT address are equal",
     .maps = [](World& world) { one_link(world, {.nat = "10.0.1.5"}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kEndpoint, kServer).tcp(kNatPort, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "the answer where endpoint and NAT address are equal",
     .maps = [](World& world) { one_link(world, {.nat = "10.0.1.5"}); },
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kEndpoint).tcp(kBackendPort, kNatPort).syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "consumer is backend and endpoint is NAT address, all at once",
     .maps = [](World& world) { one_link(world, {.backend = "10.0.0.4", .nat = "10.0.1.5"}); },
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(
         from(kBackend).ipv4(kClient, kEndpoint).tcp(kBackendPort, kNatPort).syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "an endpoint in the provider's own VNet",
     .maps = [](World& world) { one_link(world, {.consumer_vnet = kProviderVnet}); },
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "a backend consumes its own service",
     .maps = [](World& world) { one_link(world, {.consumer_vnet = kProviderVnet, .self = true}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kNat, kClient).tcp(kNatPort, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "a backend that consumes its own service gets its own answer",
     .maps = [](World& world) { one_link(world, {.consumer_vnet = kProviderVnet, .self = true}); },
     .before = {consumer_sends(request().syn())},
     .in =
         consumer_sends(from(kConsumer).ipv4(kClient, kNat).tcp(kBackendPort, kNatPort).syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "a NAT address that is the backend's own is passed over",
     .meanwhile =
         [](World& world) {
             world.service(kService, kProviderVnet, {kServer, kNat});
             world.cursor(2);
         },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(CV_NAT_PORT_MIN + 1, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
};

const std::vector<Row> kRefused = {
    {.name = "a pending connection carries nothing",
     .maps = [](World& world) { one_link(world, {.state = CV_LINK_REFUSED}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.LINK_REFUSED", 1}, {"RESET_SENT", 1}},
     .flows = 0},
    {.name = "a link that is not there carries nothing",
     .maps = [](World& world) { one_link(world, {.state = CV_LINK_NONE}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.LINK_UNKNOWN", 1}, {"RESET_SENT", 1}},
     .flows = 0},
    {.name = "a link id beyond the table is unknown",
     .meanwhile =
         [](World& world) {
             world.address(kConsumerVnet, kEndpoint, CV_ADDRESS_ENDPOINT, 0x7fffff);
         },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.LINK_UNKNOWN", 1}, {"RESET_SENT", 1}}},
    {.name = "a link of another VNet is unknown",
     .meanwhile =
         [](World& world) {
             change_link(world, [](cv_link& link) { link.consumer_vnet = kStrangerVnet; });
         },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.LINK_UNKNOWN", 1}, {"RESET_SENT", 1}}},
    {.name = "a link whose endpoint is another address is unknown",
     .meanwhile =
         [](World& world) {
             change_link(world, [](cv_link& link) { link.endpoint = ip("10.0.1.6"); });
         },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.LINK_UNKNOWN", 1}, {"RESET_SENT", 1}}},
    {.name = "a port without a rule is refused",
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, 22).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).tcp(22, kClientPort).resets(1),
     .moved = {{"drop.NO_RULE", 1}, {"RESET_SENT", 1}},
     .flows = 0},
    {.name = "IP options to an endpoint are dropped",
     .in = consumer_sends(request().syn().ip_options(4)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.IP_OPTIONS", 1}}},
    {.name = "a segment of no known connection is dropped",
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}},
     .flows = 0},
    {.name = "a SYN with ACK opens nothing",
     .in = consumer_sends(request().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}},
     .flows = 0},
    {.name = "a SYN with FIN opens nothing",
     .in = consumer_sends(request().tcp_flags(0x03)),
     .verdict = Verdict::Redirected,
     .out = answered().resets(2),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}},
     .flows = 0},
    {.name = "an empty pool has no backend",
     .meanwhile = [](World& world) { world.pool(kPool, {}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.NO_BACKEND", 1}, {"RESET_SENT", 1}}},
    {.name = "a pool that is not there has no backend",
     .meanwhile = [](World& world) { world.rule(kService, kPort, kPool + 1, kBackendPort); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.NO_BACKEND", 1}, {"RESET_SENT", 1}}},
    {.name = "a backend outside the provider's VNet is none",
     .meanwhile = [](World& world) { world.pool(kPool, {kNeighbour}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = answered().resets(1),
     .moved = {{"drop.NO_BACKEND", 1}, {"RESET_SENT", 1}}},
    {.name = "a service without NAT addresses is exhausted",
     .meanwhile = [](World& world) { world.service(kService, kProviderVnet, {}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NAT_EXHAUSTED", 1}},
     .flows = 0},
    {.name = "a frontend is not reached from inside its own network",
     .in = backend_sends(from(kBackend).ipv4(kServer, kFrontend).tcp(1, 443).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRONTEND_DIRECT", 1}}},
    {.name = "a NAT address is not reached without a connection",
     .in = backend_sends(answer().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().resets(1),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}}},
    {.name = "a backend opens nothing towards the consumer on its flow",
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(answer().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().resets(1),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}}},
    {.name = "another port of the NAT address answers no connection",
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kNat).tcp(kBackendPort, kNatPort + 1).syn_ack()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).resets_ack(),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}}},
    {.name = "another client address has another flow",
     .before = {consumer_sends(request().syn())},
     .in =
         neighbour_sends(from(kNeighbour).ipv4(ip("10.0.0.5"), kEndpoint).tcp(kClientPort, kPort)),
     .verdict = Verdict::Redirected,
     .out = to(kNeighbour).ipv4(kEndpoint, ip("10.0.0.5")).tcp(kPort, kClientPort).resets_ack(),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}}},
};

const std::vector<Row> kRevoked = {
    {.name = "rejecting stops the consumer's side of a flow",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack())},
     .meanwhile = reject,
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.LINK_REFUSED", 1}, {"RESET_SENT", 1}}},
    {.name = "rejecting stops the backend's side of a flow",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack())},
     .meanwhile = reject,
     .in = backend_sends(answer().payload(10)),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.LINK_REFUSED", 1}, {"RESET_SENT", 1}}},
    {.name = "a flow of an earlier approval is dead, and removed",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack())},
     .meanwhile = approve_anew,
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.LINK_STALE", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a backend's flow of an earlier approval is dead, and removed",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack())},
     .meanwhile = approve_anew,
     .in = backend_sends(answer().payload(10)),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.LINK_STALE", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a new SYN after a new approval opens anew",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack())},
     .meanwhile = approve_anew,
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2},
    {.name = "a flow does not outlive its backend's NIC",
     .before = {consumer_sends(request().syn())},
     .meanwhile = [](World& world) { reuse_index(world, kBackend); },
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a NIC does not inherit the flows of an earlier one",
     .before = {consumer_sends(request().syn())},
     .meanwhile = [](World& world) { reuse_index(world, kConsumer); },
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a backend's NIC does not inherit the answers of an earlier one",
     .before = {consumer_sends(request().syn())},
     .meanwhile = [](World& world) { reuse_index(world, kBackend); },
     .in = backend_sends(answer().payload(10)),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.NO_FLOW", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a SYN on a connection that both closed takes a new NAT port",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack()),
                consumer_sends(request().fin()), backend_sends(answer().fin())},
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2},
    {.name = "a SYN on a connection that the backend reset takes a new NAT port",
     .before = {consumer_sends(request().syn()), backend_sends(answer().rst())},
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kNatPort + 1, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2},
    {.name = "a SYN on a connection that one side closed keeps its NAT port",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack()),
                consumer_sends(request().fin())},
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "the last ACK of a closed connection still passes",
     .before = {consumer_sends(request().syn()), backend_sends(answer().syn_ack()),
                consumer_sends(request().fin()), backend_sends(answer().fin())},
     .in = consumer_sends(request()),
     .verdict = Verdict::Redirected,
     .out = asked(),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "a backend that left its node is not reached on an old flow",
     .before = {consumer_sends(request().syn())},
     .meanwhile =
         [](World& world) {
             auto nic = world.nic(kBackend);
             nic.ifindex = 0;
             nic.node = kThere;
             world.nic(kBackend, nic);
         },
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_HERE", 1}}},
    {.name = "a SYN follows the backend to its new node",
     .before = {consumer_sends(request().syn())},
     .meanwhile =
         [](World& world) {
             auto nic = world.nic(kBackend);
             nic.ifindex = 0;
             nic.node = kThere;
             world.nic(kBackend, nic);
         },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, CV_VNI_LINK | kLink, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
     .moved = {{"LINK_OUT", 1}, {"FLOW_CREATED", 1}, {"FLOW_REMOVED", 2}},
     .flows = 1},
};

Packet sent() {
    return wired(kThere, CV_VNI_LINK | kLink, kConsumer, kBackend)
        .ipv4(kClient, kEndpoint)
        .tcp(kClientPort, kPort);
}

const std::vector<Row> kToAnotherNode = {
    {.name = "a backend elsewhere gets the packet unchanged under the link's id",
     .maps = backend_there,
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = sent().syn(),
     .moved = {{"LINK_OUT", 1}, {"FLOW_CREATED", 1}},
     .flows = 1},
    {.name = "data follows on the flow",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(request().payload(1400)),
     .verdict = Verdict::Redirected,
     .out = sent().payload(1400),
     .moved = {{"LINK_OUT", 1}},
     .flows = 1},
    {.name = "a node without a backbone address is not reached",
     .maps =
         [](World& world) {
             backend_there(world);
             world.node(kThere, cv_node{});
         },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NODE_UNKNOWN", 1}, {"FLOW_CREATED", 1}}},
    {.name = "a backend that is nowhere attached has no node",
     .maps = [](World& world) { one_link(world, {.backend_node = 0}); },
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NODE_UNKNOWN", 1}},
     .flows = 0},
    {.name = "rejecting stops a flow to another node",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = reject,
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.LINK_REFUSED", 1}, {"RESET_SENT", 1}}},
    {.name = "a flow to another node of an earlier approval is dead",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile = approve_anew,
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.LINK_STALE", 1}, {"RESET_SENT", 1}, {"FLOW_REMOVED", 1}},
     .flows = 0},
    {.name = "a moved backend's NIC is followed in one map update",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .meanwhile =
         [](World& world) {
             auto nic = world.nic(kBackend);
             nic.node = kElsewhere;
             world.nic(kBackend, nic);
         },
     .in = consumer_sends(request().payload(10)),
     .verdict = Verdict::Redirected,
     .out = wired(kElsewhere, CV_VNI_LINK | kLink, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .payload(10),
     .moved = {{"LINK_OUT", 1}}},
};

CULVERT_PACKET_ROWS(OneNode, kOneNode);
CULVERT_PACKET_ROWS(Overlaps, kOverlaps);
CULVERT_PACKET_ROWS(Refused, kRefused);
CULVERT_PACKET_ROWS(Revoked, kRevoked);
CULVERT_PACKET_ROWS(ToAnotherNode, kToAnotherNode);

}  // namespace
}  // namespace culvert::packet
