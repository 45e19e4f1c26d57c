// SPDX-License-Identifier: Apache-2.0
// Packets from words: layers are named outside in, lengths and checksums are filled when the bytes
// are taken.
#pragma once

#include "net/address.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace culvert::packet {

using Bytes = std::vector<std::uint8_t>;

// An IPv4 address in network order; the literal must be valid.
std::uint32_t ip(std::string_view text);

// An IPv6 address; the literal must be valid.
using Ipv6 = std::array<std::uint8_t, 16>;
Ipv6 six(const std::string& text);

// 0 where a packet says "whatever the data plane chose".
inline constexpr std::uint16_t kAnyPort = 0;

struct EthLayer {
    net::Mac source, destination;
    std::uint16_t type = 0x0800;
};
struct ArpLayer {
    std::uint16_t operation = 1;
    net::Mac sender_mac, target_mac;
    std::uint32_t sender = 0, target = 0;
    std::uint8_t address_bytes = 4;
};
struct Ipv4Layer {
    std::uint32_t source = 0, destination = 0;
    std::uint16_t id = 7, fragment = 0x4000;  // DF
    std::uint8_t ttl = 64, protocol = 0, version = 4;
    std::uint8_t tos = 0;
    std::uint8_t options = 0;  // bytes of no-operation options, a multiple of four
    std::int32_t length_error = 0;
};
struct Ipv6Layer {
    Ipv6 source{}, destination{};
    std::uint8_t hops = 64, traffic_class = 0;
    std::optional<std::uint8_t> next = {};
    std::uint32_t label = 0;
    std::int32_t length_error = 0;
};
struct TcpLayer {
    std::uint16_t source = 0, destination = 0;
    std::uint8_t flags = 0x10, words = 5;
    std::uint32_t sequence = 1000, acknowledged = 2000;
    std::uint16_t window = 0xffff;
};
struct UdpLayer {
    std::uint16_t source = 0, destination = 0;
    bool checksum = true;
};
struct IcmpLayer {
    std::uint8_t type = 0, code = 0;
    std::uint32_t rest = 0;  // of the header
};
struct Icmpv6Layer {
    std::uint8_t type = 0, code = 0;
    std::uint32_t rest = 0;  // of the header
};
struct VxlanLayer {
    std::uint32_t vni = 0;
    std::uint8_t flags = 0x08;
    std::uint8_t reserved = 0;  // the byte after the flags
};
struct RawLayer {
    Bytes bytes;
};

// A value; every call adds a layer inside those before it, or changes the innermost one.
class Packet {
  public:
    Packet& eth(net::Mac source, net::Mac destination, std::uint16_t type = 0x0800);
    Packet& arp_request(net::Mac sender_mac, std::uint32_t sender, std::uint32_t target);
    Packet& arp_reply(net::Mac sender_mac, std::uint32_t sender, net::Mac target_mac,
                      std::uint32_t target);
    Packet& ipv4(std::uint32_t source, std::uint32_t destination);
    Packet& ipv6(const Ipv6& source, const Ipv6& destination);     // also sets the Ethernet type
    Packet& tcp(std::uint16_t source, std::uint16_t destination);  // an ACK unless told otherwise
    Packet& udp(std::uint16_t source, std::uint16_t destination);
    Packet& icmp(std::uint8_t type, std::uint8_t code, std::uint32_t rest = 0);
    Packet& icmpv6(std::uint8_t type, std::uint8_t code, std::uint32_t rest = 0);
    Packet& ping(std::uint16_t sequence) { return icmp(8, 0, 0x1234u << 16 | sequence); }
    Packet& pong(std::uint16_t sequence) { return icmp(0, 0, 0x1234u << 16 | sequence); }
    // The first `bytes` of another packet, as an ICMP error quotes it.
    Packet& quote(const Packet& other, std::size_t bytes);
    Packet& vxlan(std::uint32_t vni);
    Packet& payload(std::size_t bytes);
    Packet& raw(Bytes bytes);

    Packet& syn() { return tcp_flags(0x02); }
    Packet& syn_ack() { return tcp_flags(0x12); }
    Packet& fin() { return tcp_flags(0x11); }
    Packet& rst() { return tcp_flags(0x04); }
    Packet& tcp_flags(std::uint8_t flags);
    Packet& tcp_words(std::uint8_t words);
    // The reset by which the data plane answers a segment with ACK, and one without whose length
    // (SYN and FIN count) is `length`; both as other segments are numbered here.
    Packet& resets_ack() { return reset_by(0x04, 2000, 0); }
    Packet& resets(std::uint32_t length) { return reset_by(0x14, 0, 1000 + length); }
    Packet& fragment(std::uint16_t field);
    Packet& ip_options(std::uint8_t bytes);
    Packet& ip_version(std::uint8_t version);
    Packet& ip_length_error(std::int32_t error);
    Packet& protocol(std::uint8_t number);
    Packet& ip_id(std::uint16_t id);
    Packet& ttl(std::uint8_t hops);
    Packet& hops(std::uint8_t limit);
    Packet& next_header(std::uint8_t number);
    Packet& traffic_class(std::uint8_t octet, std::uint32_t label);
    Packet& ipv6_length_error(std::int32_t error);
    Packet& tos(std::uint8_t octet);
    Packet& no_checksum();
    Packet& vxlan_flags(std::uint8_t flags);
    Packet& vxlan_reserved(std::uint8_t byte);  // the one after the flags
    Packet& arp_address_bytes(std::uint8_t bytes);
    Packet& cut(std::size_t bytes);  // keeps only the first `bytes` of the frame

    Bytes bytes() const;
    bool empty() const { return layers_.empty(); }

  private:
    Packet& reset_by(std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledged);

    using Layer = std::variant<EthLayer, ArpLayer, Ipv4Layer, Ipv6Layer, TcpLayer, UdpLayer,
                               IcmpLayer, Icmpv6Layer, VxlanLayer, RawLayer>;

    template <typename T>
    T& last();

    std::vector<Layer> layers_;
    std::size_t cut_ = 0;
};

// One line a layer, for messages of failed tests.
std::string describe(const Bytes& frame);

}  // namespace culvert::packet
