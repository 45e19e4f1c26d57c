// SPDX-License-Identifier: Apache-2.0
// ICMP through a link: errors about what it carries, echoes to the endpoint, packets too big.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

constexpr std::size_t kQuoted = 28;  // no transport checksum among them

void pingable(World& world) {
    one_link(world);
    world.rule(kService, 0, kPool, 0, 0, 2, IPPROTO_ICMP);
}
// The four shapes of a connection's packets, as they are quoted.
Packet about_request() { return Packet().ipv4(kClient, kEndpoint).tcp(kClientPort, kPort); }
Packet about_asked() { return Packet().ipv4(kNat, kServer).tcp(kFirstNatPort, kBackendPort); }
Packet about_answer() { return Packet().ipv4(kServer, kNat).tcp(kBackendPort, kFirstNatPort); }
Packet about_answered() { return Packet().ipv4(kEndpoint, kClient).tcp(kPort, kClientPort); }

// Fragmentation needed, with an MTU of 1400.
Packet needed(Packet frame, const Packet& about) {
    return frame.icmp(3, 4, 1400).quote(about, kQuoted);
}
Packet consumer_reports() {
    return needed(from(kConsumer).ipv4(kClient, kEndpoint), about_answered());
}
Packet backend_reports() { return needed(from(kBackend).ipv4(kServer, kNat), about_asked()); }

const std::vector<Row> kErrors = {
    {.name = "a consumer's error reaches the backend as one about its own packet",
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(consumer_reports()),
     .verdict = Verdict::Redirected,
     .out = needed(to(kBackend).ipv4(kNat, kServer), about_answer()),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "a backend's error reaches the consumer as one about its own packet",
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(backend_reports()),
     .verdict = Verdict::Redirected,
     .out = needed(to(kConsumer).ipv4(kEndpoint, kClient), about_request()),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "a consumer's error goes to the backend's node unchanged",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(consumer_reports()),
     .verdict = Verdict::Redirected,
     .out = needed(wired(kThere, kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint),
                   about_answered()),
     .moved = {{"LINK_OUT", 1}}},
    {.name = "and is rewritten there",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .in = backbone_brings(
         needed(tunnel(kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint), about_answered())),
     .verdict = Verdict::Redirected,
     .out = needed(to(kBackend).ipv4(kNat, kServer), about_answer()),
     .moved = {{"LINK_IN", 1}}},
    {.name = "a backend's error is rewritten before it leaves",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .in = backend_sends(backend_reports()),
     .verdict = Verdict::Redirected,
     .out = needed(wired(kThere, kLinkVni, kBackend, kConsumer).ipv4(kEndpoint, kClient),
                   about_request()),
     .moved = {{"LINK_OUT", 1}}},
    {.name = "and handed over at the consumer's node",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .in = backbone_brings(
         needed(tunnel(kLinkVni, kBackend, kConsumer).ipv4(kEndpoint, kClient), about_request())),
     .verdict = Verdict::Redirected,
     .out = needed(to(kConsumer).ipv4(kEndpoint, kClient), about_request()),
     .moved = {{"LINK_IN", 1}}},
    {.name = "an error about no connection is dropped",
     .in = consumer_sends(consumer_reports()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_FLOW", 1}},
     .flows = 0},
    {.name = "an error about a packet between others is forged",
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(needed(from(kConsumer).ipv4(kClient, kEndpoint),
                                 Packet().ipv4(kEndpoint, kPeer).tcp(kPort, kClientPort))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an error that quotes too little is malformed",
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, kEndpoint).icmp(3, 4, 1400).quote(about_answered(), 27)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "an error about an error is not carried",
     .in = consumer_sends(from(kConsumer)
                              .ipv4(kClient, kEndpoint)
                              .icmp(3, 3)
                              .quote(Packet().ipv4(kEndpoint, kClient).icmp(3, 3), 28)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.PROTOCOL", 1}}},
    {.name = "a redirect is not carried",
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, kEndpoint).icmp(5, 1).quote(about_answered(), kQuoted)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.PROTOCOL", 1}}},
    {.name = "an error of a revoked link is refused",
     .before = {consumer_sends(request().syn())},
     .meanwhile = reject,
     .in = consumer_sends(consumer_reports()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_REFUSED", 1}}},
};

Packet ping() { return from(kConsumer).ipv4(kClient, kEndpoint).ping(1).payload(56); }
Packet unreachable(std::uint8_t code, std::uint32_t rest = 0) {
    return to(kConsumer).ipv4(kEndpoint, kClient).fragment(0).ip_id(0).icmp(3, code, rest);
}
Packet pinged() { return Packet().ipv4(kClient, kEndpoint).ping(1).payload(56); }

const std::vector<Row> kEchoes = {
    {.name = "an echo to an endpoint with a backend is answered",
     .maps = pingable,
     .in = consumer_sends(ping().ttl(3)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).pong(1).payload(56),
     .moved = {{"PING_ANSWERED", 1}},
     .flows = 0},
    {.name = "an echo of an odd length, too",
     .maps = pingable,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).ping(9).payload(7)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).pong(9).payload(7),
     .moved = {{"PING_ANSWERED", 1}}},
    {.name = "an echo to an endpoint without backend learns so",
     .maps =
         [](World& world) {
             pingable(world);
             world.pool(kPool, {});
         },
     .in = consumer_sends(ping()),
     .verdict = Verdict::Redirected,
     .out = unreachable(1).quote(pinged(), kQuoted),
     .moved = {{"drop.PING", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "a second pool answers for an empty first one",
     .maps =
         [](World& world) {
             pingable(world);
             world.pool(kPool, {});
             world.pool(kPool + 1, {kBackend});
             world.rule(kService, 1, kPool + 1, 0, 0, 2, IPPROTO_ICMP);
         },
     .in = consumer_sends(ping()),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv4(kEndpoint, kClient).pong(1).payload(56),
     .moved = {{"PING_ANSWERED", 1}}},
    {.name = "a backend on a lost node answers no echo",
     .maps =
         [](World& world) {
             one_link(world, {.backend_node = kThere});
             world.rule(kService, 0, kPool, 0, 0, 2, IPPROTO_ICMP);
             auto node = world.node(kThere);
             node.state = CV_NODE_GONE;
             world.node(kThere, node);
         },
     .in = consumer_sends(ping()),
     .verdict = Verdict::Redirected,
     .out = unreachable(1).quote(pinged(), kQuoted),
     .moved = {{"drop.PING", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "an echo through a revoked link is refused",
     .maps =
         [](World& world) {
             pingable(world);
             reject(world);
         },
     .in = consumer_sends(ping()),
     .verdict = Verdict::Redirected,
     .out = unreachable(13).quote(pinged(), kQuoted),
     .moved = {{"drop.LINK_REFUSED", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "an echo that another NIC claims to have sent is spoofed",
     .maps = pingable,
     .in = consumer_sends(from(kConsumer).ipv4(kPeer, kEndpoint).ping(1)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "an echo in the endpoint's place from the backbone is none",
     .maps = consumer_there,
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint).ping(1)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.PING", 1}}},
    {.name = "an answer that nobody asked for is not carried",
     .maps = pingable,
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).pong(1)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.PROTOCOL", 1}}},
};

constexpr std::uint32_t kMtu = 1450;  // what 1500 leaves for the packet

const std::vector<Row> kTooBig = {
    {.name = "a segment that the backbone cannot carry is told what fits",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(request().payload(1411)),
     .verdict = Verdict::Redirected,
     .out = unreachable(4, kMtu).quote(about_request().payload(1411), 40),
     .moved = {{"drop.TOO_BIG", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "one byte less goes through",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .in = consumer_sends(request().payload(1410)),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kLinkVni, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .payload(1410),
     .moved = {{"LINK_OUT", 1}}},
    {.name = "a super-packet whose pieces do not fit is told, too",
     .maps = backend_there,
     .before = {consumer_sends(request().syn())},
     .in = {Hook::Workload, devices().consumer, request().payload(3000), 1411},
     .verdict = Verdict::Redirected,
     .out = unreachable(4, kMtu).quote(about_request().payload(3000), 40),
     .moved = {{"drop.TOO_BIG", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "a backend's answer is quoted as the backend sent it",
     .maps = consumer_there,
     .before = {backbone_brings(arriving().syn())},
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kNat).tcp(kBackendPort, kFirstNatPort).payload(1500)),
     .verdict = Verdict::Redirected,
     .out = to(kBackend)
                .ipv4(kNat, kServer)
                .fragment(0)
                .ip_id(0)
                .icmp(3, 4, kMtu)
                .quote(about_answer().payload(1500), 40),
     .moved = {{"drop.TOO_BIG", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "inside a network, too",
     .maps = [](World& world) { one_link(world, {.neighbour_node = kThere}); },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).udp(1, 2).payload(1423)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer)
                .ipv4(kPeer, kClient)
                .fragment(0)
                .ip_id(0)
                .icmp(3, 4, kMtu)
                .quote(Packet().ipv4(kClient, kPeer).udp(1, 2).payload(1423), 28),
     .moved = {{"drop.TOO_BIG", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "an ICMP error that is too big is dropped silently",
     .maps = [](World& world) { one_link(world, {.neighbour_node = kThere}); },
     .in = consumer_sends(from(kConsumer).ipv4(kClient, kPeer).icmp(3, 3).payload(1500)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.TOO_BIG", 1}}},
};

CULVERT_PACKET_ROWS(IcmpErrors, kErrors);
CULVERT_PACKET_ROWS(IcmpEchoes, kEchoes);
CULVERT_PACKET_ROWS(IcmpTooBig, kTooBig);

}  // namespace
}  // namespace culvert::packet
