// SPDX-License-Identifier: Apache-2.0
#include "store/measured.hpp"

#include <chrono>
#include <utility>

namespace culvert::store {
namespace {

class MeasuredStore final : public Store {
  public:
    MeasuredStore(std::unique_ptr<Store> store, StoreTimes& times)
        : store_(std::move(store)), times_(times) {}

    Result<TxnResult> txn(const Txn& txn) override {
        auto out = timed(times_.transactions, [&] { return store_->txn(txn); });
        note(out ? nullptr : &out.error());
        return out;
    }
    Result<RangeResult> range(const Range& range) override {
        return timed(times_.reads, [&] { return store_->range(range); });
    }
    Result<std::unique_ptr<Watch>> watch(std::string key, std::string range_end,
                                         std::int64_t after_revision, WatchFn fn) override {
        return store_->watch(std::move(key), std::move(range_end), after_revision, std::move(fn));
    }
    std::int64_t revision() override { return store_->revision(); }
    // Costs nothing while all is well: a write would have to be waited for.
    Status writable() override {
        if (times_.state == StoreState::kWritable) {
            return {};
        }
        Status out = store_->writable();
        note(out ? nullptr : &out.error());
        return out;
    }
    Status snapshot(const std::string& path) override { return store_->snapshot(path); }

  private:
    // Refusals for what was asked are no failures of the store.
    void note(const Error* error) {
        const Code code = error == nullptr ? Code::kConflict : error->code;
        times_.state = code == Code::kStorageFull ? StoreState::kFull
                       : code == Code::kUnavailable || code == Code::kCorrupt
                           ? StoreState::kFailed
                           : StoreState::kWritable;
    }

    template <typename F>
    auto timed(metrics::Histogram& into, F&& work) -> decltype(work()) {
        const auto start = std::chrono::steady_clock::now();
        auto out = std::forward<F>(work)();
        into.observe(std::chrono::steady_clock::now() - start);
        times_.errors += out ? 0 : 1;
        return out;
    }

    const std::unique_ptr<Store> store_;
    StoreTimes& times_;
};

}  // namespace

std::unique_ptr<Store> measured(std::unique_ptr<Store> store, StoreTimes& times) {
    return std::make_unique<MeasuredStore>(std::move(store), times);
}

}  // namespace culvert::store
