// SPDX-License-Identifier: Apache-2.0
// What another node says of a connection is not believed: may it be, as far as this node's own
// intent says? Pure.
#pragma once

#include "agent/connection.hpp"
#include "agent/state.hpp"
#include "base/result.hpp"

namespace culvert::agent {

// For the NIC `moving`: the link is approved in this generation and has this address, both ends are
// the NICs that they claim to be, a rule leads from the one port to the other with the backend in
// its pool, and the NAT address is the service's. Errors: kInvalidArgument.
Status check_moved(const State& state, const Connection& connection, std::uint32_t moving);

// The rule that the connection was opened by; null: none leads there (any more).
const api::Rule* rule_of(const State& state, const Connection& connection);

}  // namespace culvert::agent
