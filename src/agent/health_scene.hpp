// SPDX-License-Identifier: Apache-2.0
// What the node tells of backends: values.
#pragma once

#include "agent/health.hpp"
#include "net/address.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace culvert::agent {

// What the keeper of health must know of the node.
struct HealthScene {
    struct Home {
        std::uint32_t node = 0;
        std::uint32_t other = 0;  // while it moves
        std::uint32_t generation = 0;
    };
    // A member of a pool, attached here, and a probe of that pool.
    struct Target {
        HealthKey key;
        net::Ipv4 address{};
        bool plumbed = false;
        std::uint32_t ifindex = 0;  // of its interface
        api::Probe probe;
    };
    std::uint32_t node = 0;
    std::vector<Target> targets;
    HealthRows plumbed;                   // of all members that are attached here
    std::map<std::uint32_t, Home> homes;  // of all members of pools
    HealthRows held;                      // what is held true of them
    std::set<HealthKey> known;            // what there may be verdicts about
};

// One backend as people see it.
struct BackendView {
    std::string pool;  // ARM ids
    std::string nic;
    std::uint32_t node = 0;
    bool here = false;
    bool serving = false;
    HealthKey key{};
    std::optional<api::Probe> probe{};
    Health::State state = Health::State::kUnknown;
};

}  // namespace culvert::agent
