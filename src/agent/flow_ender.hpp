// SPDX-License-Identifier: Apache-2.0
// Connections that nobody serves any more end before their time: all that was noted by one walk
// over the flow table, in pieces, because everybody on the node waits for the longest of them.
// What is looked at is judged by the intent and the pools' tables of that moment: what has opened
// since for a reason that holds stays.
// Thread safety: strand-bound, as the transfer that it uses.
#pragma once

#include "agent/applier.hpp"
#include "agent/connection.hpp"
#include "agent/state.hpp"
#include "base/clock.hpp"
#include "datapath/transfer.hpp"

#include <cstdint>
#include <map>
#include <vector>

namespace culvert::agent {

// Why connections of a NIC end.
using EndedServices = std::map<std::uint32_t, std::vector<EndedService>>;  // by NIC

// Whether the connection is one of those that end, as things are now. Pure.
bool must_end(const State& state, const Applier::Tables& tables, const Connection& connection,
              const EndedServices& why);

class FlowEnder {
  public:
    FlowEnder(datapath::Maps& maps, datapath::Transfer& transfer)
        : maps_(maps), transfer_(transfer) {}

    void note(const std::vector<EndedService>& ended);
    // Goes on for a moment. True: nothing is left to look at, or its time has not come. Walks take
    // a share of the time, not more, however often something ends: those that were noted while one
    // goes on, or just after it, are the next one's.
    bool go_on(const State& state, const Applier::Tables& tables);
    bool idle() const { return ending_.empty() && noted_.empty(); }
    std::uint64_t walks() const { return walks_; }

  private:
    Status step(const State& state, const Applier::Tables& tables);
    void conclude();

    datapath::Maps& maps_;
    datapath::Transfer& transfer_;
    EndedServices noted_;   // for the next walk
    EndedServices ending_;  // by this one
    datapath::FlowWalk walk_;
    SteadyTime::duration took_{0};  // this walk, of this thread's time
    SteadyTime rest_until_{};
    std::size_t entries_ = 0;  // that it has removed
    std::uint64_t walks_ = 0;
};

}  // namespace culvert::agent
