// SPDX-License-Identifier: Apache-2.0
// The SQLite engine on a disk that is full or answers errors.
#include "directory.hpp"
#include "disk.hpp"
#include "store/store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace culvert::store::test {
namespace {

using testing::HasSubstr;

class Faults : public testing::Test {
  protected:
    Faults() {
        auto opened = open_sqlite(directory_.file());
        EXPECT_TRUE(opened.has_value());
        store_ = std::move(*opened);
    }
    Result<TxnResult> write(const std::string& key, const std::string& value) {
        return store_->txn(Txn{.compares = {}, .success = {put(key, value)}, .failure = {}});
    }
    std::string value(const std::string& key) {
        auto found = store_->get(key);
        return !found ? found.error().message : *found ? (*found)->value : "(absent)";
    }

    FastDirectory directory_;
    Disk disk_;
    std::unique_ptr<Store> store_;
};

TEST_F(Faults, AFullDiskIsReadOnlyAndRecoversByItself) {
    ASSERT_TRUE(write("/a", "1"));
    const auto before = store_->revision();
    disk_.set_full(true);
    for (int i = 0; i < 3; ++i) {
        const auto refused = write("/a", "2");
        ASSERT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error().code, Code::kStorageFull);
        EXPECT_EQ(refused.error().arm_code, "InsufficientStorage");
        EXPECT_THAT(refused.error().message, HasSubstr(directory_.path()));
        EXPECT_EQ(value("/a"), "1");
        EXPECT_EQ(store_->revision(), before);
    }
    disk_.set_full(false);
    const auto after = write("/a", "3");
    ASSERT_TRUE(after.has_value()) << after.error().message;
    EXPECT_EQ(after->revision, before + 1);
    EXPECT_EQ(value("/a"), "3");
}

// The kernel may drop what it could not sync and answer the next sync with success. So what was
// acknowledged after the error must be on the disk, and what was not must not be half there.
TEST_F(Faults, AFailedSyncIsNotTriedAgainButCheckedAnew) {
    for (int round = 0; round < 20; ++round) {
        const std::string tag = std::to_string(round);
        ASSERT_TRUE(write("/before", tag));
        disk_.fail_syncs(1);
        const auto refused = write("/lost", tag);
        ASSERT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error().code, Code::kUnavailable);
        EXPECT_EQ(value("/before"), tag);
        const auto after = write("/after", tag);
        ASSERT_TRUE(after.has_value()) << after.error().message;
        EXPECT_EQ(store_->revision(), after->revision);

        // power fails: only what was synced is left
        disk_.fail_now();
        store_.reset();
        std::mt19937_64 random(1);
        disk_.recover(directory_.path(), Loss::kEverything, random);
        auto opened = open_sqlite(directory_.file());
        ASSERT_TRUE(opened.has_value()) << opened.error().message;
        store_ = std::move(*opened);
        EXPECT_EQ(value("/before"), tag);
        EXPECT_EQ(value("/after"), tag);
        EXPECT_EQ(store_->revision(), after->revision);
    }
}

TEST_F(Faults, NothingIsWrittenWhileTheDiskGoesOnFailing) {
    ASSERT_TRUE(write("/a", "1"));
    disk_.fail_syncs(1000);
    for (int i = 0; i < 4; ++i) {
        const auto refused = write("/a", "2");
        ASSERT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error().code, Code::kUnavailable);
    }
    disk_.fail_syncs(0);
    ASSERT_TRUE(write("/b", "1"));
    EXPECT_EQ(value("/b"), "1");
}

// Watches see a write that was not answered but turned out to be there, once and in its place.
TEST_F(Faults, WatchesMissNothing) {
    Guarded<std::vector<std::int64_t>> seen;
    auto watch =
        store_->watch("/", prefix_end("/"), store_->revision(), [&](const WatchBatch& batch) {
            seen.with([&](auto& all) { all.push_back(batch.revision); });
        });
    ASSERT_TRUE(watch.has_value());
    for (int i = 0; i < 10; ++i) {
        disk_.fail_syncs(i % 2);
        (void)write("/a", std::to_string(i));
        ASSERT_TRUE(write("/b", std::to_string(i)));
    }
    const auto last = store_->revision();
    for (int patience = 0; patience < 3000; ++patience) {
        const auto at = seen.with([](auto& all) { return all.empty() ? 0 : all.back(); });
        if (at == last) {
            break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    seen.with([&](auto& all) {
        ASSERT_EQ(all.size(), static_cast<std::size_t>(last - 1));
        for (std::size_t i = 0; i < all.size(); ++i) {
            EXPECT_EQ(all[i], static_cast<std::int64_t>(i) + 2);
        }
    });
}

}  // namespace
}  // namespace culvert::store::test
