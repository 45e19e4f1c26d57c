// SPDX-License-Identifier: Apache-2.0
#include "net/ipv6.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace culvert::net {
namespace {

constexpr std::uint8_t kBits = 128;

// The address with nothing below `length`.
Ipv6 masked(const Ipv6& address, std::uint8_t length) {
    Ipv6 out;
    for (std::size_t at = 0; at < out.bytes.size(); ++at) {
        const auto left = static_cast<int>(length) - static_cast<int>(at * 8);
        const auto mask = static_cast<std::uint8_t>(0xff00u >> std::clamp(left, 0, 8));
        out.bytes[at] = address.bytes[at] & mask;
    }
    return out;
}

}  // namespace

Result<Ipv6> Ipv6::parse(std::string_view text) {
    Ipv6 out;
    const std::string whole(text);
    if (whole.find('\0') != std::string::npos ||
        ::inet_pton(AF_INET6, whole.c_str(), out.bytes.data()) != 1) {
        return fail(Code::kInvalidArgument, fmt::format("'{}' is not an IPv6 address", text));
    }
    return out;
}

std::string Ipv6::str() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
    return text.data();
}

Result<Ipv6Prefix> Ipv6Prefix::parse(std::string_view text) {
    const auto wrong = [&] {
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' is not an IPv6 prefix such as fd00:1::/64", text));
    };
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
        return wrong();
    }
    const std::string_view digits = text.substr(slash + 1);
    std::uint8_t length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    const bool plain = !digits.empty() && (digits.size() == 1 || digits.front() != '0');
    const auto base = Ipv6::parse(text.substr(0, slash));
    if (error != std::errc{} || end != digits.data() + digits.size() || !plain || length > kBits ||
        !base) {
        return wrong();
    }
    const Ipv6Prefix meant{masked(*base, length), length};
    if (meant.base != *base) {
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' has bits set below its length, use '{}'", text, meant.str()));
    }
    return meant;
}

bool Ipv6Prefix::contains(const Ipv6& address) const { return masked(address, length) == base; }
bool Ipv6Prefix::contains(const Ipv6Prefix& other) const {
    return other.length >= length && contains(other.base);
}
bool Ipv6Prefix::overlaps(const Ipv6Prefix& other) const {
    return contains(other) || other.contains(*this);
}

Ipv6 Ipv6Prefix::joined(Ipv4 low) const {
    Ipv6 out = base;
    for (std::size_t at = 0; at < 4; ++at) {
        out.bytes[12 + at] = static_cast<std::uint8_t>(low.value >> (24 - 8 * at));
    }
    return out;
}

std::string Ipv6Prefix::str() const { return fmt::format("{}/{}", base.str(), length); }

bool looks_like_ipv6(std::string_view text) { return text.find(':') != std::string_view::npos; }

}  // namespace culvert::net
