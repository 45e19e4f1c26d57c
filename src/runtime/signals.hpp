// SPDX-License-Identifier: Apache-2.0
// Signals as values.
#pragma once

#include "base/result.hpp"

#include <chrono>
#include <initializer_list>
#include <optional>

namespace culvert::runtime {

// Blocks these signals in the calling thread and every thread it starts from now on: call it first
// in main.
Status block_signals(std::initializer_list<int> signals);

// Waits for one of them; empty when `timeout` passed.
std::optional<int> wait_signal(std::initializer_list<int> signals,
                               std::chrono::milliseconds timeout);

}  // namespace culvert::runtime
