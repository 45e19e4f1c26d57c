// SPDX-License-Identifier: Apache-2.0
// Numbers and addresses: one key each, tried from a random start, taken in the same transaction as
// the resource. What is given up is kept as "released", with a record /released/<guid> of the
// transaction, until the hub says that no node can know it any more (hub_releases.hpp); only then
// it is freed.
//
// Values: "held <generation> <owner id>", "released <generation> <owner id>", "free <generation>".
// Addresses have no generation (0) and are erased when freed; so are the numbers of kinds without
// one.
#pragma once

#include "control/call.hpp"
#include "control/keys.hpp"
#include "net/address.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::control {

struct Reservation {
    enum class State { kHeld, kReleased, kFree } state = State::kHeld;
    std::uint32_t generation = 0;
    std::string owner;

    std::string str() const;
    static Result<Reservation> parse(std::string_view value);  // kCorrupt
    bool operator==(const Reservation&) const = default;
};

// One transaction in the making. Every key is written at most once: the last word counts.
class Change {
  public:
    void require(store::Compare compare) { compares_.push_back(std::move(compare)); }
    void put(std::string key, std::string value) {
        writes_.insert_or_assign(std::move(key), std::optional(std::move(value)));
    }
    // Puts that others have made.
    void put_all(std::vector<store::Op> puts) {
        for (store::Op& op : puts) {
            put(std::move(op.key), std::move(op.value));
        }
    }
    void erase(std::string key) { writes_.insert_or_assign(std::move(key), std::nullopt); }
    // Gives a held key up: it stays taken until free_released().
    void release(std::string key, Reservation held);
    bool empty() const { return writes_.empty() && released_.empty(); }

    struct Committed {
        std::int64_t revision = 0;
        std::string released;  // the record's key, empty when nothing was released
    };
    // nullopt: a compare failed, nothing was written.
    Result<std::optional<Committed>> commit(Services& services);

  private:
    std::vector<store::Compare> compares_;
    std::map<std::string, std::optional<std::string>> writes_;
    std::vector<std::string> released_;
};

// Frees what a transaction released; twice is once. The hub's, when no node can know it any more.
Status free_released(store::Store& store, const std::string& released);

// The one after `generation`. A restored store has forgotten generations that nodes may have seen:
// each restore begins a range of its own.
std::uint32_t next_generation(const Services& services, std::uint32_t generation);
// May something new be taken now? Error: kUnavailable (RestoreNotSettled) after a restore, while
// nodes may hold what the store does not know of.
Status may_allocate(const Services& services);

enum class Kind { kNic, kVni, kLink, kService, kPool };
std::string_view name_of(Kind kind);

struct Number {
    std::uint32_t number = 0;
    std::uint32_t generation = 0;  // one more than at the last use
};
// Picks a free number of [1, limit) and adds its reservation for `owner` to the change. Numbers in
// `avoid` are not picked. Errors: kUnavailable when all are taken.
Result<Number> take_number(Services& services, Change& change, Kind kind, std::string_view owner,
                           const std::set<std::uint32_t>& avoid = {});
void release_number(Change& change, Kind kind, std::uint32_t number, std::uint32_t generation,
                    std::string_view owner);

}  // namespace culvert::control
