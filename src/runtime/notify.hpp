// SPDX-License-Identifier: Apache-2.0
// Words to the service manager (sd_notify(3)): does nothing where there is none.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace culvert::runtime {

// "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..."; several are separated by line breaks.
void notify(std::string_view state);

// How often "WATCHDOG=1" is due: half of what the manager waits. Empty: it does not wait for any.
std::optional<std::chrono::milliseconds> watchdog_interval();

}  // namespace culvert::runtime
