// SPDX-License-Identifier: Apache-2.0
// Files of every version that there has been (dumps/vN.sql) open, and hold what they held.
#include "engine.hpp"
#include "store/sqlite_connection.hpp"

#include <sqlite3.h>

#include <fstream>
#include <sstream>

namespace culvert::store::test {
namespace {

class Versions : public testing::TestWithParam<std::int64_t> {
  protected:
    // A file of that version.
    void make(std::int64_t version) {
        std::ifstream dump(std::string(CULVERT_STORE_DUMPS) + "/v" + std::to_string(version) +
                           ".sql");
        ASSERT_TRUE(dump) << "every version needs its dump: add dumps/v" << version << ".sql";
        std::ostringstream sql;
        sql << dump.rdbuf();
        run(sql.str());
    }
    void run(const std::string& sql) {
        sqlite3* db = nullptr;
        ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
        char* message = nullptr;
        EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK)
            << (message == nullptr ? "" : message);
        sqlite3_free(message);
        sqlite3_close(db);
    }
    // "name: sql" of every table, in order.
    std::string schema() {
        sqlite3* db = nullptr;
        EXPECT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
        std::string out;
        sqlite3_exec(
            db, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name",
            [](void* to, int, char** row, char**) {
                *static_cast<std::string*>(to) += std::string(row[0]) + ": " + row[1] + "\n";
                return 0;
            },
            &out, nullptr);
        sqlite3_close(db);
        return out;
    }

    TemporaryDirectory directory_;
    std::string path_ = directory_.file("store.db");
};

TEST_P(Versions, OpenAndHoldWhatTheyHeld) {
    make(GetParam());
    {
        auto store = open_sqlite(path_);
        ASSERT_TRUE(store.has_value()) << store.error().message;
        EXPECT_EQ((*store)->revision(), 7);
        auto all = (*store)->list("");
        ASSERT_TRUE(all.has_value());
        EXPECT_EQ(all->kvs, (std::vector<KeyValue>{{"/a", "first", 2, 5, 3}, {"/b", "", 7, 7, 1}}));
        ASSERT_TRUE(
            (*store)->txn(Txn{.compares = {}, .success = {put("/c", "new")}, .failure = {}}));
    }
    auto again = open_sqlite(path_);
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ((*again)->revision(), 8);
}

TEST_P(Versions, BecomeWhatANewFileIs) {
    make(GetParam());
    ASSERT_TRUE(open_sqlite(path_).has_value());
    const std::string migrated = schema();
    path_ = directory_.file("new.db");
    ASSERT_TRUE(open_sqlite(path_).has_value());
    EXPECT_EQ(migrated, schema());
}

// A migration that cannot be carried out leaves the file as it was.
TEST_P(Versions, AreLeftAloneByAMigrationThatFails) {
    if (GetParam() == kSchemaVersion) {
        return;  // nothing to migrate
    }
    make(GetParam());
    run("CREATE TABLE history (in_the_way INTEGER)");
    const std::string before = schema();
    auto refused = open_sqlite(path_);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(schema(), before);
    run("DROP TABLE history");
    EXPECT_TRUE(open_sqlite(path_).has_value());
}

INSTANTIATE_TEST_SUITE_P(Store, Versions, testing::Range(std::int64_t{1}, kSchemaVersion + 1),
                         [](const auto& about) { return "v" + std::to_string(about.param); });

}  // namespace
}  // namespace culvert::store::test
