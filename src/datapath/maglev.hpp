// SPDX-License-Identifier: Apache-2.0
// Maglev hashing (Eisenbud et al., NSDI'16 3.4): every member gets an almost equal share of the
// table, and a change of members moves few other entries. A pure function of the set of NIC
// indices, so that all nodes choose the same backend for the same tuple.
#pragma once

#include "abi/limits.h"

#include <cstdint>
#include <span>
#include <vector>

namespace culvert::datapath {

// A table of CV_MAGLEV_SIZE NIC indices; all zero ("no backend") when there are no members. Order
// and repetition of `members` make no difference; 0 is no member. Members beyond CV_MAGLEV_SIZE
// have no entry.
std::vector<std::uint32_t> maglev_table(std::span<const std::uint32_t> members);

}  // namespace culvert::datapath
