// SPDX-License-Identifier: Apache-2.0
// What every embedded engine shares: the limits and the meaning of a transaction, over an engine's
// rows.
#pragma once

#include "store/store.hpp"

#include <functional>

namespace culvert::store {

// Rows of an engine inside one atomic unit of work. Not synchronized: the engine holds its lock.
class Rows {
  public:
    virtual ~Rows() = default;
    virtual Result<std::optional<KeyValue>> get(const std::string& key) = 0;
    // Rows of [key, range_end) ascending (empty range_end: the one key), until `visit` says false.
    virtual Status scan(const Range& range, const std::function<bool(KeyValue&&)>& visit) = 0;
    virtual Result<std::size_t> count(const Range& range) = 0;
    virtual Status put(const KeyValue& row) = 0;
    virtual Status erase(const std::string& key) = 0;
};

struct Applied {
    TxnResult result;
    WatchBatch batch;  // no events: nothing was written, the revision has not moved
};

// Is `key` in [first, range_end)? Empty range_end: the one key; "\0": everything from `first` on
// (etcd RangeRequest).
bool in_range(std::string_view key, std::string_view first, std::string_view range_end);

// The limits of etcd: operations (max of the three lists), bytes of the encoded request, keys not
// empty, no key put twice or put inside a deleted range. Errors: kTooLarge, kInvalidArgument.
Status check_txn(const Txn& txn);
Status check_range(const Range& range);

// Answers a range from rows. `revision` is what the answer says it shows.
Result<RangeResult> run_range(Rows& rows, const Range& range, std::int64_t revision);

// Evaluates the compares and runs the branch; `revision` is the store's before the transaction.
// After an error the engine must roll back.
Result<Applied> apply(Rows& rows, const Txn& txn, std::int64_t revision);

}  // namespace culvert::store
