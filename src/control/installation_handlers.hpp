// SPDX-License-Identifier: Apache-2.0
// What the operators ask of the running culvertd itself.
#pragma once

#include "control/call.hpp"

namespace culvert::control {

// LIST Culvert/log-level -> {"level"}; POST {"level"} sets it until the process ends.
void add_log_handlers(Registry& registry);

}  // namespace culvert::control
