// SPDX-License-Identifier: Apache-2.0
// The node's intent as keyed objects: a value that deltas change (api/intent.proto). Pure: no
// sockets, files, threads or clocks.
//
// A delta becomes a plan, an ordered list of changes; each change is committed after the kernel has
// it, so that this state is always what the kernel holds, also when an update fails half way.
// INVARIANT: within a plan what is named comes before what names it; removals run the other way.
#pragma once

#include "api/intent.pb.h"
#include "base/result.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace culvert::agent {

// As api::Key; `kind` is the field number in api::Object.
struct ObjectKey {
    std::uint32_t kind = 0;
    std::uint32_t id = 0;
    std::uint32_t address = 0;
    auto operator<=>(const ObjectKey&) const = default;
};

struct ObjectKeyHash {
    std::size_t operator()(const ObjectKey& key) const;
};

ObjectKey key_of(const api::Object& object);
std::string to_string(const ObjectKey& key);

// At least one of the two is there.
struct Change {
    ObjectKey key;
    std::optional<api::Object> before;
    std::optional<api::Object> after;
};

struct Plan {
    std::vector<Change> changes;
    std::string epoch;
    std::uint64_t version = 0;
    bool snapshot = false;
};

using Objects = std::unordered_map<ObjectKey, api::Object, ObjectKeyHash>;

class State {
  public:
    // The changes that lead from here to what the delta says. A version that is held already gives
    // an empty plan. Errors: kInvalidArgument (an object or key that validate.hpp refuses),
    // kPreconditionFailed (another epoch without a snapshot or a resumption; nothing to resume).
    Result<Plan> plan(const api::Delta& delta) const;

    void commit(const Change& change);
    // Every change of the plan is committed.
    void conclude(const Plan& plan);
    // After a failure half way: the objects stand, but no version names them.
    void forget_version();

    // Digests of the objects, one a part (runtime/digest.hpp).
    std::vector<std::string> parts() const;

    const std::string& epoch() const { return epoch_; }
    std::uint64_t version() const { return version_; }
    const Objects& objects() const { return objects_; }
    // All objects as changes from nothing, in order.
    std::vector<Change> everything() const;

    // Null when the intent has none.
    const api::Object* find(const ObjectKey& key) const;
    const api::NodeConfig* config() const;
    const api::Nic* nic(std::uint32_t index) const;
    // Null when the NIC does not move from or to this node.
    const api::Move* move(std::uint32_t index) const;
    // By ARM id, without case.
    const api::Nic* nic(std::string_view id) const;

  private:
    Plan plan_snapshot(const api::Delta& delta) const;
    Plan plan_resume(const api::Delta& delta) const;
    Plan plan_update(const api::Delta& delta) const;
    void index_nic(const Change& change);

    Objects objects_;
    std::unordered_map<std::string, std::uint32_t> nics_by_id_;
    std::string epoch_;
    std::uint64_t version_ = 0;
};

// Ids are compared without case (ARM).
std::string lower(std::string_view text);

}  // namespace culvert::agent
