// SPDX-License-Identifier: Apache-2.0
// Values: IPv6 addresses and prefixes. Text as RFC 4291 2.2 allows it in, and as RFC 5952 4 wants
// it out.
#pragma once

#include "net/address.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace culvert::net {

struct Ipv6 {
    std::array<std::uint8_t, 16> bytes{};

    static Result<Ipv6> parse(std::string_view text);
    std::string str() const;
    auto operator<=>(const Ipv6&) const = default;
};

// `base` has no bit set below `length` once parsed.
struct Ipv6Prefix {
    Ipv6 base;
    std::uint8_t length = 0;

    static Result<Ipv6Prefix> parse(std::string_view text);
    bool contains(const Ipv6& address) const;
    bool contains(const Ipv6Prefix& other) const;
    bool overlaps(const Ipv6Prefix& other) const;
    // The address in it whose last four bytes are those of an IPv4 address.
    Ipv6 joined(Ipv4 low) const;
    std::string str() const;
    auto operator<=>(const Ipv6Prefix&) const = default;
};

// Whether a text is meant to be of this family.
bool looks_like_ipv6(std::string_view text);

}  // namespace culvert::net
