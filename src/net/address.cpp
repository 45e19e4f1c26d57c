// SPDX-License-Identifier: Apache-2.0
#include "net/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace culvert::net {
namespace {

// A decimal of at most `max`, without sign, blank or leading zero.
std::optional<std::uint32_t> decimal(std::string_view text, std::uint32_t max) {
    if (text.empty() || text.size() > 3 || (text.size() > 1 && text.front() == '0')) {
        return std::nullopt;
    }
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > max) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

Result<Ipv4> Ipv4::parse(std::string_view text) {
    std::uint32_t value = 0;
    std::string_view rest = text;
    for (int part = 0; part < 4; ++part) {
        const std::size_t dot = part < 3 ? rest.find('.') : rest.size();
        const auto octet =
            dot == std::string_view::npos ? std::nullopt : decimal(rest.substr(0, dot), 255);
        if (!octet) {
            return fail(Code::kInvalidArgument, fmt::format("'{}' is not an IPv4 address", text));
        }
        value = value << 8 | *octet;
        rest.remove_prefix(part < 3 ? dot + 1 : dot);
    }
    return Ipv4{value};
}

Ipv4 Ipv4::from_be(std::uint32_t be) { return Ipv4{ntohl(be)}; }
std::uint32_t Ipv4::to_be() const { return htonl(value); }

std::string Ipv4::str() const {
    return fmt::format("{}.{}.{}.{}", value >> 24, value >> 16 & 255, value >> 8 & 255,
                       value & 255);
}

Result<Ipv4Prefix> Ipv4Prefix::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto length =
        slash == std::string_view::npos ? std::nullopt : decimal(text.substr(slash + 1), 32);
    if (!length) {
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' is not an IPv4 prefix such as 10.0.0.0/16", text));
    }
    auto base = Ipv4::parse(text.substr(0, slash));
    if (!base) {
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' is not an IPv4 prefix such as 10.0.0.0/16", text));
    }
    Ipv4Prefix prefix{*base, static_cast<std::uint8_t>(*length)};
    if ((prefix.base.value & ~prefix.mask()) != 0) {
        const Ipv4Prefix meant{Ipv4{prefix.base.value & prefix.mask()}, prefix.length};
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' has bits set below its length, use '{}'", text, meant.str()));
    }
    return prefix;
}

std::uint32_t Ipv4Prefix::mask() const {
    return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
}
bool Ipv4Prefix::contains(Ipv4 address) const { return (address.value & mask()) == base.value; }
bool Ipv4Prefix::contains(const Ipv4Prefix& other) const {
    return other.length >= length && contains(other.base);
}
bool Ipv4Prefix::overlaps(const Ipv4Prefix& other) const {
    return contains(other.base) || other.contains(base);
}
std::uint64_t Ipv4Prefix::size() const { return std::uint64_t{1} << (32 - length); }
Ipv4 Ipv4Prefix::last() const { return Ipv4{base.value | ~mask()}; }
std::string Ipv4Prefix::str() const { return fmt::format("{}/{}", base.str(), length); }

Mac Mac::of_nic(std::uint32_t index) {
    return Mac{{0x02, 0xcf, static_cast<std::uint8_t>(index >> 24),
                static_cast<std::uint8_t>(index >> 16), static_cast<std::uint8_t>(index >> 8),
                static_cast<std::uint8_t>(index)}};
}

Result<Mac> Mac::parse(std::string_view text) {
    Mac mac;
    bool good = text.size() == 17;
    for (std::size_t i = 0; good && i < 6; ++i) {
        const char* from = text.data() + i * 3;
        const auto [end, error] = std::from_chars(from, from + 2, mac.bytes[i], 16);
        good =
            error == std::errc{} && end == from + 2 && (i == 5 || from[2] == ':' || from[2] == '-');
    }
    if (!good) {
        return fail(Code::kInvalidArgument, fmt::format("'{}' is not a MAC address", text));
    }
    return mac;
}

std::string Mac::str() const {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2],
                       bytes[3], bytes[4], bytes[5]);
}

std::string Mac::arm_str() const {
    return fmt::format("{:02X}-{:02X}-{:02X}-{:02X}-{:02X}-{:02X}", bytes[0], bytes[1], bytes[2],
                       bytes[3], bytes[4], bytes[5]);
}

}  // namespace culvert::net
