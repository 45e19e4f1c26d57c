// SPDX-License-Identifier: Apache-2.0
// NAT addresses of connections' own (docs/decisions/0014).
#pragma once

#include "control/bindings.hpp"

namespace culvert::control {

// Gives each its NAT address as rules::share_nat says, with `next` (may be null) in the place of
// the connection of its id or as one more: writes the others that change, and requires that none
// comes or changes meanwhile.
Outcome<void> share_nat(Services& services, const model::PrivateLinkService& service,
                        model::PrivateEndpointConnection* next, Change& change);

}  // namespace culvert::control
