// SPDX-License-Identifier: Apache-2.0
// What the stream may say: every id within the limits of the maps, every list bounded, every
// address and port a possible one. A peer that breaks a rule is refused as a whole. Pure.
#pragma once

#include "api/intent.pb.h"
#include "base/result.hpp"

namespace culvert::agent {

// `held`: the configuration in force, null when there is none; one in the delta goes before it.
// Errors: kInvalidArgument, with the first offending object as target.
Status validate(const api::Delta& delta, const api::NodeConfig* held);

}  // namespace culvert::agent
