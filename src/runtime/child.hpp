// SPDX-License-Identifier: Apache-2.0
// A program run to its end, with what it said.
#pragma once

#include "base/result.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace culvert::runtime {

struct ChildResult {
    int status = 0;      // exit status, or 128 + the signal that ended it
    std::string output;  // standard output
    std::string words;   // standard error; both of at most 64 KiB, the rest is dropped
};

// argv[0] is the program's path. No descriptor of ours but the three standard ones reaches it, and
// no signal is blocked in it. After `patience` it is killed.
// Errors: as posix_spawn; kTimeout.
Result<ChildResult> run_child(const std::vector<std::string>& argv,
                              std::chrono::milliseconds patience);

}  // namespace culvert::runtime
