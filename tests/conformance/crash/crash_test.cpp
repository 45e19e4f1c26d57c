// SPDX-License-Identifier: Apache-2.0
// The SQLite engine on a disk that loses power. Seeds are random unless CULVERT_SEED is set;
// CULVERT_CRASH_ROUNDS makes it longer.
#include "directory.hpp"
#include "disk.hpp"
#include "twin.hpp"

#include <fmt/format.h>

#include <atomic>
#include <set>
#include <thread>

namespace culvert::store::test {
namespace {

// Many lives of one store, each ended by the power.
class Lives {
  public:
    explicit Lives(std::uint64_t seed) : random_(seed) {}

    // Empty, or what was lost or broken.
    std::string run(std::uint64_t rounds) {
        for (std::uint64_t round = 0; round < rounds; ++round) {
            if (round % 100 == 99) {
                start_over();
            }
            if (auto wrong = live(); !wrong.empty()) {
                return fmt::format("round {}: {}", round, wrong);
            }
        }
        return {};
    }

    std::size_t acknowledged() const { return acknowledged_ + truth_.acknowledged; }
    std::size_t crashes() const { return crashes_; }
    Disk& disk() { return disk_; }

  private:
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

    void start_over() {
        directory_ = std::make_unique<FastDirectory>();
        disk_.forget();
        acknowledged_ += truth_.acknowledged;
        truth_ = Truth{};
    }

    // Opens, compares, writes until the power goes.
    std::string live() {
        if (below(4) == 0) {  // it may also go while the store is opened and recovers
            disk_.fail_after(below(40));
            (void)open_sqlite(directory_->file());
            crash();
        }
        auto opened = open_sqlite(directory_->file());
        if (!opened) {
            return "the store does not open any more: " + opened.error().message;
        }
        if (auto wrong = compare_after_crash(**opened, truth_); !wrong.empty()) {
            return wrong;
        }
        const bool large = below(6) == 0;
        if (large && below(2) == 0) {
            disk_.fail_after(below(60), Disk::Where::kDatabase);
        } else if (below(8) != 0) {
            disk_.fail_after(below(large ? 1500 : 150));
        }
        write(std::move(*opened), large ? 10 + below(20) : 1 + below(30), large);
        if (below(16) == 0 && !disk_.failed()) {
            return {};  // it ended well: the next life begins with a closed store
        }
        crash();
        return {};
    }

    void crash() {
        ++crashes_;
        disk_.fail_now();
        static constexpr Loss kKinds[] = {Loss::kNothing, Loss::kEverything, Loss::kSome,
                                          Loss::kOlder,   Loss::kTail,       Loss::kTornTail};
        disk_.recover(directory_->path(), kKinds[below(std::size(kKinds))], random_);
    }

    // Writes and, beside it, reads that must never see half a transaction.
    void write(std::unique_ptr<Store> opened, std::uint64_t transactions, bool large = false) {
        Twin store(std::move(opened), truth_);
        std::atomic<bool> over{false};
        std::thread reader([&] {
            std::int64_t last = 0;
            do {
                auto pair = store.range(Range{.key = "/pair/", .range_end = prefix_end("/pair/")});
                if (!pair) {
                    return;
                }
                EXPECT_GE(pair->revision, last);
                last = pair->revision;
                if (!pair->kvs.empty()) {
                    ASSERT_EQ(pair->kvs.size(), 2U);
                    EXPECT_EQ(pair->kvs[0].value, pair->kvs[1].value);
                }
            } while (!over);
        });
        const std::uint64_t bad_sync = below(6) == 0 ? below(transactions) : transactions;
        for (std::uint64_t i = 0; i < transactions && !disk_.failed(); ++i) {
            if (i == bad_sync) {
                disk_.fail_syncs(1 + static_cast<int>(below(2)));
            }
            (void)store.txn(transaction(large));
        }
        over = true;
        reader.join();
        if (below(2) == 0) {
            disk_.fail_now();  // while it is open: nothing is tidied up
        }
    }

    std::string key() { return fmt::format("/k/{:03}", below(120)); }

    Txn transaction(bool large) {
        Txn txn;
        std::set<std::string> used;
        const std::string tag = fmt::format("{}", ++serial_);
        txn.success = {put("/pair/a", tag), put("/pair/b", tag)};
        for (std::uint64_t i = 1 + below(20); i > 0; --i) {
            std::string name = key();
            if (!used.insert(name).second) {
                continue;
            }
            if (below(4) == 0) {
                txn.success.push_back(erase(std::move(name)));
            } else {
                const auto size = large ? 2000 + below(8000) : below(300);
                txn.success.push_back(put(std::move(name), tag + std::string(size, 'v')));
            }
        }
        if (below(3) == 0) {
            txn.compares.push_back(below(2) == 0 ? present(key()) : absent(key()));
            txn.failure = {put("/refused", tag)};
        }
        return txn;
    }

    std::mt19937_64 random_;
    std::unique_ptr<FastDirectory> directory_ = std::make_unique<FastDirectory>();
    Disk disk_;
    Truth truth_;
    std::uint64_t serial_ = 0;
    std::size_t acknowledged_ = 0;
    std::size_t crashes_ = 0;
};

TEST(Crash, LosesNothingThatWasAcknowledged) {
    const std::uint64_t seed = number_of("CULVERT_SEED", std::random_device{}());
    const std::uint64_t rounds = number_of("CULVERT_CRASH_ROUNDS", 1000);
    Lives lives(seed);
    EXPECT_EQ(lives.run(rounds), "") << "CULVERT_SEED=" << seed;
    EXPECT_GT(lives.acknowledged(), rounds) << "too few writes to show anything";
    EXPECT_GT(lives.crashes(), rounds / 2);
    fmt::print("{} crashes, {} acknowledged transactions, seed {}\n", lives.crashes(),
               lives.acknowledged(), seed);
}

// The control: the same on an engine that does not sync must lose writes, or the test above shows
// nothing. SQLite's own setting is what is planted.
TEST(Crash, IsNoticedWhenCommitsAreNotSynced) {
    const auto plant = [](sqlite3* db, const char**, const void*) {
        sqlite3_exec(db, "PRAGMA synchronous=OFF", nullptr, nullptr, nullptr);
        sqlite3_set_authorizer(
            db,
            [](void*, int action, const char* name, const char*, const char*, const char*) {
                return action == SQLITE_PRAGMA && sqlite3_stricmp(name, "synchronous") == 0
                           ? SQLITE_IGNORE
                           : SQLITE_OK;
            },
            nullptr);
        return SQLITE_OK;
    };
    using Entry = void (*)();
    int (*const entry)(sqlite3*, const char**, const void*) = plant;
    sqlite3_auto_extension(reinterpret_cast<Entry>(entry));
    std::string lost;
    {
        Lives lives(20261126);
        lost = lives.run(200);
    }
    sqlite3_cancel_auto_extension(reinterpret_cast<Entry>(entry));
    EXPECT_NE(lost, "") << "200 crashes without a sync and nothing lost";
}

}  // namespace
}  // namespace culvert::store::test
