// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/frame.hpp"

#include <arpa/inet.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace culvert::oracle {
namespace {

constexpr std::size_t kIpBytes = 20, kSourceAt = 12, kDestinationAt = 16, kChecksumAt = 10;

std::uint16_t word(const Bytes& bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}
void put(Bytes& bytes, std::size_t at, std::uint16_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

std::string dotted(std::uint32_t address) {
    std::array<char, INET_ADDRSTRLEN> out{};
    inet_ntop(AF_INET, &address, out.data(), out.size());
    return out.data();
}

}  // namespace

Bytes Frame::behind(packet::Packet ethernet) const {
    auto& ip = ethernet.ipv4(at.source, at.destination).ip_id(id).fragment(fragment);
    if (options) {
        ip.ip_options(options);
    }
    if (is_later() || (at.protocol != kTcp && at.protocol != kUdp && at.protocol != kIcmp)) {
        return ip.protocol(at.protocol).payload(bytes).bytes();
    }
    if (at.protocol == kTcp) {
        return ip.tcp(at.sport, at.dport).tcp_flags(flags).payload(bytes).bytes();
    }
    if (at.protocol == kUdp) {
        ip.udp(at.sport, at.dport);
        return (checksum ? ip : ip.no_checksum()).payload(bytes).bytes();
    }
    ip.icmp(type, code, rest);
    return quote.empty() ? ip.payload(bytes).bytes() : ip.raw(quote).bytes();
}

Bytes Frame::quoted(std::size_t transport_bytes) const {
    Bytes whole = behind({});
    whole.resize(std::min(whole.size(), kIpBytes + transport_bytes));
    return whole;
}

Tuple tuple_of(const Bytes& quote) {
    Tuple ends;
    std::memcpy(&ends.source, quote.data() + kSourceAt, 4);
    std::memcpy(&ends.destination, quote.data() + kDestinationAt, 4);
    ends.sport = word(quote, kIpBytes);
    ends.dport = word(quote, kIpBytes + 2);
    ends.protocol = quote[9];
    return ends;
}

Bytes with_tuple(Bytes quote, const Tuple& ends) {
    std::memcpy(quote.data() + kSourceAt, &ends.source, 4);
    std::memcpy(quote.data() + kDestinationAt, &ends.destination, 4);
    put(quote, kIpBytes, ends.sport);
    put(quote, kIpBytes + 2, ends.dport);
    put(quote, kChecksumAt, 0);
    std::uint32_t sum = 0;
    for (std::size_t at = 0; at < kIpBytes; at += 2) {
        sum += word(quote, at);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    put(quote, kChecksumAt, static_cast<std::uint16_t>(~sum));
    return quote;
}

std::string text(const Frame& frame) {
    std::string out = fmt::format("{}:{} > {}:{} proto {}", dotted(frame.at.source), frame.at.sport,
                                  dotted(frame.at.destination), frame.at.dport, frame.at.protocol);
    if (frame.at.protocol == kTcp) {
        out += fmt::format(" flags {:#x}", frame.flags);
    }
    if (frame.at.protocol == kIcmp) {
        out += fmt::format(" type {}", frame.type);
    }
    if (frame.is_fragment()) {
        out += fmt::format(" fragment {:#x} of {}", frame.fragment, frame.id);
    }
    if (frame.options) {
        out += " with options";
    }
    return out + fmt::format(", {} bytes", frame.bytes);
}

}  // namespace culvert::oracle
