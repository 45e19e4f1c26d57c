// SPDX-License-Identifier: Apache-2.0
// What the hub remembers of one node. Strand-bound to the hub's worker.
#pragma once

#include "base/clock.hpp"
#include "model/nodes.hpp"
#include "net/address.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace culvert::control {

using StreamId = std::uint64_t;

// The store revisions that a delta carries: exactly up to a bound, then as a range.
class Revisions {
  public:
    void add(std::int64_t revision) {
        first_ = empty() ? revision : std::min(first_, revision);
        last_ = std::max(last_, revision);
        if (exact_.size() < kExact) {
            exact_.push_back(revision);
        } else {
            inexact_ = true;
        }
    }
    void add(const Revisions& other) {
        if (other.empty()) {
            return;
        }
        add(other.first_);
        add(other.last_);
        for (const std::int64_t revision : other.exact_) {
            add(revision);
        }
        inexact_ = inexact_ || other.inexact_;
    }
    bool empty() const { return last_ == 0; }
    std::int64_t first() const { return first_; }
    bool contains(std::int64_t revision) const {
        return inexact_ ? first_ <= revision && revision <= last_
                        : std::ranges::find(exact_, revision) != exact_.end();
    }

  private:
    static constexpr std::size_t kExact = 64;
    std::int64_t first_ = 0;
    std::int64_t last_ = 0;
    std::vector<std::int64_t> exact_;
    bool inexact_ = false;
};

// A delta that was made and is not acknowledged yet.
struct SentDelta {
    std::uint64_t version = 0;
    std::string bytes;  // serialized api.ControlMessage
    Revisions revisions;
    std::int64_t through = 0;  // the revision that it brings the node to
};

// (VNet's index, address)
using AddressUses = std::set<std::pair<std::uint32_t, net::Ipv4>>;

struct HubNode {
    model::Node document;
    std::optional<StreamId> stream;
    bool writing = false;  // a message is on its way out

    bool live = false;  // the last message is younger than the lease
    SteadyTime last_seen;
    std::optional<WallTime> last_seen_wall;

    std::uint64_t version = 0;  // of the newest delta
    std::uint64_t acked = 0;
    std::deque<SentDelta> log;        // after `acked`, ascending
    std::uint64_t unsent = 0;         // first version of the log that this stream has not been sent
    bool needs_snapshot = true;       // deltas would not add up
    std::uint64_t base = 0;           // version of the delta that began what deltas add up to
    bool known = false;               // `base` is acknowledged: what the node holds is certain
    std::int64_t through = 0;         // of the last delta acknowledged
    bool owes_lease = false;          // a Lease is to be sent
    std::deque<std::string> relayed;  // messages of moves, serialized; of this stream
    std::vector<std::string> parts;   // Hello.part, while that hello is answered
    Revisions pending;                // concern it and are in no delta yet

    // It refused a delta or let a settle time out: settles of other changes do not wait for it
    // until it has caught up.
    bool lagging = false;
    std::optional<SteadyTime> retry_at;  // after a refused delta: when to send a snapshot
    std::string error;                   // of the last refused delta, until one is accepted
    std::string build;
    std::optional<std::uint64_t> remaining;  // connections to backends there, as it says
    AddressUses in_use;  // given up and still used by connections there, as it said last
    std::string trust;   // what its hello said
    std::optional<SteadyTime> renewed_at;  // when it was last given a certificate
    bool owes_trust = false;               // a Trust is to be sent
    // What it holds is written down, so it must be told nothing new before that is erased; its
    // hello (serialized) waits for it.
    bool recorded = false;
    std::optional<std::string> hello;
    std::optional<SteadyTime> erase_at;  // it could not be erased: when to try again
    std::set<std::uint64_t> waiters;

    bool behind() const { return !log.empty() || !pending.empty(); }
    // The revision up to which its kernel is as the store, which is at `now`; 0: nobody knows.
    std::int64_t confirmed(std::int64_t now) const { return !known ? 0 : behind() ? through : now; }
    // Does a settle of `revision` have to wait for it?
    bool concerned(std::int64_t revision) const {
        const auto in = [&](const Revisions& revisions) {
            return lagging ? revisions.contains(revision)
                           : !revisions.empty() && revisions.first() <= revision;
        };
        return in(pending) ||
               std::ranges::any_of(log, [&](const SentDelta& sent) { return in(sent.revisions); });
    }
};

}  // namespace culvert::control
