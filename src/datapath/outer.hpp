// SPDX-License-Identifier: Apache-2.0
// A backbone address: a value of either family in the form that the kernel maps hold.
#pragma once

#include "base/result.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace culvert::datapath {

struct OuterAddress {
    std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 in the first four
    std::uint8_t family = 0;               // 4 or 6; 0: none

    // Numeric text only. Errors: kInvalidArgument.
    static Result<OuterAddress> parse(std::string_view text);
    std::string str() const;
    std::size_t length() const { return family == 6 ? 16 : 4; }
    bool operator==(const OuterAddress&) const = default;
};

}  // namespace culvert::datapath
