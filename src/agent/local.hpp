// SPDX-License-Identifier: Apache-2.0
// culvert.api.Local on <data dir>/agent.sock, behind the doorkeeper: root alone is let in, and may
// ask anything.
// Thread safety: internally synchronized; gRPC's threads.
#pragma once

#include "agent/health_keeper.hpp"
#include "agent/identity.hpp"
#include "agent/node.hpp"
#include "agent/prober.hpp"
#include "agent/stream.hpp"
#include "agent/upgrade.hpp"
#include "base/result.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace culvert::agent {

// What else it asks; each gives the state as it is.
struct LocalSources {
    std::function<StreamStatus()> stream;
    std::function<ReachStatus()> reach;
    std::function<HealthStatus()> health;
    std::function<Reading()> totals;
};

class Local {
  public:
    // `node` and `upgrader` outlive it. The destructor ends calls under way.
    static Result<std::unique_ptr<Local>> serve(Node& node, const Identity& identity,
                                                LocalSources sources, Upgrader& upgrader,
                                                const std::filesystem::path& socket,
                                                std::string build);
    virtual ~Local() = default;
};

}  // namespace culvert::agent
