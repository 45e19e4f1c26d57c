// SPDX-License-Identifier: Apache-2.0
// IPv6 of a workload to an endpoint: translated at its interface and nowhere else, and nothing but
// that gets in by it.
#include "tests/packet/usual_six.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

namespace culvert::packet {
namespace {

const Ipv6 kSixPeer = six("fd00:1::a00:5"), kSixFar = six("fd00:2::1"),
           kLinkLocal = six("fe80::cf:ff:fe00:1"), kSixRouter = six("fe80::1"),
           kAllNodes = six("ff02::1"), kSolicited = six("ff02::1:ff00:105"),
           kUnspecified = six("::");

void with_six(World& world, const Scene& scene) {
    one_link(world, scene);
    consumer_of_six(world);
}
void both_here(World& world) { with_six(world, {}); }
void backend_away(World& world) { with_six(world, {.backend_node = kThere}); }
void consumer_away(World& world) { one_link(world, {.consumer_node = kThere}); }
void with_udp(World& world) {
    both_here(world);
    world.rule(kService, kPort, kPool, kBackendPort, 300, 5, IPPROTO_UDP);
}
void with_ping(World& world) {
    both_here(world);
    world.rule(kService, 0, kPool, 0, 300, 2, IPPROTO_ICMP);
}

Packet six_datagram() {
    return from(kConsumer).ipv6(kSixClient, kSixEndpoint).udp(kClientPort, kPort);
}

Row refused(std::string name, const Packet& packet, const std::string& reason,
            std::function<void(World&)> maps = both_here) {
    return {.name = std::move(name),
            .maps = std::move(maps),
            .in = consumer_sends(packet),
            .verdict = Verdict::Dropped,
            .moved = {{"drop." + reason, 1}},
            .flows = 0};
}

const std::vector<Row> kConnections = {
    {.name = "a SYN to the endpoint's IPv6 address reaches the backend as IPv4",
     .maps = both_here,
     .in = consumer_sends(six_request().syn()),
     .verdict = Verdict::Redirected,
     .out = entered(asked().syn()),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_IN", 1}, {"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "the backend's answer comes back as IPv6",
     .maps = both_here,
     .before = {consumer_sends(six_request().syn())},
     .in = backend_sends(answer().syn_ack().payload(33)),
     .verdict = Verdict::Redirected,
     .out = six_answered().syn_ack().payload(33),
     .moved = {{"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "traffic class and hop limit go along, the flow label does not",
     .maps = both_here,
     .in = consumer_sends(six_request().traffic_class(0xb9, 0x12345).hops(7).syn()),
     .verdict = Verdict::Redirected,
     .out = entered(asked().tos(0xb9).ttl(7).syn()),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_IN", 1}, {"LINK_LOCAL", 1}}},
    {.name = "and come back",
     .maps = both_here,
     .before = {consumer_sends(six_request().syn())},
     .in = backend_sends(answer().tos(0xb9).ttl(9)),
     .verdict = Verdict::Redirected,
     .out = six_answered().traffic_class(0xb9, 0).hops(9),
     .moved = {{"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "the same ports by IPv4 are another connection",
     .maps = both_here,
     .before = {consumer_sends(six_request().syn())},
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = asked(kNatPort + 1).syn(),
     .moved = {{"FLOW_CREATED", 2}, {"LINK_LOCAL", 1}},
     .flows = 4},
    {.name = "IPv4 to a workload with IPv6 stays what it is",
     .maps = both_here,
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = answered().syn_ack(),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "a super-packet stays in one piece",
     .maps = both_here,
     .before = {consumer_sends(six_request().syn())},
     .in = {Hook::Workload, devices().consumer, six_request().payload(3000), 1000},
     .verdict = Verdict::Redirected,
     .out = entered(asked().payload(3000)),
     .moved = {{"IPV6_IN", 1}, {"LINK_LOCAL", 1}}},
    {.name = "to another node it travels between the stand-ins",
     .maps = backend_away,
     .in = consumer_sends(six_request().syn()),
     .verdict = Verdict::Redirected,
     .out = entered(wired(kThere, kLinkVni, kConsumer, kBackend)
                        .ipv4(kStandIn, kEndpointStandIn)
                        .tcp(kClientPort, kPort)
                        .syn()),
     .moved = {{"FLOW_CREATED", 1}, {"IPV6_IN", 1}, {"LINK_OUT", 1}},
     .flows = 1},
    {.name = "there the backend gets IPv4 from the NAT address",
     .maps = consumer_away,
     .in = backbone_brings(six_arriving().syn()),
     .verdict = Verdict::Redirected,
     .out = asked().syn(),
     .moved = {{"FLOW_CREATED", 2}, {"LINK_IN", 1}},
     .flows = 2},
    {.name = "its answer goes back between the stand-ins",
     .maps = consumer_away,
     .before = {backbone_brings(six_arriving().syn())},
     .in = backend_sends(answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kLinkVni, kBackend, kConsumer)
                .ipv4(kEndpointStandIn, kStandIn)
                .tcp(kPort, kClientPort)
                .syn_ack(),
     .moved = {{"LINK_OUT", 1}}},
    {.name = "and the consumer's node makes IPv6 of it",
     .maps = backend_away,
     .before = {consumer_sends(six_request().syn())},
     .in = backbone_brings(six_returning().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = six_answered().syn_ack(),
     .moved = {{"IPV6_OUT", 1}, {"LINK_IN", 1}}},
    {.name = "datagrams go there",
     .maps = with_udp,
     .in = consumer_sends(six_datagram().payload(31)),
     .verdict = Verdict::Redirected,
     .out = entered(to(kBackend).ipv4(kNat, kServer).udp(kNatPort, kBackendPort).payload(31)),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_IN", 1}, {"LINK_LOCAL", 1}}},
    {.name = "datagrams come back",
     .maps = with_udp,
     .before = {consumer_sends(six_datagram().payload(31))},
     .in =
         backend_sends(from(kBackend).ipv4(kServer, kNat).udp(kBackendPort, kNatPort).payload(60)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv6(kSixEndpoint, kSixClient).udp(kPort, kClientPort).payload(60),
     .moved = {{"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "an answer without checksum is refused by name",
     .maps = with_udp,
     .before = {consumer_sends(six_datagram())},
     .in = backend_sends(
         from(kBackend).ipv4(kServer, kNat).udp(kBackendPort, kNatPort).no_checksum()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.UDP_CHECKSUM", 1}}},
    {.name = "an answer in pieces is refused by name",
     .maps = with_udp,
     .before = {consumer_sends(six_datagram())},
     .in = backend_sends(from(kBackend)
                             .ipv4(kServer, kNat)
                             .fragment(0x2000)
                             .udp(kBackendPort, kNatPort)
                             .payload(40)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
};

const std::vector<Row> kRefusals = {
    refused("IPv6 of an interface without an address of it is not carried", six_request().syn(),
            "NOT_IPV4", [](World& world) { one_link(world); }),
    refused("another interface's IPv6 address is spoofed",
            from(kConsumer).ipv6(kSixPeer, kSixEndpoint).tcp(kClientPort, kPort).syn(),
            "SPOOFED_ADDRESS"),
    refused("nothing is carried from a link-local address",
            from(kConsumer).ipv6(kLinkLocal, kSixEndpoint).tcp(kClientPort, kPort).syn(),
            "SPOOFED_ADDRESS"),
    refused("an IPv6 address of no endpoint leads nowhere",
            from(kConsumer).ipv6(kSixClient, kSixNobody).tcp(kClientPort, kPort).syn(),
            "NO_DESTINATION"),
    refused("nor do stand-ins written as IPv6",
            from(kConsumer).ipv6(kSixClient, six("::ffff:248.0.0.9")).tcp(1, kPort).syn(),
            "NO_DESTINATION"),
    refused("an endpoint of another network with the same prefix is not reached",
            from(kConsumer).ipv6(kSixClient, kSixPeer).tcp(kClientPort, kPort).syn(),
            "NO_DESTINATION",
            [](World& world) {
                both_here(world);
                world.six_endpoint(kStrangerVnet, kSixPeer, kLink);
            }),
    refused("IPv6 multicast is dropped",
            from(kConsumer).ipv6(kSixClient, kAllNodes).udp(5353, 5353), "MULTICAST"),
    refused("the stand-in is no address that a workload may send from",
            from(kConsumer).ipv4(kStandIn, kEndpoint).tcp(kClientPort, kPort).syn(),
            "SPOOFED_ADDRESS"),
    refused("nor with the endpoint's",
            from(kConsumer).ipv4(kStandIn, kEndpointStandIn).tcp(kClientPort, kPort).syn(),
            "SPOOFED_ADDRESS"),
    refused("nor one that it may send to",
            from(kConsumer).ipv4(kClient, kEndpointStandIn).tcp(kClientPort, kPort).syn(),
            "NO_DESTINATION"),
    refused("nor that of a network interface",
            from(kConsumer).ipv4(kClient, htonl(CV_SIX_NIC | kNeighbour)).udp(1, 2),
            "NO_DESTINATION"),
    refused("a hop by hop header is refused by name", six_request().next_header(0).syn(),
            "IPV6_EXTENSION"),
    refused("a routing header is refused by name", six_request().next_header(43).syn(),
            "IPV6_EXTENSION"),
    refused("a fragment is refused by name", six_request().next_header(44).syn(), "IPV6_EXTENSION"),
    refused("destination options are refused by name", six_request().next_header(60).syn(),
            "IPV6_EXTENSION"),
    refused("a datagram without checksum is refused by name",
            six_datagram().no_checksum().payload(8), "UDP_CHECKSUM", with_udp),
    refused("a payload that is not there is malformed", six_request().ipv6_length_error(1).syn(),
            "MALFORMED"),
    refused("a jumbo payload of no length is malformed", six_request().ipv6_length_error(-20).syn(),
            "MALFORMED"),
    refused("another version is malformed",
            Packet().eth(mac(kConsumer), mac(kRouter), 0x86dd).payload(60), "MALFORMED"),
    refused("half a segment is malformed", six_request().syn().cut(14 + 40 + 19), "MALFORMED"),
    refused("redirects and router advertisements are not carried",
            from(kConsumer).ipv6(kSixClient, kSixEndpoint).icmpv6(137, 0).payload(60), "PROTOCOL"),
};

const std::vector<Row> kBackbone = {
    {.name = "from the backbone a stand-in must be the sender's",
     .maps = consumer_away,
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kBackend)
                               .ipv4(htonl(CV_SIX_NIC | kNeighbour), kEndpointStandIn)
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}},
     .flows = 0},
    {.name = "and the endpoint's stand-in that of the link",
     .maps = consumer_away,
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kBackend)
                               .ipv4(kStandIn, htonl(CV_SIX_ENDPOINT | (kLink + 1)))
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}},
     .flows = 0},
    {.name = "an address of IPv4 and a stand-in do not go together",
     .maps = consumer_away,
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kBackend)
                               .ipv4(kClient, kEndpointStandIn)
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}},
     .flows = 0},
    {.name = "nor the other way",
     .maps = consumer_away,
     .in = backbone_brings(tunnel(kLinkVni, kConsumer, kBackend)
                               .ipv4(kStandIn, kEndpoint)
                               .tcp(kClientPort, kPort)
                               .syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}},
     .flows = 0},
    {.name = "inside a virtual network there are no stand-ins",
     .maps = [](World& world) { one_link(world, {.neighbour_node = kThere}); },
     .in = backbone_brings(
         wire(kThere, kHere, kConsumerVnet, kNeighbour, kConsumer).ipv4(kPeer, kStandIn).udp(1, 2)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an answer for an interface whose IPv6 address is gone ends here",
     .maps = backend_away,
     .before = {consumer_sends(six_request().syn())},
     .meanwhile = [](World& world) { world.forget_six_name(kConsumerVnet, kStandIn); },
     .in = backbone_brings(six_returning().syn_ack()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.IPV6_UNKNOWN", 1}}},
};

Packet told(std::uint8_t type, std::uint8_t code, std::uint32_t rest = 0) {
    return to(kConsumer).ipv6(kSixEndpoint, kSixClient).icmpv6(type, code, rest);
}
Packet six_sent() { return Packet().ipv6(kSixClient, kSixEndpoint); }
Packet four_sent() { return Packet().ipv4(kStandIn, kEndpointStandIn); }

const std::vector<Row> kTold = {
    {.name = "a port without a rule is closed",
     .maps = both_here,
     .in =
         consumer_sends(from(kConsumer).ipv6(kSixClient, kSixEndpoint).tcp(kClientPort, 80).syn()),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv6(kSixEndpoint, kSixClient).tcp(80, kClientPort).resets(1),
     .moved = {{"drop.NO_RULE", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"RESET_SENT", 1}},
     .flows = 0},
    {.name = "a datagram to a port without a rule is told",
     .maps = both_here,
     .in = consumer_sends(six_datagram().payload(8)),
     .verdict = Verdict::Redirected,
     .out = quote(told(1, 4), six_sent().udp(kClientPort, kPort).payload(8),
                  four_sent().udp(kClientPort, kPort).payload(8), 8),
     .moved = {{"drop.NO_RULE", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"UNREACHABLE_SENT", 1}},
     .flows = 0},
    {.name = "SCTP is refused as an unknown next header",
     .maps = both_here,
     .in = consumer_sends(
         from(kConsumer).ipv6(kSixClient, kSixEndpoint).next_header(132).payload(16)),
     .verdict = Verdict::Redirected,
     .out =
         quote(told(4, 1, 6), six_sent().next_header(132).payload(16), four_sent().payload(16), 8),
     .moved = {{"drop.SCTP", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "what is too big for the backbone is told with a size that fits",
     .maps = backend_away,
     .in = consumer_sends(six_request().syn().payload(1411)),
     .verdict = Verdict::Redirected,
     .out = quote(told(2, 0, 1470), six_sent().tcp(kClientPort, kPort).syn().payload(1411),
                  four_sent().tcp(kClientPort, kPort).syn().payload(1411), 20),
     .moved = {{"drop.TOO_BIG", 1},
               {"FLOW_CREATED", 1},
               {"IPV6_IN", 1},
               {"IPV6_OUT", 1},
               {"UNREACHABLE_SENT", 1}}},
    {.name = "what just fits goes",
     .maps = backend_away,
     .in = consumer_sends(six_request().syn().payload(1410)),
     .verdict = Verdict::Redirected,
     .out = entered(wired(kThere, kLinkVni, kConsumer, kBackend)
                        .ipv4(kStandIn, kEndpointStandIn)
                        .tcp(kClientPort, kPort)
                        .syn()
                        .payload(1410)),
     .moved = {{"FLOW_CREATED", 1}, {"IPV6_IN", 1}, {"LINK_OUT", 1}}},
    {.name = "an echo to the endpoint is answered while it has a backend",
     .maps = with_ping,
     .in = consumer_sends(
         from(kConsumer).ipv6(kSixClient, kSixEndpoint).icmpv6(128, 0, 0x12340003).payload(57)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer).ipv6(kSixEndpoint, kSixClient).icmpv6(129, 0, 0x12340003).payload(57),
     .moved = {{"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"PING_ANSWERED", 1}}},
    {.name = "and told while it has none",
     .maps = both_here,
     .in = consumer_sends(
         from(kConsumer).ipv6(kSixClient, kSixEndpoint).icmpv6(128, 0, 0x12340003).payload(8)),
     .verdict = Verdict::Redirected,
     .out = told(1, 0)
                .quote(six_sent().icmpv6(128, 0, 0x12340003).payload(8), 41)
                .raw(echo_after_type()),
     .moved = {{"drop.PING", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"UNREACHABLE_SENT", 1}}},
};

// An error of the consumer about what the endpoint has sent to it.
Packet six_error(std::uint8_t type, std::uint8_t code, std::uint32_t rest, const Packet& about,
                 std::size_t bytes = 72) {
    return from(kConsumer)
        .ipv6(kSixClient, kSixEndpoint)
        .icmpv6(type, code, rest)
        .quote(about, bytes);
}
Packet from_endpoint() {
    return Packet().ipv6(kSixEndpoint, kSixClient).udp(kPort, kClientPort).payload(100);
}
// What the backend gets: its own packet, but for the checksum, which stays the one that was quoted.
Packet backend_told(std::uint8_t code, std::uint32_t rest) {
    auto quoted =
        Packet().ipv4(kServer, kNat).ip_id(0).udp(kBackendPort, kNatPort).payload(100).bytes();
    const auto six = from_endpoint().bytes();
    std::copy_n(six.begin() + 46, 2, quoted.begin() + 26);
    quoted.resize(72 - 20);
    return entered(to(kBackend).ipv4(kNat, kServer).icmp(3, code, rest).raw(quoted));
}

Row reported(std::string name, const Packet& in, const Packet& out) {
    return {.name = std::move(name),
            .maps = with_udp,
            .before = {consumer_sends(six_datagram())},
            .in = consumer_sends(in),
            .verdict = Verdict::Redirected,
            .out = out,
            .moved = {{"IPV6_IN", 1}, {"LINK_LOCAL", 1}},
            .flows = 2};
}
Row not_reported(std::string name, const Packet& in, const std::string& reason) {
    return {.name = std::move(name),
            .maps = with_udp,
            .before = {consumer_sends(six_datagram())},
            .in = consumer_sends(in),
            .verdict = Verdict::Dropped,
            .moved = {{"drop." + reason, 1}}};
}

const std::vector<Row> kErrors = {
    reported("a closed port is reported to the backend", six_error(1, 4, 0, from_endpoint()),
             backend_told(3, 0)),
    reported("so is a prohibition", six_error(1, 1, 0, from_endpoint()), backend_told(13, 0)),
    reported("and what is too big, with a size for IPv4", six_error(2, 0, 1300, from_endpoint()),
             backend_told(4, 1280)),
    not_reported(
        "an error about somebody else's packet is forged",
        six_error(1, 4, 0,
                  Packet().ipv6(kSixPeer, kSixClient).udp(kPort, kClientPort).payload(100)),
        "INNER_ADDRESS"),
    not_reported(
        "an error about what was sent to somebody else is forged",
        six_error(1, 4, 0,
                  Packet().ipv6(kSixEndpoint, kSixPeer).udp(kPort, kClientPort).payload(100)),
        "INNER_ADDRESS"),
    not_reported("an error that quotes too little is malformed",
                 six_error(1, 4, 0, from_endpoint(), 47), "MALFORMED"),
    not_reported("an error of an unknown kind is not carried", six_error(99, 0, 0, from_endpoint()),
                 "PROTOCOL"),
    {.name = "the backend's error comes to the consumer",
     .maps = with_udp,
     .before = {consumer_sends(six_datagram().payload(4))},
     .in = backend_sends(
         from(kBackend)
             .ipv4(kServer, kNat)
             .icmp(3, 3)
             .quote(Packet().ipv4(kNat, kServer).ip_id(0).udp(kNatPort, kBackendPort).payload(4),
                    32)),
     .verdict = Verdict::Redirected,
     .out = told(1, 4).raw([] {
         auto quoted = six_sent().udp(kClientPort, kPort).payload(4).bytes();
         const auto sent =
             Packet().ipv4(kNat, kServer).ip_id(0).udp(kNatPort, kBackendPort).payload(4).bytes();
         std::copy_n(sent.begin() + 26, 2, quoted.begin() + 46);
         return quoted;
     }()),
     .moved = {{"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
};

Packet solicitation(const Ipv6& source, const Ipv6& destination, const Ipv6& target,
                    std::uint32_t asker = kConsumer) {
    Bytes rest(target.begin(), target.end());
    rest.insert(rest.end(), {1, 1});
    const auto own = mac(asker);
    rest.insert(rest.end(), own.bytes.begin(), own.bytes.end());
    return Packet()
        .eth(mac(kConsumer), {{0x33, 0x33, 0xff, 0, 1, 5}})
        .ipv6(source, destination)
        .hops(255)
        .icmpv6(135, 0)
        .raw(rest);
}
Packet advertisement(const Ipv6& target, const Ipv6& asker) {
    Bytes rest(target.begin(), target.end());
    rest.insert(rest.end(), {2, 1});
    const auto router = mac(kRouter);
    rest.insert(rest.end(), router.bytes.begin(), router.bytes.end());
    return to(kConsumer).ipv6(target, asker).hops(255).icmpv6(136, 0, 0xe0000000).raw(rest);
}
Row answered_by_router(std::string name, const Packet& in, const Packet& out) {
    return {.name = std::move(name),
            .maps = both_here,
            .in = consumer_sends(in),
            .verdict = Verdict::Redirected,
            .out = out,
            .moved = {{"ND_ANSWERED", 1}},
            .flows = 0};
}

const std::vector<Row> kNeighbours = {
    answered_by_router("who has the endpoint is told the router's MAC",
                       solicitation(kSixClient, kSolicited, kSixEndpoint),
                       advertisement(kSixEndpoint, kSixClient)),
    answered_by_router("also from a link-local address",
                       solicitation(kLinkLocal, kSolicited, kSixEndpoint),
                       advertisement(kSixEndpoint, kLinkLocal)),
    answered_by_router("also when it asks the router itself",
                       solicitation(kSixClient, kSixRouter, kSixRouter),
                       advertisement(kSixRouter, kSixClient)),
    refused("nobody else has the asker's own address",
            solicitation(kLinkLocal, kSolicited, kSixClient), "ND_UNANSWERED"),
    refused("nor the link-local one", solicitation(kLinkLocal, kSolicited, kLinkLocal),
            "ND_UNANSWERED"),
    refused("a test for duplicates hears nothing",
            solicitation(kUnspecified, kSolicited, kSixClient), "SPOOFED_ADDRESS"),
    refused("another /64 is behind the router", solicitation(kSixClient, kSolicited, kSixFar),
            "ND_UNANSWERED"),
    refused("nobody asks in another's name", solicitation(kSixPeer, kSolicited, kSixEndpoint),
            "SPOOFED_ADDRESS"),
    refused("nor with another's MAC",
            solicitation(kSixClient, kSolicited, kSixEndpoint, kNeighbour), "SPOOFED_MAC"),
    refused("a solicitation that has come by a router is none",
            solicitation(kSixClient, kSolicited, kSixEndpoint).hops(254), "ND_UNANSWERED"),
    refused("an advertisement teaches nobody",
            from(kConsumer).ipv6(kSixClient, kAllNodes).hops(255).icmpv6(136, 0).payload(24),
            "MULTICAST"),
};

CULVERT_PACKET_ROWS(SixConnection, kConnections);
CULVERT_PACKET_ROWS(SixRefusal, kRefusals);
CULVERT_PACKET_ROWS(SixBackbone, kBackbone);
CULVERT_PACKET_ROWS(SixTold, kTold);
CULVERT_PACKET_ROWS(SixError, kErrors);
CULVERT_PACKET_ROWS(SixNeighbour, kNeighbours);

}  // namespace
}  // namespace culvert::packet
