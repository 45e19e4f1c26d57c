// SPDX-License-Identifier: Apache-2.0
// Liveness at work: asks the peers of the intent, reads what the data plane heard, and tells the
// node which of them take no connections (liveness.hpp decides). Says in the log only what changes.
// Thread safety: internally synchronized; a thread of its own.
#pragma once

#include "agent/liveness.hpp"
#include "agent/node.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace culvert::agent {

struct PeerStatus {
    std::string name;
    std::string outer;
    PeerView view;
};

struct ReachStatus {
    bool probing = false;  // there is a backbone and liveness is not turned off
    bool isolated = false;
    LivenessTimes times;
    std::uint64_t questions = 0;    // that left this machine
    std::uint64_t unsent = 0;       // that did not
    std::string error;              // why there is no socket; empty: there is one
    std::vector<PeerStatus> peers;  // ascending by index
};

class Prober {
  public:
    // Starts at once; `node` outlives it.
    static Result<std::unique_ptr<Prober>> start(Node& node, const LivenessTimes& times);
    virtual ~Prober() = default;
    virtual ReachStatus status() const = 0;
};

}  // namespace culvert::agent
