// SPDX-License-Identifier: Apache-2.0
#include "token/base64url.hpp"

#include <array>
#include <cstdint>

namespace culvert::token {

namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int8_t, 256> reverse() {
    std::array<std::int8_t, 256> out{};
    out.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
        out[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    }
    return out;
}
constexpr auto kReverse = reverse();

}  // namespace

std::string base64url_encode(std::string_view bytes) {
    std::string out;
    out.reserve((bytes.size() * 4 + 2) / 3);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : bytes) {
        bits = (bits << 8) | static_cast<unsigned char>(c);
        for (held += 8; held >= 6; held -= 6) {
            out.push_back(kAlphabet[(bits >> (held - 6)) & 63]);
        }
    }
    if (held > 0) {
        out.push_back(kAlphabet[(bits << (6 - held)) & 63]);
    }
    return out;
}

Result<std::string> base64url_decode(std::string_view text) {
    std::string out;
    out.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : text) {
        const auto value = kReverse[static_cast<unsigned char>(c)];
        if (value < 0) {
            return fail(Code::kInvalidArgument, "base64url: character outside the alphabet");
        }
        bits = (bits << 6) | static_cast<std::uint32_t>(value);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out.push_back(static_cast<char>((bits >> held) & 0xff));
        }
    }
    if (held == 6 || (bits & ((1U << held) - 1)) != 0) {
        return fail(Code::kInvalidArgument, "base64url: text ends inside a byte");
    }
    return out;
}

}  // namespace culvert::token
