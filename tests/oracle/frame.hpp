// SPDX-License-Identifier: Apache-2.0
// An IPv4 packet apart from its bytes: what the oracle reasons about, and how it looks on a wire.
#pragma once

#include "tests/packet/packet.hpp"

#include <cstdint>
#include <string>

namespace culvert::oracle {

using packet::Bytes;

inline constexpr std::uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kGre = 47, kSctp = 132;
inline constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
inline constexpr std::uint8_t kEchoReply = 0, kUnreachable = 3, kEcho = 8, kTimeExceeded = 11;
inline constexpr std::uint16_t kDontFragment = 0x4000, kMoreFragments = 0x2000, kOffset = 0x1fff;

// Addresses as in the packet, ports in host order.
struct Tuple {
    std::uint32_t source = 0, destination = 0;
    std::uint16_t sport = 0, dport = 0;
    std::uint8_t protocol = kTcp;

    Tuple turned() const { return {destination, source, dport, sport, protocol}; }
    auto operator<=>(const Tuple&) const = default;
};

struct Frame {
    Tuple at;                 // of an ICMP packet and of a later fragment the ports mean nothing
    std::uint8_t flags = 0;   // TCP's
    bool checksum = true;     // UDP's
    std::uint16_t bytes = 8;  // of payload
    std::uint16_t id = 7, fragment = kDontFragment;
    std::uint8_t options = 0;  // bytes of IP options
    std::uint8_t type = 0, code = 0;
    std::uint32_t rest = 0;  // of the ICMP header
    Bytes quote;             // by an ICMP error

    bool is_later() const { return fragment & kOffset; }
    bool is_fragment() const { return fragment & (kOffset | kMoreFragments); }
    bool is_error() const {
        return at.protocol == kIcmp && (type == kUnreachable || type == kTimeExceeded);
    }
    // Behind an Ethernet header, or behind nothing.
    Bytes behind(packet::Packet ethernet) const;
    // What a receiver of it quotes.
    Bytes quoted(std::size_t transport_bytes = 8) const;
};

// Of the packet that an ICMP error quotes; its protocol is TCP or UDP.
Tuple tuple_of(const Bytes& quote);
// The quoted packet with other ends; its transport checksum stays.
Bytes with_tuple(Bytes quote, const Tuple& ends);

std::string text(const Frame& frame);

}  // namespace culvert::oracle
