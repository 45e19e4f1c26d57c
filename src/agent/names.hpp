// SPDX-License-Identifier: Apache-2.0
// The words for the kernel's numbers, from abi/*.def.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace culvert::agent {

struct CountName {
    std::string_view symbol;
    std::uint32_t number;
    std::string_view severity;  // drops only
    std::string_view sentence;
};

std::span<const CountName> drop_names();
std::span<const CountName> counter_names();

}  // namespace culvert::agent
