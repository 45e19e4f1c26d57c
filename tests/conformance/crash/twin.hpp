// SPDX-License-Identifier: Apache-2.0
// Two engines side by side: one that may crash and a memory engine that never does. What both have
// acknowledged must be the same for ever; what the one did not answer may have happened or not.
// Thread safety: one writer.
#pragma once

#include "store/store.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

namespace culvert::store::test {

// What has been acknowledged, and the one transaction that was not answered.
struct Truth {
    std::unique_ptr<Store> memory = open_memory();
    std::optional<Txn> unanswered;
    std::size_t acknowledged = 0;
};

// Every row of a store and its revision; an error as a row that equals nothing.
inline std::pair<std::int64_t, std::vector<KeyValue>> dump(Store& store) {
    auto all = store.list("");
    if (!all) {
        return {-1, {KeyValue{.key = all.error().message}}};
    }
    return {all->revision, std::move(all->kvs)};
}

// The store that a test writes to.
class Twin final : public Store {
  public:
    Twin(std::unique_ptr<Store> real, Truth& truth) : real_(std::move(real)), truth_(truth) {}

    Result<TxnResult> txn(const Txn& txn) override {
        if (truth_.unanswered) {
            if (auto settled = settle(); !settled) {
                return std::unexpected(std::move(settled.error()));
            }
        }
        auto done = real_->txn(txn);
        if (!done) {
            if (!truth_.unanswered) {
                truth_.unanswered = txn;
            }
            return done;
        }
        auto expected = truth_.memory->txn(txn);
        EXPECT_TRUE(expected.has_value());
        EXPECT_EQ(done->succeeded, expected->succeeded);
        EXPECT_EQ(done->revision, expected->revision);
        ++truth_.acknowledged;
        return done;
    }
    Result<RangeResult> range(const Range& range) override { return real_->range(range); }
    Result<std::unique_ptr<Watch>> watch(std::string key, std::string range_end,
                                         std::int64_t after_revision, WatchFn fn) override {
        return real_->watch(std::move(key), std::move(range_end), after_revision, std::move(fn));
    }
    std::int64_t revision() override { return real_->revision(); }

  private:
    // Writes go on after an error: has what was not answered happened? A transaction that writes
    // nothing says so.
    Status settle() {
        auto now = real_->txn(Txn{});
        if (!now) {
            return std::unexpected(std::move(now.error()));
        }
        if (now->revision != truth_.memory->revision()) {
            EXPECT_TRUE(truth_.memory->txn(*truth_.unanswered).has_value());
        }
        EXPECT_EQ(now->revision, truth_.memory->revision());
        truth_.unanswered.reset();
        return {};
    }

    std::unique_ptr<Store> real_;
    Truth& truth_;
};

// After a crash: everything acknowledged is there, and nothing else but, whole or not at all, what
// was not answered. Empty: it is so; else what is wrong.
inline std::string compare_after_crash(Store& real, Truth& truth) {
    const auto found = dump(real);
    if (found.first != truth.memory->revision() && truth.unanswered) {
        if (auto late = truth.memory->txn(*truth.unanswered); !late) {
            return "the transaction that was not answered is not valid";
        }
    }
    truth.unanswered.reset();
    const auto expected = dump(*truth.memory);
    if (found.first != expected.first) {
        return "revision " + std::to_string(found.first) + " instead of " +
               std::to_string(expected.first);
    }
    if (found.second != expected.second) {
        return "revision " + std::to_string(found.first) + " is there with other contents (" +
               std::to_string(found.second.size()) + " rows instead of " +
               std::to_string(expected.second.size()) + ")";
    }
    return {};
}

}  // namespace culvert::store::test
