// SPDX-License-Identifier: Apache-2.0
// Resets the ends here of connections that were idle for too long, where their rule asks for it.
// A thread of its own. Where the agent is down they end silently.
#pragma once

#include "agent/node.hpp"
#include "datapath/ended.hpp"

#include <memory>

namespace culvert::agent {

class IdleResets {
  public:
    // Errors: kInternal when the programs lack a part.
    static Result<std::unique_ptr<IdleResets>> start(Node& node);
    virtual ~IdleResets() = default;
};

}  // namespace culvert::agent
