// SPDX-License-Identifier: Apache-2.0
// One logger a process, to stderr: "2026-11-22T10:00:00.123Z info  agent: attached nic=7
// ifname=eth0". Use spdlog::info("module: doing key={}", value) directly; set_up_log wires pattern
// and level.
#pragma once

#include "base/result.hpp"

#include <spdlog/spdlog.h>

#include <string_view>

namespace culvert {

// Level is one of trace, debug, info, warn, error, off; anything else is an error that names the
// choices.
Status set_up_log(std::string_view level);

}  // namespace culvert
