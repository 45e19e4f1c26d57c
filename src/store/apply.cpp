// SPDX-License-Identifier: Apache-2.0
#include "store/apply.hpp"

#include "base/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace culvert::store {
namespace {

constexpr std::string_view kToTheEnd("\0", 1);
// what etcd wraps around a request before it measures it (InternalRaftRequest header, tag, length)
constexpr std::size_t kEnvelopeBytes = 32;

std::size_t varint_size(std::uint64_t value) {
    std::size_t size = 1;
    for (; value >= 0x80; value >>= 7) {
        ++size;
    }
    return size;
}

// A length-delimited protobuf field with a tag of `tag` bytes; absent when empty.
std::size_t field_size(std::size_t length, std::size_t tag = 1) {
    return length == 0 ? 0 : tag + varint_size(length) + length;
}

std::size_t message_size(std::size_t length) { return 1 + varint_size(length) + length; }

std::size_t encoded_size(const Compare& compare) {
    std::size_t size = field_size(compare.key.size()) + field_size(compare.range_end.size(), 2);
    size += compare.relation == Relation::kEqual ? 0 : 2;
    size += compare.target == Target::kVersion ? 0 : 2;
    size += compare.target == Target::kValue
                ? message_size(compare.value.size())
                : 1 + varint_size(static_cast<std::uint64_t>(compare.number));
    return message_size(size);
}

std::size_t encoded_size(const Op& op) {
    std::size_t size = field_size(op.key.size());
    size +=
        op.kind == Op::Kind::kPut ? field_size(op.value.size()) : field_size(op.range_end.size());
    return message_size(message_size(size));
}

std::size_t encoded_size(const Txn& txn) {
    std::size_t size = kEnvelopeBytes;
    for (const Compare& compare : txn.compares) {
        size += encoded_size(compare);
    }
    for (const std::vector<Op>* branch : {&txn.success, &txn.failure}) {
        for (const Op& op : *branch) {
            size += encoded_size(op);
        }
    }
    return size;
}

Status check_branch(const std::vector<Op>& branch) {
    std::set<std::string_view> puts;
    for (const Op& op : branch) {
        if (op.key.empty()) {
            return fail(Code::kInvalidArgument, "store transaction: key is empty");
        }
        if (op.kind == Op::Kind::kPut && !puts.insert(op.key).second) {
            return fail(Code::kInvalidArgument, "store transaction: key is written twice", op.key);
        }
    }
    for (const Op& op : branch) {
        if (op.kind != Op::Kind::kDelete) {
            continue;
        }
        for (auto put = puts.lower_bound(op.key);
             put != puts.end() && in_range(*put, op.key, op.range_end); ++put) {
            return fail(Code::kInvalidArgument, "store transaction: key is put and deleted",
                        std::string(*put));
        }
    }
    return {};
}

bool relation_holds(Relation relation, int order) {
    switch (relation) {
        case Relation::kEqual: return order == 0;
        case Relation::kNotEqual: return order != 0;
        case Relation::kLess: return order < 0;
        case Relation::kGreater: return order > 0;
    }
    return false;
}

int order_of(std::int64_t a, std::int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

int order_of(const Compare& compare, const KeyValue& row) {
    switch (compare.target) {
        case Target::kVersion: return order_of(row.version, compare.number);
        case Target::kCreateRevision: return order_of(row.create_revision, compare.number);
        case Target::kModRevision: return order_of(row.mod_revision, compare.number);
        case Target::kValue: return row.value.compare(compare.value);
    }
    return 0;
}

Result<bool> holds(Rows& rows, const Compare& compare) {
    bool any = false;
    bool all = true;
    const Range range{.key = compare.key,
                      .range_end = compare.range_end,
                      .keys_only = compare.target != Target::kValue};
    CULVERT_TRY_STATUS(rows.scan(range, [&](KeyValue&& row) {
        any = true;
        all = relation_holds(compare.relation, order_of(compare, row));
        return all;
    }));
    if (any) {
        return all;
    }
    // an absent key has no value to compare (etcd applyCompares)
    return compare.target != Target::kValue &&
           relation_holds(compare.relation, order_of(compare, KeyValue{}));
}

// Carries a branch out.
class Branch {
  public:
    Branch(Rows& rows, std::int64_t revision, Applied& out)
        : rows_(rows), next_(revision + 1), out_(out) {}

    Status run(const Op& op) {
        switch (op.kind) {
            case Op::Kind::kPut: return put(op);
            case Op::Kind::kDelete: return erase(op);
            case Op::Kind::kRange: return range(op);
        }
        return {};
    }

  private:
    Status put(const Op& op) {
        auto before = rows_.get(op.key);
        if (!before) {
            return std::unexpected(std::move(before.error()));
        }
        KeyValue now{.key = op.key,
                     .value = op.value,
                     .create_revision = *before ? (*before)->create_revision : next_,
                     .mod_revision = next_,
                     .version = *before ? (*before)->version + 1 : 1};
        CULVERT_TRY_STATUS(rows_.put(now));
        out_.batch.events.push_back(
            Event{.kind = Event::Kind::kPut, .now = std::move(now), .before = std::move(*before)});
        return {};
    }

    Status erase(const Op& op) {
        std::vector<KeyValue> victims;
        CULVERT_TRY_STATUS(
            rows_.scan(Range{.key = op.key, .range_end = op.range_end}, [&](KeyValue&& row) {
                victims.push_back(std::move(row));
                return true;
            }));
        for (KeyValue& victim : victims) {
            CULVERT_TRY_STATUS(rows_.erase(victim.key));
            KeyValue now{.key = victim.key, .value = {}, .mod_revision = next_};
            out_.batch.events.push_back(Event{
                .kind = Event::Kind::kDelete, .now = std::move(now), .before = std::move(victim)});
        }
        return {};
    }

    Status range(const Op& op) {
        auto found = run_range(rows_, Range{.key = op.key, .range_end = op.range_end}, 0);
        if (!found) {
            return std::unexpected(std::move(found.error()));
        }
        out_.result.ranges.push_back(std::move(*found));
        return {};
    }

    Rows& rows_;
    const std::int64_t next_;
    Applied& out_;
};

}  // namespace

bool in_range(std::string_view key, std::string_view first, std::string_view range_end) {
    if (range_end.empty()) {
        return key == first;
    }
    return key >= first && (range_end == kToTheEnd || key < range_end);
}

Status check_range(const Range& range) {
    if (range.key.empty()) {
        return fail(Code::kInvalidArgument, "store range: key is empty");
    }
    return {};
}

Status check_txn(const Txn& txn) {
    const std::size_t operations =
        std::max({txn.compares.size(), txn.success.size(), txn.failure.size()});
    if (operations > limits::kTxnOperations) {
        return fail(Code::kTooLarge,
                    fmt::format("store transaction: {} operations, the limit is {}", operations,
                                limits::kTxnOperations));
    }
    const std::size_t bytes = encoded_size(txn);
    if (bytes > limits::kTxnBytes) {
        return fail(Code::kTooLarge, fmt::format("store transaction: {} bytes, the limit is {}",
                                                 bytes, limits::kTxnBytes));
    }
    for (const Compare& compare : txn.compares) {
        if (compare.key.empty()) {
            return fail(Code::kInvalidArgument, "store transaction: key is empty");
        }
    }
    CULVERT_TRY_STATUS(check_branch(txn.success));
    return check_branch(txn.failure);
}

Result<RangeResult> run_range(Rows& rows, const Range& range, std::int64_t revision) {
    RangeResult answer;
    answer.revision = revision;
    if (range.count_only) {
        auto matched = rows.count(range);
        if (!matched) {
            return std::unexpected(std::move(matched.error()));
        }
        answer.count = *matched;
        return answer;
    }
    CULVERT_TRY_STATUS(rows.scan(range, [&](KeyValue&& row) {
        if (range.limit != 0 && answer.kvs.size() == range.limit) {
            answer.more = true;
            return false;
        }
        answer.kvs.push_back(std::move(row));
        return true;
    }));
    answer.count = answer.kvs.size();
    if (answer.more) {
        auto matched = rows.count(range);
        if (!matched) {
            return std::unexpected(std::move(matched.error()));
        }
        answer.count = *matched;
    }
    return answer;
}

Result<Applied> apply(Rows& rows, const Txn& txn, std::int64_t revision) {
    Applied out;
    out.result.succeeded = true;
    for (const Compare& compare : txn.compares) {
        auto held = holds(rows, compare);
        if (!held) {
            return std::unexpected(std::move(held.error()));
        }
        if (!*held) {
            out.result.succeeded = false;
            break;
        }
    }
    Branch branch(rows, revision, out);
    for (const Op& op : out.result.succeeded ? txn.success : txn.failure) {
        CULVERT_TRY_STATUS(branch.run(op));
    }
    out.result.revision = out.batch.events.empty() ? revision : revision + 1;
    out.batch.revision = out.result.revision;
    for (RangeResult& range : out.result.ranges) {
        range.revision = out.result.revision;
    }
    return out;
}

}  // namespace culvert::store
