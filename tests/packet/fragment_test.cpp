// SPDX-License-Identifier: Apache-2.0
// Fragments through a link: later ones go where the first one went, under an identification that
// no other sender of the NAT address uses.
#include "tests/packet/usual.hpp"

#include <netinet/in.h>

namespace culvert::packet {
namespace {

constexpr std::uint16_t kMore = 0x2000;
constexpr std::uint16_t kId = 4321, kFirstSentId = 1;
constexpr std::size_t kPiece = 64;  // bytes of the first piece, with the UDP header

void serve(World& world, const Scene& scene = {}) {
    one_link(world, scene);
    world.rule(kService, kPort, kPool, kBackendPort, 300, 5, IPPROTO_UDP);
}
void serve_here(World& world) { serve(world); }
void serve_backend_there(World& world) { serve(world, {.backend_node = kThere}); }
void serve_consumer_there(World& world) { serve(world, {.consumer_node = kThere}); }

// The bytes behind the IP header of a datagram cut in two: its checksum is that of the whole.
Bytes piece(const Packet& whole, std::size_t from, std::size_t to) {
    const auto bytes = whole.bytes();
    const auto begin = bytes.begin() + 20;
    return {begin + static_cast<std::ptrdiff_t>(from), begin + static_cast<std::ptrdiff_t>(to)};
}
constexpr std::size_t kWhole = 8 + 100;

struct Ends {
    std::uint32_t source, destination;
    std::uint16_t sport, dport;
};
const Ends kAsked{kClient, kEndpoint, kClientPort, kPort};
const Ends kServed{kNat, kServer, kNatPort, kBackendPort};
const Ends kReplied{kServer, kNat, kBackendPort, kNatPort};
const Ends kReturned{kEndpoint, kClient, kPort, kClientPort};

Packet whole(const Ends& ends) {
    return Packet().ipv4(ends.source, ends.destination).udp(ends.sport, ends.dport).payload(100);
}
Packet cut(Packet frame, const Ends& ends, std::uint16_t id, std::uint16_t field, std::size_t from,
           std::size_t to) {
    return frame.ipv4(ends.source, ends.destination)
        .protocol(IPPROTO_UDP)
        .fragment(field)
        .ip_id(id)
        .raw(piece(whole(ends), from, to));
}
Packet first(const Packet& frame, const Ends& ends, std::uint16_t id) {
    return cut(frame, ends, id, kMore, 0, kPiece);
}
Packet later(const Packet& frame, const Ends& ends, std::uint16_t id) {
    return cut(frame, ends, id, kPiece / 8, kPiece, kWhole);
}
Send asks(const Packet& packet) { return consumer_sends(packet); }

const Packet kIn = tunnel(kLinkVni, kConsumer, kBackend),
             kOut = tunnel(kLinkVni, kBackend, kConsumer);

const std::vector<Row> kCarried = {
    {.name = "a first fragment is rewritten with the whole packet's checksum",
     .maps = serve_here,
     .in = asks(first(from(kConsumer), kAsked, kId)),
     .verdict = Verdict::Redirected,
     .out = first(to(kBackend), kServed, kFirstSentId),
     .moved = {{"LINK_LOCAL", 1}, {"FLOW_CREATED", 2}}},
    {.name = "a later one follows it",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .in = asks(later(from(kConsumer), kAsked, kId)),
     .verdict = Verdict::Redirected,
     .out = later(to(kBackend), kServed, kFirstSentId),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
    {.name = "a last one may be shorter than a header",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .in = asks(cut(from(kConsumer), kAsked, kId, kPiece / 8, kPiece, kPiece + 1)),
     .verdict = Verdict::Redirected,
     .out = cut(to(kBackend), kServed, kFirstSentId, kPiece / 8, kPiece, kPiece + 1),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "the next packet has another identification, whatever its sender chose",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId)),
                asks(later(from(kConsumer), kAsked, kId))},
     .in = asks(first(from(kConsumer), kAsked, kId)),
     .verdict = Verdict::Redirected,
     .out = first(to(kBackend), kServed, kFirstSentId + 1),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "an answer's fragments come from the endpoint",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId)),
                backend_sends(first(from(kBackend), kReplied, 9))},
     .in = backend_sends(later(from(kBackend), kReplied, 9)),
     .verdict = Verdict::Redirected,
     .out = later(to(kConsumer), kReturned, kFirstSentId + 1),
     .moved = {{"LINK_LOCAL", 1}}},
    {.name = "to a backend elsewhere they go unchanged",
     .maps = serve_backend_there,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .in = asks(later(from(kConsumer), kAsked, kId)),
     .verdict = Verdict::Redirected,
     .out = later(wired(kThere, kLinkVni, kConsumer, kBackend), kAsked, kId),
     .moved = {{"LINK_OUT", 1}}},
    {.name = "from a consumer elsewhere they are rewritten",
     .maps = serve_consumer_there,
     .before = {backbone_brings(first(kIn, kAsked, kId))},
     .in = backbone_brings(later(kIn, kAsked, kId)),
     .verdict = Verdict::Redirected,
     .out = later(to(kBackend), kServed, kFirstSentId),
     .moved = {{"LINK_IN", 1}}},
    {.name = "an answer's fragments from elsewhere are handed over",
     .maps = serve_backend_there,
     .before = {asks(first(from(kConsumer), kAsked, kId)),
                backbone_brings(first(kOut, kReturned, 77))},
     .in = backbone_brings(later(kOut, kReturned, 77)),
     .verdict = Verdict::Redirected,
     .out = later(to(kConsumer), kReturned, 77),
     .moved = {{"LINK_IN", 1}}},
    {.name = "pieces of TCP are carried, too",
     .before = handshake(),
     .in = consumer_sends(request().fragment(kMore).payload(44)),
     .verdict = Verdict::Redirected,
     .out = asked().fragment(kMore).ip_id(kFirstSentId).payload(44),
     .moved = {{"LINK_LOCAL", 1}},
     .flows = 2},
};

Packet first_of_tcp(std::size_t bytes) {
    return from(kConsumer)
        .ipv4(kClient, kEndpoint)
        .protocol(IPPROTO_TCP)
        .fragment(kMore)
        .payload(bytes);
}

const std::vector<Row> kDropped = {
    {.name = "a later fragment without a first one is dropped",
     .maps = serve_here,
     .in = asks(later(from(kConsumer), kAsked, kId)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}},
     .flows = 0},
    {.name = "another identification is another packet",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .in = asks(later(from(kConsumer), kAsked, kId + CV_FRAGMENT_SLOTS)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
    {.name = "a fragment may not write over the ports",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .in = asks(cut(from(kConsumer), kAsked, kId, kMore | 0, 0, 0)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
    {.name = "nor over TCP's flags",
     .before = {consumer_sends(request().syn().fragment(kMore).payload(44))},
     .in = consumer_sends(request().fragment(kMore | 1).payload(44)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
    {.name = "a first fragment with the ports alone is too small for TCP",
     .in = consumer_sends(first_of_tcp(8)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}},
     .flows = 0},
    {.name = "another protocol's fragments are not the flow's",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .in = asks(later(from(kConsumer), kAsked, kId).protocol(IPPROTO_TCP)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
    {.name = "a revoked link carries no later fragment",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .meanwhile = reject,
     .in = asks(later(from(kConsumer), kAsked, kId)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_REFUSED", 1}}},
    {.name = "a later fragment opens nothing after a new approval",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .meanwhile = approve_anew,
     .in = asks(later(from(kConsumer), kAsked, kId)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.LINK_STALE", 1}, {"FLOW_REMOVED", 2}},
     .flows = 0},
    {.name = "a neighbour's fragment does not follow another NIC's",
     .maps = serve_here,
     .before = {asks(first(from(kConsumer), kAsked, kId))},
     .in = neighbour_sends(later(from(kNeighbour), {kPeer, kEndpoint, kClientPort, kPort}, kId)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
    {.name = "from the backbone another NIC's fragment does not follow, either",
     .maps =
         [](World& world) { serve(world, {.consumer_node = kThere, .neighbour_node = kThere}); },
     .before = {backbone_brings(first(kIn, kAsked, kId))},
     .in = backbone_brings(later(tunnel(kLinkVni, kNeighbour, kBackend), kAsked, kId)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
    {.name = "an echo in pieces is not answered",
     .maps = serve_here,
     .in = asks(from(kConsumer).ipv4(kClient, kEndpoint).fragment(kMore).ping(1).payload(64)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.FRAGMENT", 1}}},
};

CULVERT_PACKET_ROWS(FragmentsCarried, kCarried);
CULVERT_PACKET_ROWS(FragmentsDropped, kDropped);

// Fragments that only begin take a NIC's own places, never another's.
TEST(Fragments, OneNicForgetsNoOthers) {
    devices();
    World world;
    serve(world);
    world.rule(kService, kPort, kPool, kBackendPort, 300, 5, IPPROTO_UDP);
    EXPECT_EQ(send(world, asks(first(from(kConsumer), kAsked, kId))), Verdict::Redirected);
    const Ends neighbours{kPeer, kEndpoint, kClientPort, kPort};
    for (std::uint16_t id = 0; id < 200; id++) {
        EXPECT_EQ(send(world, neighbour_sends(first(from(kNeighbour), neighbours, id))),
                  Verdict::Redirected);
    }
    EXPECT_EQ(send(world, asks(later(from(kConsumer), kAsked, kId))), Verdict::Redirected);
}

}  // namespace
}  // namespace culvert::packet
