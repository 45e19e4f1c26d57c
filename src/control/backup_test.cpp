// SPDX-License-Identifier: Apache-2.0
// What a restore must not take back, and that each begins a life that nobody has seen.
#include "control/backup.hpp"

#include "control/certificates.hpp"
#include "control/handlers_test.hpp"
#include "control/keys.hpp"
#include "control/restore_epoch.hpp"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

namespace culvert::control::test {
namespace {

namespace fs = std::filesystem;
constexpr auto kNow = WallTime(std::chrono::seconds(1'800'000'000));

class BackupTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "culvert-backup-XXXXXX";
        folder_ = mkdtemp(pattern.data());
        data_ = folder_ / "data";
        backup_ = folder_ / "backup";
        fs::create_directory(data_);
        ASSERT_TRUE(CertificateAuthority::open(data_, clock_.wall(), random_));
        store_ = open(data_);
    }
    void TearDown() override {
        store_.reset();
        fs::remove_all(folder_);
    }
    static std::unique_ptr<store::Store> open(const fs::path& data) {
        auto opened = store::open_sqlite(data / "store.db");
        EXPECT_TRUE(opened.has_value());
        return opened ? std::move(*opened) : nullptr;
    }
    std::int64_t write(const std::string& key, const std::string& value) {
        const auto done =
            store_->txn({.compares = {}, .success = {store::put(key, value)}, .failure = {}});
        return done ? done->revision : 0;
    }
    RestoreResult restore(const fs::path& to, store::RestorePoint point = {}) {
        auto done = restore_backup({backup_, to, point, true}, clock_, random_);
        EXPECT_TRUE(done.has_value()) << (done ? "" : done.error().message);
        return done ? *done : RestoreResult{};
    }
    static std::string value(store::Store& store, const std::string& key) {
        const auto row = store.get(key);
        return row && *row ? (*row)->value : "(none)";
    }

    ManualClock clock_{kNow};
    SeededRandom random_;
    fs::path folder_;
    fs::path data_;
    fs::path backup_;
    std::unique_ptr<store::Store> store_;
};

TEST_F(BackupTest, EachRestoreBeginsALifeThatNobodyHasSeen) {
    ASSERT_TRUE(write_backup(*store_, data_, backup_));
    // everything was lost each time: nothing tells the second of the first
    const auto first = restore(folder_ / "first").epoch;
    const auto hasty = restore(folder_ / "hasty").epoch;
    EXPECT_NE(first, hasty) << "within one second";
    clock_.advance(std::chrono::seconds(1));
    const auto second = restore(folder_ / "second").epoch;
    EXPECT_NE(first, second);
    const auto number = [&](const char* name) {
        return RestoreEpoch::read(*open(folder_ / name))->number;
    };
    EXPECT_GT(number("second"), number("first")) << "generations of numbers begin above";
    // a clock that went back does not bring an earlier one
    clock_.advance(-std::chrono::hours(24));
    restore(folder_ / "second");
    EXPECT_GT(number("second"), number("hasty"));
}

TEST_F(BackupTest, WhatWasRevokedStaysRevokedAndWhatWasRecordedRecorded) {
    write(keys::node("n1"), "as of then");
    const auto then = write(keys::revocation("before"), "1");
    write(keys::revocation("since"), "1");
    write("/audit/t/1", "who did it");
    write(keys::node("n1"), "later");
    ASSERT_TRUE(write_backup(*store_, data_, backup_));
    write(keys::revocation("after"), "1");
    store_.reset();
    restore(data_, {.revision = then, .time = {}});
    store_ = open(data_);
    EXPECT_EQ(value(*store_, keys::node("n1")), "as of then");
    for (const char* serial : {"before", "since", "after"}) {
        EXPECT_EQ(value(*store_, keys::revocation(serial)), "1") << serial;
    }
    EXPECT_EQ(value(*store_, "/audit/t/1"), "who did it");
    // where nothing is left, what came after the backup is not known
    const auto lost = folder_ / "lost";
    restore(lost);
    EXPECT_EQ(value(*open(lost), keys::revocation("since")), "1");
    EXPECT_EQ(value(*open(lost), keys::revocation("after")), "(none)");
}

TEST_F(BackupTest, ARotationOfTheAuthorityIsNotTakenBack) {
    ASSERT_TRUE(write_backup(*store_, data_, backup_));
    auto authority = std::move(*CertificateAuthority::open(data_, clock_.wall(), random_));
    const std::string first = authority->trust_pem();
    ASSERT_TRUE(authority->begin_rotation(clock_.wall()));
    ASSERT_TRUE(authority->issue_from_next());
    ASSERT_TRUE(authority->finish_rotation());
    store_.reset();
    restore(data_);
    const auto now = CertificateAuthority::open(data_, clock_.wall(), random_);
    EXPECT_EQ((*now)->trust_pem(), authority->trust_pem());
    EXPECT_NE((*now)->trust_pem(), first);
    restore(folder_ / "elsewhere");
    EXPECT_EQ(
        (*CertificateAuthority::open(folder_ / "elsewhere", clock_.wall(), random_))->trust_pem(),
        first);
}

}  // namespace
}  // namespace culvert::control::test
