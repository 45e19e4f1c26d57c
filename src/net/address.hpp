// SPDX-License-Identifier: Apache-2.0
// Values: IPv4 addresses and prefixes, MAC addresses. Parsing is strict (RFC 6943 3.1.1: dotted
// decimal, four parts, no leading zeros); no resolver is ever asked.
#pragma once

#include "base/result.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace culvert::net {

// Host byte order inside; to_be()/from_be() at the rim.
struct Ipv4 {
    std::uint32_t value = 0;

    static Result<Ipv4> parse(std::string_view text);
    static Ipv4 from_be(std::uint32_t be);
    std::uint32_t to_be() const;
    std::string str() const;
    auto operator<=>(const Ipv4&) const = default;
};

// `base` has no bit set below `length` once parsed (parse rejects 10.0.0.1/24 and
// names 10.0.0.0/24).
struct Ipv4Prefix {
    Ipv4 base;
    std::uint8_t length = 0;

    static Result<Ipv4Prefix> parse(std::string_view text);
    std::uint32_t mask() const;
    bool contains(Ipv4 address) const;
    bool contains(const Ipv4Prefix& other) const;
    bool overlaps(const Ipv4Prefix& other) const;
    std::uint64_t size() const;  // number of addresses
    Ipv4 first() const { return base; }
    Ipv4 last() const;
    std::string str() const;
    auto operator<=>(const Ipv4Prefix&) const = default;
};

struct Mac {
    std::array<std::uint8_t, 6> bytes{};

    // The locally administered MAC of a NIC index: 02:cf then the index, most significant byte
    // first. Index 0 is the router's (abi/wire.h CV_MAC_OUI).
    static Mac of_nic(std::uint32_t index);
    static Result<Mac> parse(std::string_view text);
    std::string str() const;      // 02:cf:00:00:00:07
    std::string arm_str() const;  // 02-CF-00-00-00-07, as ARM shows it
    auto operator<=>(const Mac&) const = default;
};

}  // namespace culvert::net
