// SPDX-License-Identifier: Apache-2.0
// Limits of the move of a NIC to another node; as base/limits.hpp.
#pragma once

#include <chrono>
#include <cstddef>

namespace culvert::limits {

using namespace std::chrono_literals;

inline constexpr std::size_t kMovedFlowsPerMessage = 400;  // within kAgentMessageBytes
inline constexpr std::size_t kMovedFlows = 512 * 1024;     // of one NIC
inline constexpr auto kMovePreparation = 30s;  // until the target has its interface and the flows
inline constexpr auto kMoveTakeover = 5s;      // from the node letting go until the other carries
inline constexpr auto kMoveStragglers = 3s;    // how long the node it left passes packets on
// how long nodes take packets from either side, should the control plane not say when it is over
inline constexpr auto kMoveOtherNode = 60s;

}  // namespace culvert::limits
