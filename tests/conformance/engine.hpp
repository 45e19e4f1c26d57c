// SPDX-License-Identifier: Apache-2.0
// What the suite is run on: an engine in a fresh place of its own.
#pragma once

#include "base/guarded.hpp"
#include "store/store.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace culvert::store::test {

class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = (std::filesystem::temp_directory_path() / "cv-store-XXXXXX").string();
        if (::mkdtemp(name.data()) != nullptr) {
            path_ = name;
        }
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    std::string file(const std::string& name) const { return (path_ / name).string(); }

  private:
    std::filesystem::path path_;
};

class Engines : public testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        if (GetParam() == "memory") {
            store_ = open_memory();
            return;
        }
        auto opened = open_sqlite(directory_.file("store.db"));
        ASSERT_TRUE(opened.has_value()) << opened.error().message;
        store_ = std::move(*opened);
    }

    // Runs a transaction that must be accepted.
    TxnResult run(const Txn& txn) {
        auto done = store_->txn(txn);
        EXPECT_TRUE(done.has_value()) << (done ? "" : done.error().message);
        return done ? *done : TxnResult{};
    }
    std::int64_t write(const std::string& key, const std::string& value) {
        return run(Txn{.compares = {}, .success = {put(key, value)}, .failure = {}}).revision;
    }
    std::int64_t remove(const std::string& key, const std::string& range_end = {}) {
        Op op = erase(key);
        op.range_end = range_end;
        return run(Txn{.compares = {}, .success = {op}, .failure = {}}).revision;
    }
    bool holds(const Compare& compare) {
        return run(Txn{.compares = {compare}, .success = {}, .failure = {}}).succeeded;
    }
    RangeResult read(const Range& range) {
        auto found = store_->range(range);
        EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
        return found ? *found : RangeResult{};
    }
    std::string value(const std::string& key) {
        auto found = store_->get(key);
        EXPECT_TRUE(found.has_value());
        return found && *found ? (*found)->value : "(absent)";
    }

    TemporaryDirectory directory_;
    std::unique_ptr<Store> store_;
};

// Collects what a watch delivers and lets a test wait for it.
class Collector {
  public:
    WatchFn fn() {
        return [this](const WatchBatch& batch) {
            batches_.with([&](std::vector<WatchBatch>& all) { all.push_back(batch); });
        };
    }
    // The batches once there are `count` of them, or what there is after half a minute.
    std::vector<WatchBatch> take(std::size_t count) {
        return batches_.wait_for(
            std::chrono::seconds(30),
            [&](const std::vector<WatchBatch>& all) { return all.size() >= count; },
            [](std::vector<WatchBatch>& all) { return all; });
    }

  private:
    Monitor<std::vector<WatchBatch>> batches_;
};

}  // namespace culvert::store::test
