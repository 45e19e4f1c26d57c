// SPDX-License-Identifier: Apache-2.0
// Health at work: probes the backends that are attached here from the platform's address, tells the
// other nodes what it found and hears what they found (bulletin.hpp), and keeps the pools' tables
// to that. Says in the log only what changes.
// Thread safety: internally synchronized; a thread of its own.
//
// INVARIANT: a node is believed only about NICs that this node's own intent places there.
#pragma once

#include "agent/bulletin.hpp"
#include "agent/node.hpp"
#include "agent/probing.hpp"
#include "metrics/metrics.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace culvert::agent {

struct HealthOptions {
    std::chrono::milliseconds interval{0};  // goes before the probes' own; 0: none
    net::Ipv4 alias_base{};
    std::string owner;  // of the interface that it makes
    bool force_clsact = false;
};

// What is known of a backend that is probed here.
struct Probed {
    std::string reason;
    std::chrono::nanoseconds took{0};
    SteadyTime since{};  // of this verdict
    bool known = false;
};

struct HealthStatus {
    std::string error;       // why nothing can be probed
    std::string note_error;  // why verdicts cannot be told
    std::uint64_t probes = 0;
    std::uint64_t failed = 0;
    std::uint64_t late = 0;
    BulletinCounts notes;
    std::chrono::milliseconds interval{0};
    std::map<HealthKey, Probed> probed;
    metrics::Histogram::Reading took;
};

class HealthKeeper {
  public:
    // Starts at once; `node` outlives it. Where the services' namespace cannot be made, nothing is
    // probed, status() says why, and it is tried again.
    static Result<std::unique_ptr<HealthKeeper>> start(Node& node, const HealthOptions& options);
    virtual ~HealthKeeper() = default;
    virtual HealthStatus status() const = 0;
};

}  // namespace culvert::agent
