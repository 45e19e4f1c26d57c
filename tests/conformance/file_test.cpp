// SPDX-License-Identifier: Apache-2.0
// What only an engine with a file has: durability and refusals.
#include "engine.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

namespace culvert::store::test {
namespace {

using testing::HasSubstr;

class Files : public testing::Test {
  protected:
    std::unique_ptr<Store> open() {
        auto opened = open_sqlite(path_);
        EXPECT_TRUE(opened.has_value()) << (opened ? "" : opened.error().message);
        return opened ? std::move(*opened) : nullptr;
    }
    Error refused() {
        auto opened = open_sqlite(path_);
        EXPECT_FALSE(opened.has_value());
        return opened ? Error{} : opened.error();
    }
    void fill(int rows) {
        auto store = open();
        for (int i = 0; i < rows; ++i) {
            ASSERT_TRUE(
                store->txn(Txn{.compares = {},
                               .success = {put("/k" + std::to_string(i), std::string(500, 'v'))},
                               .failure = {}}));
        }
    }
    std::string bytes() {
        std::ifstream file(path_, std::ios::binary);
        std::ostringstream all;
        all << file.rdbuf();
        return all.str();
    }
    void overwrite(const std::string& contents) {
        std::ofstream file(path_, std::ios::binary | std::ios::trunc);
        file << contents;
    }
    // Sets a big-endian 32-bit field of the file's header (SQLite file format 1.3).
    void set_header(std::size_t offset, std::uint32_t number) {
        std::string all = bytes();
        for (std::size_t i = 0; i < 4; ++i) {
            all[offset + i] = static_cast<char>(number >> (24 - 8 * i));
        }
        overwrite(all);
    }

    TemporaryDirectory directory_;
    std::string path_ = directory_.file("store.db");
};

TEST_F(Files, WhatWasAnsweredIsThereAfterReopening) {
    std::int64_t revision = 0;
    {
        auto store = open();
        ASSERT_TRUE(store->txn(Txn{.compares = {}, .success = {put("/a", "1")}, .failure = {}}));
        auto done = store->txn(
            Txn{.compares = {}, .success = {put("/b", "2"), erase("/a")}, .failure = {}});
        ASSERT_TRUE(done.has_value());
        revision = done->revision;
    }
    auto store = open();
    EXPECT_EQ(store->revision(), revision);
    auto all = store->list("");
    ASSERT_TRUE(all.has_value());
    ASSERT_EQ(all->kvs.size(), 1U);
    EXPECT_EQ(all->kvs[0], (KeyValue{.key = "/b",
                                     .value = "2",
                                     .create_revision = revision,
                                     .mod_revision = revision,
                                     .version = 1}));
    auto past = store->watch("/", prefix_end("/"), revision - 1, [](const WatchBatch&) {});
    ASSERT_FALSE(past.has_value());
    EXPECT_EQ(past.error().code, Code::kPreconditionFailed);
    EXPECT_TRUE(store->watch("/", prefix_end("/"), revision, [](const WatchBatch&) {}));
}

// A crash leaves the file and its WAL as they are at that moment: a copy of both is that moment.
TEST_F(Files, WhatWasAnsweredSurvivesACrash) {
    auto store = open();
    ASSERT_TRUE(store->txn(Txn{.compares = {}, .success = {put("/a", "1")}, .failure = {}}));
    const std::string crashed = directory_.file("crashed.db");
    std::filesystem::copy_file(path_, crashed);
    std::filesystem::copy_file(path_ + "-wal", crashed + "-wal");
    auto again = open_sqlite(crashed);
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ((*again)->revision(), store->revision());
    EXPECT_EQ((*(*again)->get("/a"))->value, "1");
}

TEST_F(Files, AreForTheirOwnerOnly) {
    auto store = open();
    ASSERT_TRUE(store->txn(Txn{.compares = {}, .success = {put("/a", "1")}, .failure = {}}));
    for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
        struct stat about{};
        ASSERT_EQ(::stat((path_ + suffix).c_str(), &about), 0) << suffix;
        EXPECT_EQ(about.st_mode & 0777, 0600U) << suffix;
    }
}

TEST_F(Files, HaveOneProcess) {
    auto store = open();
    const Error error = refused();
    EXPECT_EQ(error.code, Code::kUnavailable);
    EXPECT_THAT(error.message, HasSubstr("another process"));
    store.reset();
    EXPECT_NE(open(), nullptr);
}

TEST_F(Files, NewerVersionIsRefusedAndLeftAlone) {
    fill(1);
    set_header(60, 77);  // user_version
    const std::string before = bytes();
    const Error error = refused();
    EXPECT_EQ(error.code, Code::kCorrupt);
    EXPECT_THAT(error.message, HasSubstr("schema version 77"));
    EXPECT_EQ(bytes(), before);
}

TEST_F(Files, AnotherProgramsDatabaseIsRefused) {
    fill(1);
    set_header(68, 0x0f055112);  // application_id of a Fossil checkout
    const Error error = refused();
    EXPECT_EQ(error.code, Code::kCorrupt);
    EXPECT_THAT(error.message, HasSubstr("another program"));
}

TEST_F(Files, GarbageIsRefused) {
    overwrite(
        "this is not a database, it is a sentence that is long enough to have a header in "
        "a file of a hundred bytes or more");
    const Error error = refused();
    EXPECT_EQ(error.code, Code::kCorrupt);
    EXPECT_THAT(error.message, HasSubstr(path_));
}

TEST_F(Files, DamageInsideIsRefused) {
    fill(200);
    std::string all = bytes();
    ASSERT_GT(all.size(), 16384U);
    std::fill(all.begin() + 8192, all.begin() + 12288, '\x5a');
    overwrite(all);
    EXPECT_EQ(refused().code, Code::kCorrupt);
}

TEST_F(Files, ATruncatedFileIsRefused) {
    fill(200);
    overwrite(bytes().substr(0, 9000));
    EXPECT_EQ(refused().code, Code::kCorrupt);
}

TEST_F(Files, ADirectoryOrASymbolicLinkIsRefused) {
    std::filesystem::create_directory(path_);
    EXPECT_FALSE(open_sqlite(path_).has_value());
    const std::string link = directory_.file("link.db");
    std::filesystem::create_symlink(directory_.file("elsewhere.db"), link);
    EXPECT_FALSE(open_sqlite(link).has_value());
    EXPECT_FALSE(std::filesystem::exists(directory_.file("elsewhere.db")));
}

TEST_F(Files, GrowBeyondACheckpoint) {
    fill(1500);
    auto store = open();
    auto counted =
        store->range(Range{.key = "/k", .range_end = prefix_end("/k"), .count_only = true});
    ASSERT_TRUE(counted.has_value());
    EXPECT_EQ(counted->count, 1500U);
}

}  // namespace
}  // namespace culvert::store::test
