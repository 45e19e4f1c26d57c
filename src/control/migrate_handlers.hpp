// SPDX-License-Identifier: Apache-2.0
// POST networkInterfaces/migrate.
#pragma once

#include "control/call.hpp"

namespace culvert::control {

void add_migrate_handlers(Registry& registry, Services& services);

}  // namespace culvert::control
