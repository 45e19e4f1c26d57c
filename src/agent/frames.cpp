// SPDX-License-Identifier: Apache-2.0
#include "agent/frames.hpp"

#include "abi/six.h"
#include "net/ipv6.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>

namespace culvert::agent {
namespace {

constexpr std::uint32_t kRouter = 0;
constexpr std::size_t kEthernetBytes = 14;
constexpr std::size_t kIpBytes = 20;
constexpr std::size_t kSixBytes = 40;
constexpr std::size_t kTcpBytes = 20;
constexpr std::size_t kAdvertisementBytes = 32;
constexpr std::uint8_t kAck = 0x10;
constexpr std::uint8_t kTimeToLive = 64;
constexpr std::uint8_t kOwnLink = 255;  // hops of what no router may pass on
constexpr net::Ipv6 kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr std::array<std::uint8_t, 6> kAllNodesMac{0x33, 0x33, 0, 0, 0, 1};

template <typename Bytes>
void put(Frame& frame, const Bytes& bytes) {
    frame.insert(frame.end(), std::begin(bytes), std::end(bytes));
}
void put16(Frame& frame, std::initializer_list<std::uint32_t> values) {
    for (const std::uint32_t value : values) {
        frame.push_back(static_cast<std::uint8_t>(value >> 8));
        frame.push_back(static_cast<std::uint8_t>(value));
    }
}
void put32(Frame& frame, std::uint32_t value) { put16(frame, {value >> 16, value}); }

// RFC 1071 of what comes from `at` on, of an even number of bytes, and of `more`.
void set_checksum(Frame& frame, std::size_t where, std::size_t at, std::uint32_t more = 0) {
    std::uint32_t sum = more;
    for (std::size_t i = at; i < frame.size(); i += 2) {
        sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    frame[where] = static_cast<std::uint8_t>(sum >> 8);
    frame[where + 1] = static_cast<std::uint8_t>(sum);
}

Frame begin(const std::array<std::uint8_t, 6>& target, std::uint32_t type) {
    Frame out;
    put(out, target);
    put(out, net::Mac::of_nic(kRouter).bytes);
    put16(out, {type});
    return out;
}

void put_six(Frame& frame, const net::Ipv6& from, const net::Ipv6& to, std::size_t bytes,
             std::uint32_t next_and_hops) {
    put16(frame, {0x6000, 0, static_cast<std::uint32_t>(bytes), next_and_hops});
    put(frame, from.bytes);
    put(frame, to.bytes);
}

}  // namespace

Frame make_challenge(std::uint32_t nic, const Endpoint& from, const Endpoint& to,
                     std::uint32_t sequence) {
    constexpr std::size_t kAddressesAt = kEthernetBytes + 12;
    constexpr std::size_t kTcpAt = kEthernetBytes + kIpBytes;
    Frame out = begin(net::Mac::of_nic(nic).bytes, 0x0800);
    put16(out, {0x4500, kIpBytes + kTcpBytes, 0, 0x4000});  // not to be fragmented
    put16(out, {kTimeToLive << 8 | IPPROTO_TCP, 0});
    put32(out, from.address.value);
    put32(out, to.address.value);
    set_checksum(out, kEthernetBytes + 10, kEthernetBytes);
    put16(out, {from.port, to.port});
    put32(out, sequence);
    put32(out, 0);
    put16(out, {kTcpBytes / 4 << 12 | kAck, 0, 0, 0});
    set_checksum(out, kTcpAt + 16, kAddressesAt, IPPROTO_TCP + kTcpBytes);
    return out;
}

Frame make_advertisement(std::uint32_t mtu) {
    constexpr std::size_t kAddressesAt = kEthernetBytes + 8;
    constexpr std::size_t kMessageAt = kEthernetBytes + kSixBytes;
    constexpr std::uint32_t kHopsAndFlags = kTimeToLive << 8 | 0xc0;  // addresses by DHCPv6
    Frame out = begin(kAllNodesMac, 0x86dd);
    put_six(out, kSixRouter, kAllNodes, kAdvertisementBytes, IPPROTO_ICMPV6 << 8 | kOwnLink);
    put16(out, {134 << 8, 0, kHopsAndFlags, CV_ADVERTISED_S, 0, 0, 0, 0});
    put16(out, {1 << 8 | 1});  // the router's MAC
    put(out, net::Mac::of_nic(kRouter).bytes);
    put16(out, {5 << 8 | 1, 0});
    put32(out, mtu);
    set_checksum(out, kMessageAt + 2, kAddressesAt, IPPROTO_ICMPV6 + kAdvertisementBytes);
    return out;
}

}  // namespace culvert::agent
