// SPDX-License-Identifier: Apache-2.0
// The log while the process runs: its level, and how many lines it took.
#pragma once

#include "base/log.hpp"

#include <atomic>
#include <cstdint>
#include <string>

namespace culvert {

// Lines written since the start.
struct LogCounts {
    std::atomic<std::uint64_t> warnings{0};
    std::atomic<std::uint64_t> errors{0};
};

// After set_up_log and before the first thread; `counts` outlives the last line.
void count_log(LogCounts& counts);
// The level from now on, in every thread. Errors: as set_up_log.
Status set_log_level(std::string_view level);
std::string log_level();

}  // namespace culvert
