// SPDX-License-Identifier: Apache-2.0
// The reset that answers a refused segment: for which segments, and what it says (RFC 9293
// 3.10.7.1). That each reason is answered stands with the rows of its reason.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

void refuse(World& world) { one_link(world, {.state = CV_LINK_REFUSED}); }

// A segment to a refused endpoint, and its answer.
Row reset(std::string name, const Packet& segment, const Packet& reset,
          std::uint32_t gso_size = 0) {
    return {.name = std::move(name),
            .maps = refuse,
            .in = {Hook::Workload, devices().consumer, segment, gso_size},
            .verdict = Verdict::Redirected,
            .out = reset,
            .moved = {{"drop.LINK_REFUSED", 1}, {"RESET_SENT", 1}}};
}

// A packet to a refused endpoint that is dropped without a word.
Row silent(std::string name, const Packet& packet) {
    return {.name = std::move(name),
            .maps = refuse,
            .in = consumer_sends(packet),
            .verdict = Verdict::Dropped,
            .moved = {{"drop.LINK_REFUSED", 1}}};
}

Packet to_other_mac() {
    return Packet()
        .eth(mac(kConsumer), {{0x02, 0, 0, 0, 0, 9}})
        .ipv4(kClient, kEndpoint)
        .tcp(kClientPort, kPort)
        .syn();
}

const std::vector<Row> kAnswered = {
    reset("a SYN counts for one", request().syn(), answered().resets(1)),
    reset("a SYN with TCP options", request().syn().tcp_words(10).payload(20),
          answered().resets(1)),
    reset("a SYN with options and data", request().syn().tcp_words(6).payload(4 + 33),
          answered().resets(1 + 33)),
    reset("a SYN with FIN counts for two", request().tcp_flags(0x03), answered().resets(2)),
    reset("a SYN with ACK is answered by what it acknowledges", request().syn_ack(),
          answered().resets_ack()),
    reset("an ACK", request(), answered().resets_ack()),
    reset("an ACK with the longest header", request().tcp_words(15).payload(40),
          answered().resets_ack()),
    reset("data", request().payload(1000), answered().resets_ack()),
    reset("data of an odd length", request().payload(333), answered().resets_ack()),
    reset("data without ACK", request().tcp_flags(0x08).payload(7), answered().resets(7)),
    reset("a FIN", request().fin(), answered().resets_ack()),
    reset("a FIN without ACK", request().tcp_flags(0x01), answered().resets(1)),
    reset("no flag at all", request().tcp_flags(0), answered().resets(0)),
    reset("a super-packet is answered by one reset", request().payload(3000),
          answered().resets_ack(), 1000),
    reset("a super-packet without ACK counts in full", request().tcp_flags(0).payload(3000),
          answered().resets(3000), 1000),
    reset("another unicast MAC than the router's", to_other_mac(), answered().resets(1)),
    // bytes of the frame behind the packet are none of the segment's
    reset("a padded frame", request().tcp_flags(0).ip_length_error(-6).payload(10),
          answered().resets(4)),
};

const std::vector<Row> kSilent = {
    silent("a reset is never answered", request().rst()),
    silent("a reset with ACK is never answered", request().tcp_flags(0x14)),
    silent("a reset with SYN is never answered", request().tcp_flags(0x06)),
    silent("a later fragment", request().syn().fragment(0x0010)),
    silent("IP options", request().syn().ip_options(4)),
    silent("a TCP header cut short",
           from(kConsumer).ipv4(kClient, kEndpoint).protocol(IPPROTO_TCP).payload(19)),
    silent("a TCP header shorter than itself", request().syn().tcp_words(4)),
    silent("a TCP header longer than its packet", request().syn().tcp_words(6)),
    silent("a TCP header behind the packet's end", request().syn().ip_length_error(-20).payload(0)),
};

const std::vector<Row> kBackendSide = {
    {.name = "a reset to a NAT address is never answered",
     .in = backend_sends(answer().rst()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NAT_DIRECT", 1}}},
    {.name = "data of a connection that is gone",
     .in = backend_sends(answer().payload(9)),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}}},
    {.name = "a FIN of a connection that is gone",
     .in = backend_sends(answer().fin()),
     .verdict = Verdict::Redirected,
     .out = asked().resets_ack(),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}}},
    {.name = "another backend of the pool does not answer on a connection",
     .before = {consumer_sends(request().syn())},
     .in = {Hook::Workload, devices().second,
            from(kSecondBackend).ipv4(ip("10.0.0.8"), kNat).tcp(kBackendPort, kNatPort).syn_ack()},
     .verdict = Verdict::Redirected,
     .out = to(kSecondBackend).ipv4(kNat, ip("10.0.0.8")).tcp(kNatPort, kBackendPort).resets_ack(),
     .moved = {{"drop.NAT_DIRECT", 1}, {"RESET_SENT", 1}},
     .flows = 2},
    {.name = "a live connection whose link was deleted",
     .before = {consumer_sends(request().syn())},
     .meanwhile = [](World& world) { world.link(kLink, cv_link{}); },
     .in = consumer_sends(request().payload(5)),
     .verdict = Verdict::Redirected,
     .out = answered().resets_ack(),
     .moved = {{"drop.LINK_UNKNOWN", 1}, {"RESET_SENT", 1}}},
    {.name = "a spoofed segment to a refused endpoint",
     .maps = refuse,
     .in = consumer_sends(
         from(kConsumer).ipv4(ip("10.0.0.5"), kEndpoint).tcp(kClientPort, kPort).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "a segment to nobody",
     .in = consumer_sends(
         from(kConsumer).ipv4(kClient, ip("10.0.0.99")).tcp(kClientPort, kPort).syn()),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.NO_DESTINATION", 1}}},
};

CULVERT_PACKET_ROWS(ResetAnswers, kAnswered);
CULVERT_PACKET_ROWS(ResetStaysSilent, kSilent);
CULVERT_PACKET_ROWS(ResetElsewhere, kBackendSide);

}  // namespace
}  // namespace culvert::packet
