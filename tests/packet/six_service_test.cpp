// SPDX-License-Identifier: Apache-2.0
// A service whose backends are reached by IPv6: each sees the service's NAT address of IPv6,
// whether the consumer speaks IPv4 or IPv6, and reaches by it what it answers and nothing else.
#include "tests/packet/usual_six.hpp"

#include <netinet/in.h>

#include <algorithm>

namespace culvert::packet {
namespace {

constexpr std::size_t kQuotedFour = 28, kQuotedSix = 48;  // no transport checksum among them

void service_of_six(World& world, const Scene& scene) {
    one_link(world, scene);
    world.six(kProviderVnet, kSixNat, kNat);
    // what the same address is in another network is nothing to this one
    world.six(kConsumerVnet, kSixNobody, kNat);
    speaks_six(world, kBackend, kProviderVnet, kSixServer);
    for (const std::uint8_t protocol : {std::uint8_t{IPPROTO_TCP}, std::uint8_t{IPPROTO_UDP}}) {
        world.rule(kService, kPort, kPool, kBackendPort, 300, 5, protocol, CV_RULE_SIX);
    }
}
void four_to_six(World& world) { service_of_six(world, {}); }
void six_to_six(World& world) {
    four_to_six(world);
    consumer_of_six(world);
}
void backend_away(World& world) {
    service_of_six(world, {.backend_node = kThere});
    consumer_of_six(world);
}
void consumer_away(World& world) { service_of_six(world, {.consumer_node = kThere}); }
void backend_without_six(World& world) {
    four_to_six(world);
    change_nic(world, kBackend, [](cv_nic& nic) { nic.port_flags = CV_PORT_PEER_OK; });
}

Packet six_asked(std::uint16_t nat_port = kNatPort) {
    return to(kBackend).ipv6(kSixNat, kSixServer).tcp(nat_port, kBackendPort);
}
Packet six_answer(std::uint16_t nat_port = kNatPort) {
    return from(kBackend).ipv6(kSixServer, kSixNat).tcp(kBackendPort, nat_port);
}
Packet datagram() { return from(kConsumer).ipv4(kClient, kEndpoint).udp(kClientPort, kPort); }

const std::vector<Row> kConnections = {
    {.name = "a consumer of IPv4 reaches the backend by IPv6",
     .maps = four_to_six,
     .in = consumer_sends(request().tos(0xb9).ttl(9).syn()),
     .verdict = Verdict::Redirected,
     .out = six_asked().traffic_class(0xb9, 0).hops(9).syn(),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_OUT", 1}, {"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "the backend's IPv6 comes back as IPv4",
     .maps = four_to_six,
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(six_answer().syn_ack().payload(33)),
     .verdict = Verdict::Redirected,
     .out = entered(answered().syn_ack().payload(33)),
     .moved = {{"IPV6_IN", 1}, {"LINK_LOCAL", 1}}},
    {.name = "a consumer of IPv6 reaches it, too",
     .maps = six_to_six,
     .in = consumer_sends(six_request().traffic_class(0xb9, 0x12345).hops(7).syn()),
     .verdict = Verdict::Redirected,
     .out = six_asked().traffic_class(0xb9, 0).hops(7).syn(),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "and is answered",
     .maps = six_to_six,
     .before = {consumer_sends(six_request().syn())},
     .in = backend_sends(six_answer().syn_ack().payload(33)),
     .verdict = Verdict::Redirected,
     .out = six_answered().syn_ack().payload(33),
     .moved = {{"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "the same ports by IPv4 and by IPv6 are two connections",
     .maps = six_to_six,
     .before = {consumer_sends(six_request().syn())},
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = six_asked(kNatPort + 1).syn(),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_OUT", 1}, {"LINK_LOCAL", 1}},
     .flows = 4},
    {.name = "a super-packet stays in one piece through both translations",
     .maps = six_to_six,
     .before = {consumer_sends(six_request().syn())},
     .in = {Hook::Workload, devices().consumer, six_request().payload(3000), 1000},
     .verdict = Verdict::Redirected,
     .out = six_asked().payload(3000),
     .moved = {{"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "to the backend's node it is IPv4 as ever",
     .maps = backend_away,
     .in = consumer_sends(request().syn()),
     .verdict = Verdict::Redirected,
     .out = wired(kThere, kLinkVni, kConsumer, kBackend)
                .ipv4(kClient, kEndpoint)
                .tcp(kClientPort, kPort)
                .syn(),
     .moved = {{"FLOW_CREATED", 1}, {"LINK_OUT", 1}},
     .flows = 1},
    {.name = "there it becomes IPv6",
     .maps = consumer_away,
     .in = backbone_brings(arriving().syn()),
     .verdict = Verdict::Redirected,
     .out = six_asked().syn(),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_OUT", 1}, {"LINK_IN", 1}},
     .flows = 2},
    {.name = "also what was IPv6 before",
     .maps = consumer_away,
     .in = backbone_brings(six_arriving().syn()),
     .verdict = Verdict::Redirected,
     .out = six_asked().syn(),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_OUT", 1}, {"LINK_IN", 1}},
     .flows = 2},
    {.name = "its answer goes back as IPv4",
     .maps = consumer_away,
     .before = {backbone_brings(arriving().syn())},
     .in = backend_sends(six_answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = entered(wired(kThere, kLinkVni, kBackend, kConsumer)
                        .ipv4(kEndpoint, kClient)
                        .tcp(kPort, kClientPort)
                        .syn_ack()),
     .moved = {{"IPV6_IN", 1}, {"LINK_OUT", 1}}},
    {.name = "or between the stand-ins",
     .maps = consumer_away,
     .before = {backbone_brings(six_arriving().syn())},
     .in = backend_sends(six_answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = entered(wired(kThere, kLinkVni, kBackend, kConsumer)
                        .ipv4(kEndpointStandIn, kStandIn)
                        .tcp(kPort, kClientPort)
                        .syn_ack()),
     .moved = {{"IPV6_IN", 1}, {"LINK_OUT", 1}}},
    {.name = "datagrams go there",
     .maps = four_to_six,
     .in = consumer_sends(datagram().payload(31)),
     .verdict = Verdict::Redirected,
     .out = to(kBackend).ipv6(kSixNat, kSixServer).udp(kNatPort, kBackendPort).payload(31),
     .moved = {{"FLOW_CREATED", 2}, {"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "datagrams come back",
     .maps = four_to_six,
     .before = {consumer_sends(datagram())},
     .in = backend_sends(
         from(kBackend).ipv6(kSixServer, kSixNat).udp(kBackendPort, kNatPort).payload(60)),
     .verdict = Verdict::Redirected,
     .out = entered(to(kConsumer).ipv4(kEndpoint, kClient).udp(kPort, kClientPort).payload(60)),
     .moved = {{"IPV6_IN", 1}, {"LINK_LOCAL", 1}}},
};

Row refused(std::string name, const Send& in, const std::string& reason,
            std::function<void(World&)> maps = four_to_six) {
    return {.name = std::move(name),
            .maps = std::move(maps),
            .in = in,
            .verdict = Verdict::Dropped,
            .moved = {{"drop." + reason, 1}},
            .flows = 0};
}
// Beside a connection that stays.
Row refused_beside(std::string name, const Send& in, const std::string& reason) {
    Row row = refused(std::move(name), in, reason, six_to_six);
    row.before = {consumer_sends(request().syn())};
    row.flows = 2;
    return row;
}
// The backend is told as by a closed port.
Row no_way(std::string name, const Packet& in, const Packet& out) {
    return {.name = std::move(name),
            .maps = four_to_six,
            .before = {consumer_sends(request().syn())},
            .in = backend_sends(in),
            .verdict = Verdict::Redirected,
            .out = out,
            .moved = {{"drop.NAT_DIRECT", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"RESET_SENT", 1}},
            .flows = 2};
}

const std::vector<Row> kRefusals = {
    no_way("a NAT address of IPv6 is not reached without a connection",
           six_answer(kNatPort + 1).syn(), six_asked(kNatPort + 1).resets(1)),
    no_way("nor is something opened on the port of one",
           from(kBackend).ipv6(kSixServer, kSixNat).tcp(22, kNatPort).syn(),
           to(kBackend).ipv6(kSixNat, kSixServer).tcp(kNatPort, 22).resets(1)),
    no_way("nor by an answer of another port",
           from(kBackend).ipv6(kSixServer, kSixNat).tcp(22, kNatPort).syn_ack(),
           to(kBackend).ipv6(kSixNat, kSixServer).tcp(kNatPort, 22).resets_ack()),
    {.name = "IPv4 answers no connection of IPv6",
     .maps = four_to_six,
     .before = {consumer_sends(request().syn())},
     .in = backend_sends(answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}},
     .flows = 2},
    refused_beside(
        "the NAT address of a service is nothing in its consumer's network",
        consumer_sends(from(kConsumer).ipv6(kSixClient, kSixNat).tcp(kBackendPort, kNatPort).syn()),
        "NO_DESTINATION"),
    refused_beside(
        "nor is the backend's own",
        consumer_sends(from(kConsumer).ipv6(kSixClient, kSixServer).tcp(1, kBackendPort).syn()),
        "NO_DESTINATION"),
    refused_beside(
        "the backend's stand-in is no address that it may send from",
        backend_sends(from(kBackend).ipv4(kServerStandIn, kNat).tcp(kBackendPort, kNatPort)),
        "SPOOFED_ADDRESS"),
    refused_beside(
        "nor one that somebody may send to",
        consumer_sends(from(kConsumer).ipv4(kClient, kServerStandIn).tcp(kNatPort, kBackendPort)),
        "NO_DESTINATION"),
    refused_beside(
        "nor with IPv6",
        consumer_sends(
            from(kConsumer).ipv6(kSixClient, six("::ffff:240.0.0.2")).tcp(kNatPort, kBackendPort)),
        "NO_DESTINATION"),
    refused_beside(
        "nobody answers with the backend's address",
        consumer_sends(from(kConsumer).ipv6(kSixServer, kSixNat).tcp(kBackendPort, kNatPort)),
        "SPOOFED_ADDRESS"),
    refused("a backend without IPv6 is not reached by IPv4 instead",
            consumer_sends(request().syn()), "IPV6_UNKNOWN", backend_without_six),
    {.name = "a datagram without checksum is refused by name",
     .maps = four_to_six,
     .in = consumer_sends(datagram().no_checksum().payload(8)),
     .verdict = Verdict::Dropped,
     .moved = {{"FLOW_CREATED", 2}, {"drop.UDP_CHECKSUM", 1}}},
    {.name = "a datagram in pieces is refused by name",
     .maps = four_to_six,
     .in = consumer_sends(from(kConsumer)
                              .ipv4(kClient, kEndpoint)
                              .fragment(0x2000)
                              .udp(kClientPort, kPort)
                              .payload(40)),
     .verdict = Verdict::Dropped,
     .moved = {{"FLOW_CREATED", 2}, {"drop.FRAGMENT", 1}}},
    {.name = "what comes from a NAT address that has no IPv6 any more ends here",
     .maps = four_to_six,
     .before = {consumer_sends(request().syn())},
     .meanwhile = [](World& world) { world.forget_six_name(kProviderVnet, kNat); },
     .in = consumer_sends(request()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.IPV6_UNKNOWN", 1}}},
    {.name = "an approval that was taken back ends it for both",
     .maps = four_to_six,
     .before = {consumer_sends(request().syn())},
     .meanwhile = reject,
     .in = backend_sends(six_answer().syn_ack()),
     .verdict = Verdict::Redirected,
     .out = six_asked().resets_ack(),
     .moved = {{"drop.LINK_REFUSED", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"RESET_SENT", 1}}},
};

// What a node that lies may try: it names the backend by its stand-in.
Row forged(std::string name, std::uint32_t source, std::uint32_t target,
           const std::string& reason) {
    Row row = refused(
        std::move(name),
        backbone_brings(
            tunnel(kLinkVni, kConsumer, kBackend).ipv4(source, target).tcp(kNatPort, kBackendPort)),
        reason, consumer_away);
    row.before = {backbone_brings(arriving().syn())};
    row.flows = 2;
    return row;
}

const std::vector<Row> kBackbone = {
    forged("from the backbone the backend's stand-in is no destination", kClient, kServerStandIn,
           "INNER_ADDRESS"),
    forged("nor from the NAT address", kNat, kServerStandIn, "INNER_ADDRESS"),
    forged("nor from the consumer's stand-in", kStandIn, kServerStandIn, "INNER_ADDRESS"),
    forged("nor as the end of an answer", kEndpointStandIn, kServerStandIn, "NIC_NOT_IN_VNET"),
    forged("and no source", kServerStandIn, kEndpoint, "INNER_ADDRESS"),
    refused("in its own network it is none either",
            backbone_brings(wire(kThere, kHere, kProviderVnet, kSecondBackend, kBackend)
                                .ipv4(ip("10.0.0.8"), kServerStandIn)
                                .udp(1, kBackendPort)),
            "INNER_ADDRESS",
            [](World& world) {
                consumer_away(world);
                change_nic(world, kSecondBackend, [](cv_nic& nic) {
                    nic.node = kThere;
                    nic.ifindex = 0;
                });
            }),
};

// The four shapes of a connection's packets, as they are quoted.
Packet about_request() { return Packet().ipv4(kClient, kEndpoint).udp(kClientPort, kPort); }
Packet about_asked() { return Packet().ipv6(kSixNat, kSixServer).udp(kNatPort, kBackendPort); }
Packet about_answer() { return Packet().ipv6(kSixServer, kSixNat).udp(kBackendPort, kNatPort); }
Packet about_answered() { return Packet().ipv4(kEndpoint, kClient).udp(kPort, kClientPort); }

Packet backend_reports(std::uint8_t type, std::uint8_t code, std::uint32_t rest = 0) {
    return from(kBackend).ipv6(kSixServer, kSixNat).icmpv6(type, code, rest);
}
// The quoted checksum stays the one that was quoted: of `sent`, in the other's place.
Bytes with_check_of(const Packet& seen, std::size_t at, const Packet& sent, std::size_t from) {
    auto out = seen.bytes();
    const auto bytes = sent.bytes();
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), 2,
                out.begin() + static_cast<std::ptrdiff_t>(at));
    return out;
}
Packet consumer_told(std::uint8_t code, std::uint32_t rest) {
    return entered(to(kConsumer).ipv4(kEndpoint, kClient).icmp(3, code, rest))
        .raw(with_check_of(about_request().ip_id(0), 26, about_asked(), 46));
}

Row reported(std::string name, const Packet& in, const Packet& out) {
    return {.name = std::move(name),
            .maps = four_to_six,
            .before = {consumer_sends(datagram())},
            .in = backend_sends(in),
            .verdict = Verdict::Redirected,
            .out = out,
            .moved = {{"IPV6_IN", 1}, {"LINK_LOCAL", 1}},
            .flows = 2};
}

const std::vector<Row> kErrors = {
    reported("the backend's closed port is reported to the consumer",
             backend_reports(1, 4).quote(about_asked(), kQuotedSix), consumer_told(3, 0)),
    reported("and what was too big for it, with a size for IPv4",
             backend_reports(2, 0, 1300).quote(about_asked(), kQuotedSix), consumer_told(4, 1280)),
    {.name = "a consumer of IPv6 gets it as the backend has sent it",
     .maps = six_to_six,
     .before = {consumer_sends(
         from(kConsumer).ipv6(kSixClient, kSixEndpoint).udp(kClientPort, kPort))},
     .in = backend_sends(backend_reports(2, 0, 1300).quote(about_asked(), kQuotedSix)),
     .verdict = Verdict::Redirected,
     .out = to(kConsumer)
                .ipv6(kSixEndpoint, kSixClient)
                .icmpv6(2, 0, 1300)
                .raw(with_check_of(Packet().ipv6(kSixClient, kSixEndpoint).udp(kClientPort, kPort),
                                   46, about_asked(), 46)),
     .moved = {{"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "a consumer's error reaches the backend as one of IPv6",
     .maps = four_to_six,
     .before = {consumer_sends(datagram())},
     .in = consumer_sends(from(kConsumer)
                              .ipv4(kClient, kEndpoint)
                              .icmp(3, 4, 1400)
                              .quote(about_answered(), kQuotedFour)),
     .verdict = Verdict::Redirected,
     .out = to(kBackend)
                .ipv6(kSixNat, kSixServer)
                .icmpv6(2, 0, 1420)
                .raw(with_check_of(about_answer(), 46, about_answered(), 26)),
     .moved = {{"IPV6_OUT", 1}, {"LINK_LOCAL", 1}}},
    {.name = "what is too big for the backbone is told to the backend",
     .maps = consumer_away,
     .before = {backbone_brings(arriving().syn())},
     .in = backend_sends(six_answer().payload(1411)),
     .verdict = Verdict::Redirected,
     .out =
         quote(to(kBackend).ipv6(kSixNat, kSixServer).icmpv6(2, 0, 1470),
               Packet().ipv6(kSixServer, kSixNat).tcp(kBackendPort, kNatPort).payload(1411),
               Packet().ipv4(kServerStandIn, kNat).tcp(kBackendPort, kNatPort).payload(1411), 20),
     .moved = {{"drop.TOO_BIG", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"UNREACHABLE_SENT", 1}}},
    {.name = "an error about no connection ends there",
     .maps = four_to_six,
     .before = {consumer_sends(datagram())},
     .in = backend_sends(backend_reports(1, 4).quote(
         Packet().ipv6(kSixNat, kSixServer).udp(kNatPort + 1, kBackendPort), kQuotedSix)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NAT_DIRECT", 1}, {"IPV6_IN", 1}}},
    {.name = "an error about what another sent is forged",
     .maps = four_to_six,
     .before = {consumer_sends(datagram())},
     .in = backend_sends(backend_reports(1, 4).quote(
         Packet().ipv6(kSixNobody, kSixServer).udp(kNatPort, kBackendPort), kQuotedSix)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.INNER_ADDRESS", 1}}},
    {.name = "an echo to a NAT address is told so, too",
     .maps = four_to_six,
     .in = backend_sends(backend_reports(128, 0, 0x12340003).payload(8)),
     .verdict = Verdict::Redirected,
     .out = to(kBackend)
                .ipv6(kSixNat, kSixServer)
                .icmpv6(1, 4)
                .quote(Packet().ipv6(kSixServer, kSixNat).icmpv6(128, 0, 0x12340003).payload(8), 41)
                .raw(echo_after_type()),
     .moved = {{"drop.NAT_DIRECT", 1}, {"IPV6_IN", 1}, {"IPV6_OUT", 1}, {"UNREACHABLE_SENT", 1}}},
};

CULVERT_PACKET_ROWS(SixServiceConnection, kConnections);
CULVERT_PACKET_ROWS(SixServiceRefusal, kRefusals);
CULVERT_PACKET_ROWS(SixServiceBackbone, kBackbone);
CULVERT_PACKET_ROWS(SixServiceError, kErrors);

}  // namespace
}  // namespace culvert::packet
