// SPDX-License-Identifier: Apache-2.0
// Handlers of the front itself and of identity. Each function's arguments outlive the registry.
#pragma once

#include "control/call.hpp"
#include "control/identity.hpp"
#include "control/identity_lane.hpp"

namespace culvert::control {

// tenants, subscriptions, locations, providers, resources
void add_platform_handlers(Registry& registry, Services& services, Identity& identity);
// /culvert/tenants, /culvert/subscriptions, /culvert/principals, and the Graph look-ups that az
// makes
void add_identity_handlers(Registry& registry, Identity& identity, SlowLane& lane);
// Microsoft.Authorization/roleAssignments and roleDefinitions
void add_role_handlers(Registry& registry, Identity& identity);

}  // namespace culvert::control
