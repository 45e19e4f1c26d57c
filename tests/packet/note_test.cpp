// SPDX-License-Identifier: Apache-2.0
// Notes between agents: whose come into the ring, and what is turned away before.
#include "tests/packet/row.hpp"

#include "abi/note.h"

#include "bpf/datapath.skel.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>

#include <cstring>

namespace culvert::packet {
namespace {

struct Note {
    std::uint32_t from = kThere;  // whose address the outer header has
    std::uint32_t origin = kThere, target = kHere;
    std::uint32_t vni = CV_VNI_LINK;
    std::uint8_t version = CV_NOTE_VERSION;
    std::size_t rows = 2;
};

Bytes body(const Note& note) {
    cv_note_wire wire{};
    wire.version = note.version;
    wire.kind = CV_NOTE_NEWS;
    wire.rows = htons(static_cast<std::uint16_t>(note.rows));
    wire.origin = htonl(note.origin);
    wire.target = htonl(note.target);
    Bytes bytes(sizeof(wire) + note.rows * sizeof(cv_note_row), 7);
    std::memcpy(bytes.data(), &wire, sizeof(wire));
    return bytes;
}

Packet frame(const Note& note) {
    const net::Mac near{{0x02, 0, 0, 0, 0, 1}}, far{{0x02, 0, 0, 0, 0, 2}};
    return Packet()
        .eth(far, near)
        .ipv4(node_address(note.from), node_address(kHere))
        .udp(kWirePort, kVxlanPort)
        .no_checksum()
        .vxlan(note.vni)
        .eth(mac(kRouter), mac(kRouter), CV_NOTE_ETHERTYPE)
        .raw(body(note));
}

const std::vector<Row> kNotes = {
    {.name = "a known node's note is taken",
     .in = backbone_brings(frame({})),
     .verdict = Verdict::Dropped,
     .moved = {{"NOTE_HEARD", 1}}},
    {.name = "one in another node's name is not",
     .in = backbone_brings(frame({.origin = kElsewhere})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_SOURCE", 1}}},
    {.name = "nor one of a node that nobody knows",
     .in = backbone_brings(frame({.from = 9, .origin = 9})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_SOURCE", 1}}},
    {.name = "nor one whose node is no index",
     .in = backbone_brings(frame({.origin = 0xffffffff})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_SOURCE", 1}}},
    {.name = "one to another node is astray",
     .in = backbone_brings(frame({.target = kElsewhere})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.ECHO_STRAY", 1}}},
    {.name = "one of another version is not understood",
     .in = backbone_brings(frame({.version = CV_NOTE_VERSION + 1})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "one inside a link is none",
     .in = backbone_brings(frame({.vni = CV_VNI_LINK | kLink})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "one that is too long is cut off nowhere but refused",
     .in = backbone_brings(frame({.rows = CV_NOTE_ROWS + 1})),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
    {.name = "one that ends early is malformed",
     .in = backbone_brings(frame({}).cut(14 + 50 + sizeof(cv_note_wire) - 1)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MALFORMED", 1}}},
};

CULVERT_PACKET_ROWS(Notes, kNotes);

// What the ring holds, one note after the other.
std::vector<Bytes> take_all(const World& world) {
    std::vector<Bytes> out;
    const auto take = [](void* into, void* data, std::size_t bytes) {
        const auto* note = static_cast<const cv_note*>(data);
        EXPECT_EQ(bytes, sizeof(*note));
        EXPECT_EQ(note->node, kThere);
        static_cast<std::vector<Bytes>*>(into)->emplace_back(note->data, note->data + note->bytes);
        return 0;
    };
    auto* ring = ring_buffer__new(bpf_map__fd(world.skeleton().maps.cv_notes), take, &out, nullptr);
    EXPECT_NE(ring, nullptr);
    ring_buffer__consume(ring);
    ring_buffer__free(ring);
    return out;
}

TEST(NoteRing, HoldsNotesWholeAndTellsWhatItLost) {
    devices();
    World world;
    one_link(world);
    for (const std::size_t rows : {std::size_t{0}, std::size_t{CV_NOTE_ROWS}}) {
        const Note note{.rows = rows};
        const auto sent = backbone_brings(frame(note));
        world.send(sent.hook, sent.ifindex, sent.packet.bytes());
        const auto heard = take_all(world);
        ASSERT_EQ(heard.size(), 1U);
        EXPECT_EQ(heard[0], body(note));
    }
    // what nobody reads is counted, not waited for; each node has a budget besides
    world.moved();
    Moved moved;
    const auto sent = backbone_brings(frame({}));
    for (int turn = 0; turn < 100000 && moved["drop.NOTE_LOST"] == 0; ++turn) {
        world.send(sent.hook, sent.ifindex, sent.packet.bytes());
        for (const auto& [name, value] : world.moved()) {
            moved[name] += value;
        }
    }
    EXPECT_GT(moved["drop.NOTE_LOST"], 0U);
    EXPECT_EQ(moved["NOTE_HEARD"], take_all(world).size());
}

}  // namespace
}  // namespace culvert::packet
