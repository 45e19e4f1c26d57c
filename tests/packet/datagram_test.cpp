// SPDX-License-Identifier: Apache-2.0
// UDP through a link: flows without a handshake.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

void serve(World& world, const Scene& scene = {}) {
    one_link(world, scene);
    world.rule(kService, kPort, kPool, kBackendPort, 300, 5, IPPROTO_UDP);
}
void serve_here(World& world) { serve(world, {}); }
void serve_backend_there(World& world) { serve(world, {.backend_node = kThere}); }
void serve_consumer_there(World& world) { serve(world, {.consumer_node = kThere}); }

Packet query() { return from(kConsumer).ipv4(kClient, kEndpoint).udp(kClientPort, kPort); }
Packet reply() { return from(kBackend).ipv4(kServer, kNat).udp(kBackendPort, kFirstNatPort); }
Packet query_arrives() {
    return tunnel(kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint).udp(kClientPort, kPort);
}
Packet reply_arrives() {
    return tunnel(kLinkVni, kBackend, kConsumer).ipv4(kEndpoint, kClient).udp(kPort, kClientPort);
}
// What the data plane answers to a packet that a workload sent: an ICMP error that quotes it.
Packet told(std::uint32_t nic, std::uint8_t code, std::uint32_t source, std::uint32_t destination,
            const Packet& about) {
    return to(nic).ipv4(destination, source).fragment(0).ip_id(0).icmp(3, code).quote(about, 28);
}
Packet query_served() { return to(kBackend).ipv4(kNat, kServer).udp(kFirstNatPort, kBackendPort); }

void lose(World& world) {
    auto node = world.node(kThere);
    node.state = CV_NODE_GONE;
    world.node(kThere, node);
}

const std::vector<Row> kCarried = {
    {.name = "the first datagram opens a flow on one node",
     .maps = serve_here,
     .in = consumer_sends(query().payload(33)),
     .verdict = Verdict::Redirected,
     .out = query_served().payload(33),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 2},
    {.name = "the answer comes from the endpoint",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .in = backend_sends(reply().payload(20)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).udp(kPort, kClientPort).payload(20),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "a datagram without checksum stays without",
     .maps = serve_here,
     .in = consumer_sends(query().no_checksum().payload(9)),
     .verdict = Verdict::Redirected,
     .out = query_served().no_checksum().payload(9),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "an empty datagram is carried",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .in = consumer_sends(query()),
     .verdict = Verdict::Redirected,
     .out = query_served(),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "another source port is another flow",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).udp(1, kPort)),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).udp(kFirstNatPort + 1, kBackendPort),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 4},
    {.name = "TCP and UDP have NAT ports of their own",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .meanwhile = [](World& world) { world.cursor(1); },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).tcp(kClientPort, kPort).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).tcp(kFirstNatPort, kBackendPort).syn(),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}},
     .flows = 4},
    {.name = "to a backend elsewhere it goes unchanged",
     .maps = serve_backend_there,
     .in = consumer_sends(query().payload(5)),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kLinkVni, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .udp(kClientPort, kPort)
                .payload(5),
     .moved = {{"LINK_OUT", 1}, {"FLOW_CREATED", 1}},
     .flows = 1},
    {.name = "from a consumer elsewhere it is rewritten",
     .maps = serve_consumer_there,
     .in = backbone_brings(query_arrives().payload(5)),
     .verdict = Verdict::Redirected,
     .out = query_served().payload(5),
     .moved = {{"LINK_IN", 1}, {"FLOW_CREATED", 2}},
     .flows = 2},
    {.name = "its answer is restored before it leaves",
     .maps = serve_consumer_there,
     .before = {backbone_brings(query_arrives())},
     .in = backend_sends(reply().payload(7)),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kLinkVni, kBackend, kConsumer)
                .ipv4(kEndpoint, kClient)
                .udp(kPort, kClientPort)
                .payload(7),
     .moved = {{"LINK_OUT", 1}},
     .flows = 2},
    {.name = "an answer from elsewhere is handed over",
     .maps = serve_backend_there,
     .before = {consumer_sends(query())},
     .in = backbone_brings(reply_arrives().payload(7)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).udp(kPort, kClientPort).payload(7),
     .moved = {{"LINK_IN", 1}},
     .flows = 1},
    {.name = "after a new approval a datagram opens anew",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .meanwhile = approve_anew,
     .in = consumer_sends(query()),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv4(kNat, kServer).udp(kFirstNatPort + 1, kBackendPort),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}, {"FLOW_REMOVED", 2}},
     .flows = 2},
    {.name = "a datagram to a lost node goes to another backend",
     .maps = serve_backend_there,
     .before = {consumer_sends(query())},
     .meanwhile =
         [](World& world) {
             lose(world);
             change_nic(world, kSecondBackend, [](cv_nic& nic) { nic.node = kElsewhere; });
             world.pool(kPool, {kSecondBackend});
         },
     .in = consumer_sends(query()),
     .verdict = Verdict::Redirected,
     .out = wired(kElsewhere, kLinkVni, kConsumer, kSecondBackend)
                .ipv4(kClient, kEndpoint)
                .udp(kClientPort, kPort),
     .moved = {{"LINK_OUT", 1}, {"FLOW_CREATED", 1}, {"FLOW_REMOVED", 1}},
     .flows = 1},
};

const std::vector<Row> kRefused = {
    {.name = "a port that only TCP has is unreachable",
     .in = consumer_sends(query().payload(3)),
     .verdict = Verdict::Redirected,
     .out = told(kConsumer, 3, kClient, kEndpoint,
                 Packet().ipv4(kClient, kEndpoint).udp(kClientPort, kPort).payload(3)),
     .moved = {{"drop.NO_RULE", 1}, {"UNREACHABLE_SENT", 1}},
     .flows = 0},
    {.name = "a revoked link refuses the next datagram of a flow",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .meanwhile = reject,
     .in = consumer_sends(query()),
     .verdict = Verdict::Redirected,
     .out = told(kConsumer, 13, kClient, kEndpoint,
                 Packet().ipv4(kClient, kEndpoint).udp(kClientPort, kPort)),
     .moved = {{"drop.LINK_REFUSED", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "a revoked link refuses the backend's answer",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .meanwhile = reject,
     .in = backend_sends(reply()),
     .verdict = Verdict::Redirected,
     .out = told(kBackend, 13, kServer, kNat,
                 Packet().ipv4(kServer, kNat).udp(kBackendPort, kFirstNatPort)),
     .moved = {{"drop.LINK_REFUSED", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "a backend opens nothing towards a consumer",
     .maps = serve_here,
     .in = backend_sends(reply()),
     .verdict = Verdict::Redirected,
     .out = told(kBackend, 3, kServer, kNat,
                 Packet().ipv4(kServer, kNat).udp(kBackendPort, kFirstNatPort)),
     .moved = {{"drop.NAT_DIRECT", 1}, {"UNREACHABLE_SENT", 1}},
     .flows = 0},
    {.name = "another backend does not answer on a flow",
     .maps = serve_here,
     .before = {consumer_sends(query())},
     .in = {Hook::Workload, devices().second,
            from(kSecondBackend).ipv4(ip("10.0.0.8"), kNat).udp(kBackendPort, kFirstNatPort)},
     .verdict = Verdict::Redirected,
     .out = told(kSecondBackend, 3, ip("10.0.0.8"), kNat,
                 Packet().ipv4(ip("10.0.0.8"), kNat).udp(kBackendPort, kFirstNatPort)),
     .moved = {{"drop.NAT_DIRECT", 1}, {"UNREACHABLE_SENT", 1}},
     .flows = 2},
    {.name = "from the backbone nothing reaches a consumer unasked",
     .maps = serve_backend_there,
     .in = backbone_brings(reply_arrives()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}},
     .flows = 0},
    {.name = "from the backbone nothing reaches a backend beside the pool",
     .maps = serve_consumer_there,
     .meanwhile = [](World& world) { world.remove_member(kPool, kBackend); },
     .in = backbone_brings(query_arrives()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NIC_NOT_IN_POOL", 1}},
     .flows = 0},
    {.name = "a header cut short is malformed",
     .maps = serve_here,
     .in =
         consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).protocol(IPPROTO_UDP).payload(7)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "a length below the header's is malformed",
     .maps = serve_here,
     .in = consumer_sends(from(kConsumer)
                              .ipv4(kClient, kEndpoint)
                              .protocol(IPPROTO_UDP)
                              .raw({0x9c, 0x40, 1, 0xbb, 0, 7, 0, 0})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "another protocol is refused",
     .maps = serve_here,
     .in =
         consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).protocol(IPPROTO_GRE).payload(12)),
     .verdict = Verdict::Redirected,
     .out = told(kConsumer, 2, kClient, kEndpoint,
                 Packet().ipv4(kClient, kEndpoint).protocol(IPPROTO_GRE).payload(12)),
     .moved = {{"drop.PROTOCOL", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "SCTP is refused by name",
     .maps = serve_here,
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, kEndpoint).protocol(IPPROTO_SCTP).payload(12)),
     .verdict = Verdict::Redirected,
     .out = told(kConsumer, 2, kClient, kEndpoint,
                 Packet().ipv4(kClient, kEndpoint).protocol(IPPROTO_SCTP).payload(12)),
     .moved = {{"drop.SCTP", 1}, {"UNREACHABLE_SENT", 1}}},
};

CULVERT_PACKET_ROWS(DatagramsCarried, kCarried);
CULVERT_PACKET_ROWS(DatagramsRefused, kRefused);

}  // namespace
}  // namespace culvert::packet
