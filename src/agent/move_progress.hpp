// SPDX-License-Identifier: Apache-2.0
// What the node remembers and tells of moves of NICs to it.
#pragma once

#include "agent/migrate.hpp"

#include <chrono>
#include <functional>
#include <string>

namespace culvert::agent {

// Takes a message for the control plane; false: the stream is over.
using Sender = std::function<bool(const api::AgentMessage&)>;

// How far the move of a NIC to this node has come.
struct MoveProgress {
    enum class Where {
        kNowhere,  // it does not move here (any more)
        kWaiting,
        kCarrying,  // here; the rest of the cluster is told
        kDone,
    };
    Where where = Where::kNowhere;
    std::chrono::microseconds gap{0};  // from the other node letting go until this one carried
    MoveOutcome outcome{};
    std::string error;
};

struct PastMove {
    std::string attachment;
    std::chrono::steady_clock::time_point since{};  // the other node let go
    std::chrono::microseconds gap{0};
    bool carried = false;
    MoveOutcome outcome{};
    std::string error{};
};

}  // namespace culvert::agent
