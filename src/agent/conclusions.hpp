// SPDX-License-Identifier: Apache-2.0
// What a node has concluded about its peers and about itself, in a file for the agent's next life:
// an agent that restarts neither takes up with the dead nor forgets that its node is fenced.
// Without fsync: what a kill leaves is whole, and after a power failure all of it is void anyway.
#pragma once

#include "agent/applier.hpp"
#include "agent/health.hpp"
#include "agent/liveness.hpp"
#include "base/result.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace culvert::agent {

struct Conclusions {
    // This node may not know the newest intent: others may have gone on without it.
    bool fenced = false;
    Verdicts verdicts;
    bool operator==(const Conclusions&) const = default;
};

// When something is written or read.
struct Moment {
    std::string boot;  // of the kernel
    SteadyTime now{};
};
Moment this_moment();

// What holds now of what was written. A node that heard nobody, that has booted since, or whose
// file cannot be read, is fenced; verdicts older than limits::kVerdictAge are forgotten. Without a
// file there is nothing to remember.
Conclusions load_conclusions(const std::filesystem::path& path, const Moment& moment);
Status save_conclusions(const std::filesystem::path& path, const Conclusions& conclusions,
                        const Moment& moment);

// What was held true of backends, in the same way; none: nothing was written since the machine
// booted. A file that cannot be read says as much.
std::optional<HealthRows> load_health(const std::filesystem::path& path, const Moment& moment);
Status save_health(const std::filesystem::path& path, const HealthRows& rows, const Moment& moment);

// What the verdicts mean for new connections.
Reach reach_of(const Verdicts& verdicts);

}  // namespace culvert::agent
