// SPDX-License-Identifier: Apache-2.0
// Bounds of what nodes do about the health of backends: as limits.hpp, for the few who need them.
#pragma once

#include "base/limits.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace culvert::limits {

inline constexpr std::size_t kProbesPerPool = 255;
inline constexpr std::uint32_t kProbedPools = 1u << 24;  // ids of pools with probes are below it
inline constexpr std::uint32_t kProbeThreshold = 1000;
inline constexpr std::chrono::milliseconds kShortestProbeInterval{20};
inline constexpr std::chrono::milliseconds kLongestProbeInterval{86400000};
inline constexpr std::chrono::milliseconds kLongestProbe{5000};  // before it counts as unanswered
inline constexpr std::size_t kProbesOfNic = 64;  // of one interface that wait for an answer at once
inline constexpr std::size_t kProbesAtOnce = 1024;      // of one node
inline constexpr std::size_t kProbeAnswerBytes = 4096;  // read of one
inline constexpr std::size_t kIdleHealthRows =
    4096;  // kept of one peer about what is not known here

}  // namespace culvert::limits
