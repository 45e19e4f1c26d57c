// SPDX-License-Identifier: Apache-2.0
// DHCP: a workload that asks is told its NIC's address, by this node, and nobody else is.
#include "tests/packet/usual.hpp"

#include <algorithm>
#include <initializer_list>

namespace culvert::packet {
namespace {

const std::uint32_t kPlatform = ip("168.63.129.16"), kNowhere = ip("0.0.0.0"),
                    kEverybody = ip("255.255.255.255"), kGateway = ip("10.0.0.1"),
                    kMask = ip("255.255.255.0"), kDnsOne = ip("10.0.0.53"),
                    kDnsTwo = ip("10.0.0.54");
constexpr std::uint8_t kDiscover = 1, kOffer = 2, kRequest = 3, kDecline = 4, kAck = 5, kNak = 6,
                       kRelease = 7, kInform = 8;
constexpr std::uint16_t kServerPort = 67, kAskerPort = 68, kMtu = 1450;
constexpr std::size_t kFixed = 240, kOptions = 62;

cv_lease lease(std::initializer_list<std::uint32_t> dns = {}) {
    cv_lease out{};
    out.gateway = kGateway;
    out.mask = kMask;
    out.mtu = static_cast<std::uint16_t>(kMtu >> 8 | kMtu << 8);
    std::ranges::copy(dns, std::begin(out.dns));
    out.dns_count = static_cast<std::uint8_t>(dns.size());
    return out;
}
void leased(World& world) {
    one_link(world);
    world.lease(kConsumer, lease());
}
void with_names(World& world) {
    one_link(world);
    world.lease(kConsumer, lease({kDnsOne, kDnsTwo}));
}

void put(Bytes& out, std::uint32_t address) {
    for (int shift = 0; shift < 32; shift += 8) {
        out.push_back(static_cast<std::uint8_t>(address >> shift));
    }
}
void put(Bytes& out, std::initializer_list<int> bytes) {
    for (const int byte : bytes) {
        out.push_back(static_cast<std::uint8_t>(byte));
    }
}

// RFC 2131 2, up to the options.
struct Message {
    std::uint8_t operation = 1, hardware = 1, hardware_bytes = 6, hops = 0;
    std::uint8_t seconds = 0;
    bool broadcast = false;
    std::uint32_t client = 0, yours = 0, relay = 0;
    std::uint32_t mac_of = kConsumer;
    std::uint8_t cookie = 99;
    Bytes options = {};

    Bytes bytes() const {
        Bytes out;
        put(out, {operation, hardware, hardware_bytes, hops, 0xde, 0xad, 0xbe, 0xef, 0, seconds,
                  broadcast ? 0x80 : 0, 0});
        put(out, client);
        put(out, yours);
        put(out, {0, 0, 0, 0});
        put(out, relay);
        const auto mac_bytes = mac(mac_of).bytes;
        out.insert(out.end(), mac_bytes.begin(), mac_bytes.end());
        out.resize(kFixed - 4);
        put(out, {cookie, 130, 83, 99});
        out.insert(out.end(), options.begin(), options.end());
        return out;
    }
};

Bytes asks(std::uint8_t kind, std::uint32_t wanted = 0, std::uint32_t server = 0) {
    Bytes out;
    put(out, {53, 1, kind});
    if (wanted != 0) {
        put(out, {50, 4});
        put(out, wanted);
    }
    if (server != 0) {
        put(out, {54, 4});
        put(out, server);
    }
    put(out, {0, 55, 3, 1, 3, 26, 255});  // padding, a list of what is asked for, the end
    return out;
}

Packet to_everybody(std::uint32_t nic, std::uint32_t source) {
    return Packet().eth(mac(nic), {{255, 255, 255, 255, 255, 255}}).ipv4(source, kEverybody);
}
// By a client without an address.
Packet from_nowhere(std::uint32_t nic = kConsumer) {
    return to_everybody(nic, kNowhere).fragment(0);
}
Packet asking(const Message& message) {
    return from_nowhere().udp(kAskerPort, kServerPort).raw(message.bytes());
}
Packet asking(const Bytes& options) { return asking(Message{.options = options}); }
// By one that has its address.
Packet asking_platform(const Message& message) {
    return from(kConsumer)
        .ipv4(kClient, kPlatform)
        .udp(kAskerPort, kServerPort)
        .raw(message.bytes());
}

Bytes told(std::uint8_t kind, const Bytes& dns = {}, bool lasting = true) {
    Bytes out;
    put(out, {53, 1, kind, 54, 4, 168, 63, 129, 16});
    put(out, lasting ? std::initializer_list<int>{51, 4, 0, 0, 14, 16}
                     : std::initializer_list<int>{0, 0, 0, 0, 0, 0});
    put(out, {1, 4});
    put(out, kMask);
    put(out, {3, 4});
    put(out, kGateway);
    put(out, {26, 2, kMtu >> 8, kMtu & 0xff, 121, 14, 32, 168, 63, 129, 16});
    put(out, kGateway);
    put(out, {0});
    put(out, kGateway);
    out.insert(out.end(), dns.begin(), dns.end());
    out.resize(kOptions - 1);
    put(out, {255});
    return out;
}
Bytes refused() {
    Bytes out;
    put(out, {53, 1, kNak, 54, 4, 168, 63, 129, 16});
    out.resize(kOptions - 1);
    put(out, {255});
    return out;
}

Packet telling(const Message& message, std::uint32_t destination) {
    return to(kConsumer)
        .ipv4(kPlatform, destination)
        .ip_id(0)
        .fragment(0)
        .udp(kServerPort, kAskerPort)
        .no_checksum()
        .raw(message.bytes());
}
Packet telling(const Bytes& options) {
    return telling({.operation = 2, .yours = kClient, .options = options}, kClient);
}
Packet renewed() {
    return telling({.operation = 2, .client = kClient, .yours = kClient, .options = told(kAck)},
                   kClient);
}
const Moved kAnswered = {{"DHCP_ANSWERED", 1}};
const Moved kRefused = {{"drop.DHCP", 1}};

const std::vector<Row> kAnswers = {
    {.name = "a workload without an address is offered its NIC's",
     .maps = leased,
     .in = consumer_sends(asking(asks(kDiscover))),
     .verdict = Verdict::Redirected,
     .out = telling(told(kOffer)),
     .moved = kAnswered,
     .flows = 0},
    {.name = "and gets it when it asks for it",
     .maps = leased,
     .in = consumer_sends(asking(asks(kRequest, kClient, kPlatform))),
     .verdict = Verdict::Redirected,
     .out = telling(told(kAck)),
     .moved = kAnswered},
    {.name = "the name servers of its network are told",
     .maps = with_names,
     .in = consumer_sends(asking(asks(kDiscover))),
     .verdict = Verdict::Redirected,
     .out = telling(told(kOffer, {6, 8, 10, 0, 0, 53, 10, 0, 0, 54})),
     .moved = kAnswered},
    {.name = "another address than its own is refused",
     .maps = leased,
     .in = consumer_sends(asking(asks(kRequest, kPeer))),
     .verdict = Verdict::Redirected,
     .out = telling({.operation = 2, .options = refused()}, kEverybody),
     .moved = kAnswered},
    {.name = "who cannot take unicast yet is answered by broadcast",
     .maps = leased,
     .in = consumer_sends(asking(Message{.broadcast = true, .options = asks(kDiscover)})),
     .verdict = Verdict::Redirected,
     .out = telling({.operation = 2, .broadcast = true, .yours = kClient, .options = told(kOffer)},
                    kEverybody),
     .moved = kAnswered},
    {.name = "a lease is renewed with the server that gave it",
     .maps = leased,
     .in = consumer_sends(asking_platform({.client = kClient, .options = asks(kRequest)})),
     .verdict = Verdict::Redirected,
     .out = renewed(),
     .moved = kAnswered},
    {.name = "and by broadcast when that fails",
     .maps = leased,
     .in = consumer_sends(to_everybody(kConsumer, kClient)
                              .udp(kAskerPort, kServerPort)
                              .raw(Message{.client = kClient, .options = asks(kRequest)}.bytes())),
     .verdict = Verdict::Redirected,
     .out = renewed(),
     .moved = kAnswered},
    {.name = "who has its address otherwise is told the rest",
     .maps = leased,
     .in = consumer_sends(asking_platform({.client = kClient, .options = asks(kInform)})),
     .verdict = Verdict::Redirected,
     .out = telling({.operation = 2, .client = kClient, .options = told(kAck, {}, false)}, kClient),
     .moved = kAnswered},
    {.name = "a long request becomes a short answer",
     .maps = leased,
     .in = consumer_sends(asking(asks(kDiscover)).payload(700)),
     .verdict = Verdict::Redirected,
     .out = telling(told(kOffer)),
     .moved = kAnswered},
    {.name = "an address that is given up needs no answer",
     .maps = leased,
     .in = consumer_sends(asking(asks(kDecline, kClient, kPlatform))),
     .verdict = Verdict::Dropped,
     .moved = kRefused},
    {.name = "nor does one that is handed back",
     .maps = leased,
     .in = consumer_sends(asking_platform({.client = kClient, .options = asks(kRelease)})),
     .verdict = Verdict::Dropped,
     .moved = kRefused},
};

Row refuses(std::string name, const Message& message) {
    return {.name = std::move(name),
            .maps = leased,
            .in = consumer_sends(asking(message)),
            .verdict = Verdict::Dropped,
            .moved = kRefused};
}
Bytes endless() {
    Bytes out;
    put(out, {53, 1, kDiscover});
    for (int i = 0; i < CV_LEASE_OPTIONS_MAX; ++i) {
        put(out, {55, 0});
    }
    put(out, {255});
    return out;
}

const std::vector<Row> kRefusals = {
    refuses("an answer is no request", {.operation = 2, .options = asks(kDiscover)}),
    refuses("nor is an offer", {.options = asks(kOffer)}),
    refuses("a message without kind is malformed", {.options = {255}}),
    refuses("options without end are malformed", {.options = {53, 1, kDiscover}}),
    refuses("options beyond the packet are malformed", {.options = {53, 1, kDiscover, 55, 200}}),
    refuses("a kind of two bytes is malformed", {.options = {53, 2, kDiscover, 0, 255}}),
    refuses("an address of five bytes is malformed",
            {.options = {53, 1, kRequest, 50, 5, 10, 0, 0, 4, 0, 255}}),
    refuses("more options than anybody sends are malformed", {.options = endless()}),
    refuses("another cookie is malformed", {.cookie = 98, .options = asks(kDiscover)}),
    refuses("another hardware address than the sender's is malformed",
            {.mac_of = kNeighbour, .options = asks(kDiscover)}),
    refuses("hardware addresses of other sizes are malformed",
            {.hardware_bytes = 16, .options = asks(kDiscover)}),
    refuses("what a relay passed on is malformed", {.relay = kGateway, .options = asks(kDiscover)}),
    refuses("what was chosen of another server is nobody's",
            {.options = asks(kRequest, kClient, kPeer)}),
    {.name = "a request cut short is malformed",
     .maps = leased,
     .in = consumer_sends(from_nowhere().udp(kAskerPort, kServerPort).payload(100)),
     .verdict = Verdict::Dropped,
     .moved = kRefused},
    {.name = "without a lease nothing is known",
     .in = consumer_sends(asking(asks(kDiscover))),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "the lease is that of the interface, whoever asks",
     .maps = leased,
     .in = neighbour_sends(
         from_nowhere(kNeighbour)
             .udp(kAskerPort, kServerPort)
             .raw(Message{.mac_of = kConsumer, .options = asks(kDiscover)}.bytes())),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "without an address there is nothing else to send",
     .maps = leased,
     .in = consumer_sends(to_everybody(kConsumer, kNowhere).udp(kAskerPort, 69).payload(300)),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "nor anybody to send it to",
     .maps = leased,
     .in = consumer_sends(from(kConsumer)
                              .ipv4(kNowhere, kPeer)
                              .udp(kAskerPort, kServerPort)
                              .raw(Message{.options = asks(kDiscover)}.bytes())),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.SPOOFED_ADDRESS", 1}}},
    {.name = "a workload's own server reaches nobody by broadcast",
     .maps = leased,
     .in = consumer_sends(
         to_everybody(kConsumer, kClient)
             .udp(kServerPort, kAskerPort)
             .raw(Message{.operation = 2, .yours = kPeer, .options = asks(kOffer)}.bytes())),
     .verdict = Verdict::Dropped,
     .moved = {{"drop.MULTICAST", 1}}},
};

CULVERT_PACKET_ROWS(DhcpAnswers, kAnswers);
CULVERT_PACKET_ROWS(DhcpRefusals, kRefusals);

}  // namespace
}  // namespace culvert::packet
