// SPDX-License-Identifier: Apache-2.0
// The store: the etcd model (keys, revisions, transactions with compares, prefix ranges, watch) and
// etcd's limits, so that an engine may be SQLite, memory or etcd itself. One conformance suite
// (tests/conformance) runs on every engine.
//
// INVARIANTS: revisions grow by one with every transaction that writes; a transaction that answers
// has been made durable (SQLite: WAL, synchronous=FULL); watchers see every event exactly once, in
// revision order, after durability. Thread safety: internally synchronized.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::store {

struct KeyValue {
    std::string key{};
    std::string value{};
    std::int64_t create_revision = 0;
    std::int64_t mod_revision = 0;
    std::int64_t version = 0;  // writes since creation, 1 on creation

    bool operator==(const KeyValue&) const = default;
};

// [key, range_end): empty range_end is the single key; prefix_end() makes the end of a prefix; "\0"
// is up to the last key (etcd RangeRequest). A key is never empty.
struct Range {
    std::string key{};
    std::string range_end{};
    std::size_t limit = 0;  // 0: none
    bool keys_only = false;
    bool count_only = false;
};

struct RangeResult {
    std::vector<KeyValue> kvs;  // ascending by key
    std::size_t count = 0;      // all that matched, also beyond `limit`
    bool more = false;
    std::int64_t revision = 0;  // the store's revision that this answer shows
};

enum class Target { kVersion, kCreateRevision, kModRevision, kValue };
enum class Relation { kEqual, kNotEqual, kLess, kGreater };

// With a range_end the compare must hold for every key in the range; over an empty range kVersion
// == 0 holds (as etcd answers for an absent key). kVersion == 0 on a prefix therefore means
// "nothing below it".
struct Compare {
    std::string key{};
    std::string range_end{};
    Target target = Target::kVersion;
    Relation relation = Relation::kEqual;
    std::int64_t number = 0;
    std::string value{};  // for kValue
};

struct Op {
    enum class Kind { kPut, kDelete, kRange } kind = Kind::kPut;
    std::string key{};
    std::string range_end{};  // kDelete, kRange
    std::string value{};      // kPut
};

// Compares are all checked against one state; then `success` or `failure` runs, atomically, in
// order. A key may be put once a transaction, and not inside a range that it deletes
// (kInvalidArgument). At most limits::kTxnOperations compares and as many operations a branch,
// limits::kTxnBytes in all, measured as etcd measures its encoded request.
struct Txn {
    std::vector<Compare> compares;
    std::vector<Op> success;
    std::vector<Op> failure;
    // May a restore take it back? What is only noted down (an audit record) is not remembered: it
    // neither goes back nor takes the place of a revision that can.
    bool remembered = true;
};

struct TxnResult {
    bool succeeded = false;     // which branch ran
    std::int64_t revision = 0;  // after the transaction; the mod_revision of everything it wrote
    std::vector<RangeResult> ranges;  // one for each kRange, in order
};

struct Event {
    enum class Kind { kPut, kDelete } kind = Kind::kPut;
    KeyValue now;  // kDelete: key and mod_revision only
    std::optional<KeyValue> before;
};

// All events of one revision, together.
struct WatchBatch {
    std::int64_t revision = 0;
    std::vector<Event> events;
    bool compacted = false;  // no events: the watch is over, see WatchFn
};

// Called on the store's notifier thread, one batch at a time, in order; must return soon and must
// not call the store's destructor. `compacted` set: history from the asked revision is gone, the
// watch is over, read anew.
using WatchFn = std::function<void(const WatchBatch& batch)>;

// Ends its watch when destroyed; afterwards the callback is not running and never runs again.
class Watch {
  public:
    virtual ~Watch() = default;
};

class Store {
  public:
    virtual ~Store() = default;

    // Errors: kTooLarge over the limits, kInvalidArgument (empty key, key written twice),
    // kStorageFull, kUnavailable (the disk failed: it may have been written or not), kCorrupt,
    // kInternal.
    virtual Result<TxnResult> txn(const Txn& txn) = 0;
    virtual Result<RangeResult> range(const Range& range) = 0;
    // Events with revision > after_revision of keys in [key, range_end). History is kept for at
    // least limits::kWatchQueue events, of limits::kWatchBytes at most; older: kPreconditionFailed
    // ("compacted").
    virtual Result<std::unique_ptr<Watch>> watch(std::string key, std::string range_end,
                                                 std::int64_t after_revision, WatchFn fn) = 0;
    virtual std::int64_t revision() = 0;
    // May a transaction write, as far as one can tell without? After a failure it looks again:
    // kStorageFull while the disk is full, kUnavailable or kCorrupt while it fails.
    virtual Status writable() { return {}; }
    // Writes everything as it is at one moment, with the history, into a new file of mode 0600,
    // while others read and write. Errors: kConflict when the file exists, kInvalidArgument by an
    // engine that cannot.
    virtual Status snapshot(const std::string& path);

    // Convenience over range(): the one key, or nullopt.
    Result<std::optional<KeyValue>> get(std::string_view key);
    // Every key under `prefix`.
    Result<RangeResult> list(std::string_view prefix);
};

// The end of the range of all keys that start with `prefix` (etcd clientv3.GetPrefixRangeEnd).
std::string prefix_end(std::string_view prefix);

Compare absent(std::string key);                                // version == 0
Compare present(std::string key);                               // version != 0
Compare unchanged(std::string key, std::int64_t mod_revision);  // mod_revision == n
Compare none_below(std::string_view prefix);                    // nothing starts with prefix
Op put(std::string key, std::string value);
Op erase(std::string key);

std::unique_ptr<Store> open_memory();
// `path` is the database file, made 0600 when absent. Refuses (kCorrupt) a damaged file (PRAGMA
// quick_check), one of a newer schema, or one that is not ours; kUnavailable while another process
// has it open.
Result<std::unique_ptr<Store>> open_sqlite(const std::string& path);

}  // namespace culvert::store
