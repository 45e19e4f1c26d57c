// SPDX-License-Identifier: Apache-2.0
// The memory engine: for tests. Nothing survives the process.
#include "store/apply.hpp"
#include "store/notifier.hpp"

#include <map>

namespace culvert::store {
namespace {

class MemoryRows final : public Rows {
  public:
    Result<std::optional<KeyValue>> get(const std::string& key) override {
        const auto found = rows_.find(key);
        return found == rows_.end() ? std::optional<KeyValue>() : found->second;
    }

    Status scan(const Range& range, const std::function<bool(KeyValue&&)>& visit) override {
        for (auto row = rows_.lower_bound(range.key);
             row != rows_.end() && in_range(row->first, range.key, range.range_end); ++row) {
            KeyValue copy = row->second;
            if (range.keys_only) {
                copy.value.clear();
            }
            if (!visit(std::move(copy))) {
                break;
            }
        }
        return {};
    }

    Result<std::size_t> count(const Range& range) override {
        std::size_t matched = 0;
        for (auto row = rows_.lower_bound(range.key);
             row != rows_.end() && in_range(row->first, range.key, range.range_end); ++row) {
            ++matched;
        }
        return matched;
    }

    Status put(const KeyValue& row) override {
        rows_.insert_or_assign(row.key, row);
        return {};
    }

    Status erase(const std::string& key) override {
        rows_.erase(key);
        return {};
    }

  private:
    std::map<std::string, KeyValue, std::less<>> rows_;
};

class MemoryStore final : public Store {
  public:
    Result<TxnResult> txn(const Txn& txn) override {
        CULVERT_TRY_STATUS(check_txn(txn));
        return state_.with([&](State& state) -> Result<TxnResult> {
            auto applied = apply(state.rows, txn, state.revision);
            if (!applied) {
                return std::unexpected(std::move(applied.error()));
            }
            if (!applied->batch.events.empty()) {
                state.revision = applied->batch.revision;
                notifier_.publish(std::move(applied->batch));
            }
            return std::move(applied->result);
        });
    }

    Result<RangeResult> range(const Range& range) override {
        CULVERT_TRY_STATUS(check_range(range));
        return state_.with(
            [&](State& state) { return run_range(state.rows, range, state.revision); });
    }

    Result<std::unique_ptr<Watch>> watch(std::string key, std::string range_end,
                                         std::int64_t after_revision, WatchFn fn) override {
        return notifier_.watch(std::move(key), std::move(range_end), after_revision, std::move(fn));
    }

    std::int64_t revision() override {
        return state_.with([](State& state) { return state.revision; });
    }

  private:
    struct State {
        MemoryRows rows;
        std::int64_t revision = 1;  // etcd's first
    };
    Guarded<State> state_;
    Notifier notifier_{1, true};
};

}  // namespace

std::unique_ptr<Store> open_memory() { return std::make_unique<MemoryStore>(); }

}  // namespace culvert::store
