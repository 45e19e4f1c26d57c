// SPDX-License-Identifier: Apache-2.0
#include "agent/challenge.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cstddef>

namespace culvert::agent {
namespace {

constexpr std::size_t kEthernetBytes = 14;
constexpr std::size_t kIpBytes = 20;
constexpr std::size_t kTcpBytes = 20;
constexpr std::size_t kTcpAt = kEthernetBytes + kIpBytes;
constexpr std::uint8_t kAck = 0x10;
constexpr std::uint8_t kTimeToLive = 64;

void put16(ChallengeFrame& frame, std::size_t at, std::uint32_t value) {
    frame[at] = static_cast<std::uint8_t>(value >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(value);
}
void put32(ChallengeFrame& frame, std::size_t at, std::uint32_t value) {
    put16(frame, at, value >> 16);
    put16(frame, at + 2, value & 0xffff);
}

std::uint32_t words(const ChallengeFrame& frame, std::size_t at, std::size_t bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = at; i < at + bytes; i += 2) {
        sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
    }
    return sum;
}
std::uint32_t checksum(std::uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

}  // namespace

ChallengeFrame make_challenge(std::uint32_t nic, const Endpoint& from, const Endpoint& to,
                              std::uint32_t sequence) {
    constexpr std::uint32_t kRouter = 0;
    constexpr std::size_t kSourceAt = kEthernetBytes + 12;
    ChallengeFrame out{};
    const auto target = net::Mac::of_nic(nic).bytes;
    const auto source = net::Mac::of_nic(kRouter).bytes;
    std::ranges::copy(source, std::ranges::copy(target, out.begin()).out);
    put16(out, 12, 0x0800);
    put16(out, kEthernetBytes, 0x4500);
    put16(out, kEthernetBytes + 2, kIpBytes + kTcpBytes);
    put16(out, kEthernetBytes + 6, 0x4000);  // not to be fragmented
    put16(out, kEthernetBytes + 8, kTimeToLive << 8 | IPPROTO_TCP);
    put32(out, kSourceAt, from.address.value);
    put32(out, kSourceAt + 4, to.address.value);
    put16(out, kEthernetBytes + 10, checksum(words(out, kEthernetBytes, kIpBytes)));
    put16(out, kTcpAt, from.port);
    put16(out, kTcpAt + 2, to.port);
    put32(out, kTcpAt + 4, sequence);
    put16(out, kTcpAt + 12, kTcpBytes / 4 << 12 | kAck);
    const std::uint32_t pseudo = words(out, kSourceAt, 8) + IPPROTO_TCP + kTcpBytes;
    put16(out, kTcpAt + 16, checksum(pseudo + words(out, kTcpAt, kTcpBytes)));
    return out;
}

}  // namespace culvert::agent
