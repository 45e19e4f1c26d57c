// SPDX-License-Identifier: Apache-2.0
// Backups, and every state that one can be taken back to.
#include "store/archive.hpp"
#include "base/limits.hpp"
#include "engine.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <map>
#include <thread>

namespace culvert::store::test {
namespace {

using testing::HasSubstr;

class Archives : public testing::Test {
  protected:
    Archives() { open(); }

    void open() {
        auto opened = open_sqlite(directory_.file("store.db"));
        ASSERT_TRUE(opened.has_value()) << opened.error().message;
        store_ = std::move(*opened);
    }
    std::int64_t write(std::vector<Op> ops) {
        auto done = store_->txn(Txn{.compares = {}, .success = std::move(ops), .failure = {}});
        EXPECT_TRUE(done.has_value());
        return done ? done->revision : 0;
    }
    std::string back_up(const std::string& name = "backup") {
        const std::string path = directory_.file(name);
        auto taken = store_->snapshot(path);
        EXPECT_TRUE(taken.has_value()) << (taken ? "" : taken.error().message);
        auto completed = complete_archive(path, {{"ca.key", "secret"}, {"ca.crt", ""}});
        EXPECT_TRUE(completed.has_value()) << (completed ? "" : completed.error().message);
        return path;
    }
    // The rows of a restored store; the restore must succeed.
    std::vector<KeyValue> restored(const std::string& archive, const RestorePoint& point) {
        const std::string to = directory_.file("restored-" + std::to_string(++serial_));
        auto done = restore_archive(archive, to, point);
        EXPECT_TRUE(done.has_value()) << (done ? "" : done.error().message);
        auto opened = done ? open_sqlite(to) : std::unexpected(done.error());
        if (!opened) {
            return {};
        }
        EXPECT_EQ((*opened)->revision(), done->revision);
        return (*opened)->list("")->kvs;
    }
    static std::int64_t count(sqlite3* file, const char* sql) {
        std::int64_t number = -1;
        sqlite3_exec(
            file, sql,
            [](void* out, int, char** row, char**) {
                *static_cast<std::int64_t*>(out) = std::atoll(row[0]);
                return 0;
            },
            &number, nullptr);
        return number;
    }
    Error refused(const std::string& archive, const RestorePoint& point) {
        const std::string to = directory_.file("refused");
        auto done = restore_archive(archive, to, point);
        EXPECT_FALSE(done.has_value());
        for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
            EXPECT_FALSE(std::filesystem::exists(to + suffix)) << suffix;
        }
        return done ? Error{} : done.error();
    }

    TemporaryDirectory directory_;
    std::unique_ptr<Store> store_;
    int serial_ = 0;
};

TEST_F(Archives, HoldTheStoreAsOfOneMoment) {
    write({put("/a", "1"), put("/b", "1")});
    const auto revision = write({put("/a", "2"), erase("/b")});
    const auto rows = store_->list("")->kvs;
    const std::string archive = back_up();
    write({put("/a", "3"), put("/later", "1")});
    EXPECT_EQ(restored(archive, {}), rows);
    const std::string to = directory_.file("whole");
    auto done = restore_archive(archive, to, {});
    ASSERT_TRUE(done.has_value());
    EXPECT_EQ(done->shown, revision);
    EXPECT_EQ(done->revision, revision + kRestoreJump);
    EXPECT_EQ(done->files, (std::vector<ArchivedFile>{{"ca.crt", ""}, {"ca.key", "secret"}}));
    struct stat about{};
    for (const std::string& each : {archive, to}) {
        ASSERT_EQ(::stat(each.c_str(), &about), 0);
        EXPECT_EQ(about.st_mode & 0777, 0600U) << each;
    }
}

// The keys that stood in the backup are not left behind in the restored store's free pages.
TEST_F(Archives, LeaveNoSecretsInTheStore) {
    const std::string path = directory_.file("backup");
    ASSERT_TRUE(store_->snapshot(path));
    const std::string secret(20000, 'S');
    ASSERT_TRUE(complete_archive(path, {{"ca.key", secret}}));
    const std::string to = directory_.file("restored");
    ASSERT_TRUE(restore_archive(path, to, {}).has_value());
    std::ifstream file(to, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(bytes.find(std::string(100, 'S')), std::string::npos);
}

TEST_F(Archives, CanGoBackToEveryRevision) {
    std::map<std::int64_t, std::vector<KeyValue>> states;
    states[store_->revision()] = {};
    for (int i = 0; i < 40; ++i) {
        std::vector<Op> ops;
        for (int k = 0; k < 5; ++k) {
            const std::string key = "/k" + std::to_string((i * 7 + k * 3) % 11);
            ops.push_back(k % 3 == 2 ? erase(key) : put(key, std::to_string(i)));
        }
        if (i % 10 == 9) {
            Op all = erase("/k");
            all.range_end = prefix_end("/k");
            ops = {all, put("/other", std::to_string(i))};
        }
        const auto revision = write(std::move(ops));
        states[revision] = store_->list("")->kvs;
    }
    const std::string archive = back_up();
    for (const auto& [revision, rows] : states) {
        EXPECT_EQ(restored(archive, {.revision = revision, .time = {}}), rows)
            << "revision " << revision;
    }
}

TEST_F(Archives, CanGoBackToATime) {
    using std::chrono::milliseconds;
    const auto first = write({put("/a", "1")});
    const auto rows = store_->list("")->kvs;
    std::this_thread::sleep_for(milliseconds(30));
    const auto between = WallTime::clock::now();
    std::this_thread::sleep_for(milliseconds(30));
    write({put("/a", "2")});
    const std::string archive = back_up();
    EXPECT_EQ(restored(archive, {.revision = {}, .time = between}), rows);
    const Error early =
        refused(archive, {.revision = {}, .time = between - std::chrono::hours(24 * 365)});
    EXPECT_EQ(early.code, Code::kInvalidArgument);
    EXPECT_THAT(early.message, HasSubstr(std::to_string(first - 1)));
}

// A flood of what is only noted down neither goes back nor shortens what can.
TEST_F(Archives, WhatIsNotRememberedStaysAndTakesNoPlace) {
    const auto note = [&](const std::string& key) {
        EXPECT_TRUE(store_->txn(Txn{
            .compares = {}, .success = {put(key, "note")}, .failure = {}, .remembered = false}));
    };
    const auto first = write({put("/a", "1"), put("/note/0", "0")});
    for (int i = 1; i <= 200; ++i) {
        note("/note/" + std::to_string(i));
    }
    write({put("/a", "2"), erase("/note/0")});
    note("/note/last");
    const std::string archive = back_up();
    const auto rows = restored(archive, {.revision = first, .time = {}});
    ASSERT_EQ(rows.size(), 203U);
    EXPECT_EQ(rows[0].value, "1");
    EXPECT_EQ(rows[1].key, "/note/0") << "its end was remembered";
    sqlite3* file = nullptr;
    ASSERT_EQ(sqlite3_open(archive.c_str(), &file), SQLITE_OK);
    EXPECT_EQ(count(file, "SELECT count(*) FROM revisions"), 2);
    EXPECT_EQ(count(file, "SELECT count(*) FROM history"), 4);
    sqlite3_close(file);
}

TEST_F(Archives, HoldAsMuchHistoryAsTheyAreToAndNoMore) {
    const auto first = write({put("/a", "first")});
    {  // as if the others had been long ago
        sqlite3* file = nullptr;
        ASSERT_EQ(sqlite3_open(directory_.file("store.db").c_str(), &file), SQLITE_OK);
        store_.reset();
        const std::string more = fmt::format(
            "WITH RECURSIVE n(i) AS (SELECT {0} UNION ALL SELECT i + 1 FROM n WHERE i < {1})"
            " INSERT INTO revisions SELECT i, 0 FROM n; UPDATE store SET revision = {1}",
            first + 1, first + static_cast<std::int64_t>(limits::kHistoryRevisions) - 32);
        ASSERT_EQ(sqlite3_exec(file, more.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
        sqlite3_close(file);
        open();
    }
    const auto oldest = [&] {
        const Error why =
            refused(back_up("backup" + std::to_string(++serial_)), {.revision = 0, .time = {}});
        return why.message.substr(0, why.message.find(" to "));
    };
    EXPECT_THAT(oldest(), testing::EndsWith(" " + std::to_string(first - 1)));
    std::int64_t last = 0;
    for (int i = 0; i < 128; ++i) {
        last = write({put("/a", std::to_string(i))});
    }
    EXPECT_THAT(
        oldest(),
        testing::EndsWith(" " + std::to_string(last - std::int64_t{limits::kHistoryRevisions})));
}

// What records facts is not taken back with the rest.
TEST_F(Archives, WhatIsKeptStaysAsItIsInTheBackup) {
    write({put("/fact/1", "1"), put("/fact/2", "1"), put("/facts", "1")});
    const auto to = store_->revision();
    write({put("/fact/1", "2"), erase("/fact/2"), put("/fact/3", "1"), put("/facts", "2")});
    std::map<std::string, std::string> left;
    for (const KeyValue& row :
         restored(back_up(), {.revision = to, .time = {}, .kept = {"/fact/"}})) {
        left[row.key] = row.value;
    }
    EXPECT_EQ(left, (std::map<std::string, std::string>{
                        {"/fact/1", "2"}, {"/fact/3", "1"}, {"/facts", "1"}}));
}

TEST_F(Archives, RefuseWhatTheyCannotShow) {
    const auto revision = write({put("/a", "1")});
    const std::string archive = back_up();
    EXPECT_EQ(refused(archive, {.revision = revision + 1, .time = {}}).code,
              Code::kInvalidArgument);
    EXPECT_EQ(refused(archive, {.revision = 0, .time = {}}).code, Code::kInvalidArgument);
    const std::string to = directory_.file("store.db");
    auto over = restore_archive(archive, to, {});
    ASSERT_FALSE(over.has_value());
    EXPECT_EQ(over.error().code, Code::kConflict);
    EXPECT_EQ((*store_->get("/a"))->value, "1");
    EXPECT_EQ(store_->snapshot(archive).error().code, Code::kConflict);
}

TEST_F(Archives, WhatIsNoBackupIsRefused) {
    write({put("/a", "1")});
    const std::string plain = directory_.file("plain");
    ASSERT_TRUE(store_->snapshot(plain));
    EXPECT_EQ(refused(plain, {}).code, Code::kCorrupt);
    const std::string text = directory_.file("text");
    std::ofstream(text) << "this is not a backup, it is a sentence that is long enough to have a "
                           "header in a file of a hundred bytes or more";
    EXPECT_EQ(refused(text, {}).code, Code::kCorrupt);
    EXPECT_EQ(refused(directory_.file("none"), {}).code, Code::kNotFound);
    const std::string archive = back_up();
    std::fstream file(archive, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(63);
    file.put(99);  // user_version: a newer build wrote it
    file.close();
    const Error newer = refused(archive, {});
    EXPECT_EQ(newer.code, Code::kCorrupt);
    EXPECT_THAT(newer.message, HasSubstr("schema version 99"));
}

// Copies made while others write show one moment each: pairs are always equal.
TEST_F(Archives, AreConsistentWhileOthersWrite) {
    std::atomic<bool> over{false};
    std::thread writer([&] {
        for (int i = 0; !over; ++i) {
            write({put("/x", std::to_string(i)), put("/y", std::to_string(i))});
        }
    });
    for (int i = 0; i < 5; ++i) {
        const auto rows = restored(back_up("b" + std::to_string(i)), {});
        if (!rows.empty()) {
            ASSERT_EQ(rows.size(), 2U);
            EXPECT_EQ(rows[0].value, rows[1].value);
        }
    }
    over = true;
    writer.join();
}

}  // namespace
}  // namespace culvert::store::test
