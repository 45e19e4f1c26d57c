// SPDX-License-Identifier: Apache-2.0
// What links carried at this node: has the kernel add it up now and then, knows the names, tells
// the control plane what changed. The kernel's numbers outlive the agent.
// Thread safety: internally synchronized; a thread of its own.
#pragma once

#include "agent/node.hpp"
#include "api/intent.pb.h"
#include "base/random.hpp"
#include "datapath/totals.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace culvert::agent {

inline constexpr std::uint32_t kNatPorts = 65536 - CV_NAT_PORT_MIN;  // of an address, a backend

struct NatUsage {
    CountedNames::Service service;
    net::Ipv4 address{};
    std::uint32_t used = 0;  // towards the backend here that uses most, of one protocol
};

struct Reading {
    std::uint64_t epoch = 0;
    std::uint64_t round = 0;  // 0: there is none yet
    CountedNames names{};
    std::map<std::uint32_t, cv_totals> links{};
    std::map<std::uint32_t, cv_totals> nics{};
    std::vector<NatUsage> nats{};
};

// What one stream has been told.
struct Reported {
    std::uint64_t round = 0;
    std::map<std::uint32_t, cv_totals> links{};
};

class Meter {
  public:
    // Starts at once; the arguments outlive it.
    static Result<std::unique_ptr<Meter>> start(Node& node, Random& random);
    virtual ~Meter() = default;

    // As it was some seconds ago: asking costs no walk, however often. Waits for the first one.
    virtual Reading read() = 0;
    // What the stream has not been told yet; nothing when it has been told everything.
    virtual std::vector<api::AgentMessage> report(Reported& reported) = 0;
};

}  // namespace culvert::agent
