// SPDX-License-Identifier: Apache-2.0
#include "base/limits.hpp"
#include "engine.hpp"

#include <thread>

namespace culvert::store::test {
namespace {

using Transactions = Engines;

TEST_P(Transactions, EveryWritingTransactionIsOneRevision) {
    const std::int64_t start = store_->revision();
    EXPECT_EQ(write("/a", "1"), start + 1);
    EXPECT_EQ(
        run(Txn{.compares = {}, .success = {put("/b", ""), put("/c", "")}, .failure = {}}).revision,
        start + 2);
    EXPECT_EQ(store_->revision(), start + 2);
    EXPECT_EQ(remove("/absent"), start + 2) << "deleting nothing writes nothing";
    EXPECT_EQ(run(Txn{}).revision, start + 2);
    EXPECT_EQ(remove("/b"), start + 3);
}

TEST_P(Transactions, VersionsCountWritesSinceCreation) {
    const auto created = write("/k", "1");
    const auto changed = write("/k", "2");
    auto row = store_->get("/k");
    ASSERT_TRUE(row && *row);
    EXPECT_EQ(**row, (KeyValue{.key = "/k",
                               .value = "2",
                               .create_revision = created,
                               .mod_revision = changed,
                               .version = 2}));
    remove("/k");
    const auto again = write("/k", "3");
    row = store_->get("/k");
    ASSERT_TRUE(row && *row);
    EXPECT_EQ((*row)->version, 1);
    EXPECT_EQ((*row)->create_revision, again);
}

TEST_P(Transactions, AnIdenticalPutStillWrites) {
    const auto first = write("/k", "same");
    EXPECT_EQ(write("/k", "same"), first + 1);
}

TEST_P(Transactions, ComparesOfEveryTargetAndRelation) {
    const auto created = write("/k", "b");
    const auto changed = write("/k", "b");
    const struct {
        Target target;
        std::int64_t actual;
    } numbers[] = {
        {Target::kVersion, 2}, {Target::kCreateRevision, created}, {Target::kModRevision, changed}};
    for (const auto& [target, actual] : numbers) {
        for (const int delta : {-1, 0, 1}) {
            Compare compare{.key = "/k", .target = target, .number = actual + delta};
            compare.relation = Relation::kEqual;
            EXPECT_EQ(holds(compare), delta == 0);
            compare.relation = Relation::kNotEqual;
            EXPECT_EQ(holds(compare), delta != 0);
            compare.relation = Relation::kLess;
            EXPECT_EQ(holds(compare), delta > 0) << "stored less than given";
            compare.relation = Relation::kGreater;
            EXPECT_EQ(holds(compare), delta < 0);
        }
    }
    for (const std::string given : {"a", "b", "c"}) {
        Compare compare{.key = "/k", .target = Target::kValue, .value = given};
        compare.relation = Relation::kEqual;
        EXPECT_EQ(holds(compare), given == "b");
        compare.relation = Relation::kNotEqual;
        EXPECT_EQ(holds(compare), given != "b");
        compare.relation = Relation::kLess;
        EXPECT_EQ(holds(compare), given == "c");
        compare.relation = Relation::kGreater;
        EXPECT_EQ(holds(compare), given == "a");
    }
}

TEST_P(Transactions, AnAbsentKeyComparesAsZeroAndHasNoValue) {
    EXPECT_TRUE(holds(absent("/no")));
    EXPECT_FALSE(holds(present("/no")));
    EXPECT_TRUE(holds(Compare{.key = "/no", .target = Target::kCreateRevision}));
    EXPECT_TRUE(holds(Compare{.key = "/no", .target = Target::kModRevision}));
    EXPECT_TRUE(holds(Compare{.key = "/no", .relation = Relation::kLess, .number = 1}));
    EXPECT_FALSE(holds(unchanged("/no", 1)));
    for (const Relation relation :
         {Relation::kEqual, Relation::kNotEqual, Relation::kLess, Relation::kGreater}) {
        EXPECT_FALSE(holds(Compare{.key = "/no", .target = Target::kValue, .relation = relation}))
            << "a value compare on an absent key never holds (etcd)";
    }
}

TEST_P(Transactions, ARangeCompareHoldsForEveryKeyOfTheRange) {
    EXPECT_TRUE(holds(none_below("/d/")));
    write("/d/a", "v");
    const auto last = write("/d/b", "v");
    write("/e", "other");
    EXPECT_FALSE(holds(none_below("/d/")));
    Compare compare{
        .key = "/d/", .range_end = prefix_end("/d/"), .target = Target::kValue, .value = "v"};
    EXPECT_TRUE(holds(compare));
    compare.value = "w";
    EXPECT_FALSE(holds(compare));
    compare.target = Target::kModRevision;
    compare.relation = Relation::kLess;
    compare.number = last;
    EXPECT_FALSE(holds(compare)) << "/d/b is not older than itself";
    compare.number = last + 1;
    EXPECT_TRUE(holds(compare));
    compare.range_end = std::string(1, '\0');
    EXPECT_FALSE(holds(compare)) << "/e is in the open range";
}

TEST_P(Transactions, OneFailedCompareRunsTheOtherBranch) {
    write("/k", "1");
    const Op look{.kind = Op::Kind::kRange, .key = "/k"};
    auto done = run(Txn{.compares = {present("/k"), absent("/other")},
                        .success = {put("/k", "2"), look},
                        .failure = {put("/never", "")}});
    EXPECT_TRUE(done.succeeded);
    ASSERT_EQ(done.ranges.size(), 1U);
    EXPECT_EQ(done.ranges[0].kvs.at(0).value, "2") << "operations see earlier ones";
    EXPECT_EQ(done.ranges[0].revision, done.revision);
    EXPECT_EQ(value("/never"), "(absent)");

    done = run(Txn{.compares = {present("/k"), present("/other")},
                   .success = {put("/k", "3")},
                   .failure = {put("/failed", "yes"), look}});
    EXPECT_FALSE(done.succeeded);
    EXPECT_EQ(done.ranges.at(0).kvs.at(0).value, "2");
    EXPECT_EQ(value("/failed"), "yes");
}

TEST_P(Transactions, DeleteRangeTakesExactlyTheRange) {
    for (const char* key : {"/a", "/d", "/d/1", "/d/2", "/d0", "/e"}) {
        write(key, "v");
    }
    remove("/d/", prefix_end("/d/"));
    const auto left = read(Range{.key = "/", .range_end = prefix_end("/"), .keys_only = true});
    std::vector<std::string> keys;
    for (const KeyValue& row : left.kvs) {
        keys.push_back(row.key);
    }
    EXPECT_EQ(keys, (std::vector<std::string>{"/a", "/d", "/d0", "/e"}));
}

TEST_P(Transactions, AKeyIsWrittenOnceATransaction) {
    const auto before = store_->revision();
    auto twice = store_->txn(
        Txn{.compares = {}, .success = {put("/k", "1"), put("/k", "2")}, .failure = {}});
    ASSERT_FALSE(twice.has_value());
    EXPECT_EQ(twice.error().code, Code::kInvalidArgument);
    Op all = erase("/");
    all.range_end = prefix_end("/");
    auto both = store_->txn(Txn{.compares = {}, .success = {}, .failure = {all, put("/k", "")}});
    ASSERT_FALSE(both.has_value());
    EXPECT_EQ(both.error().code, Code::kInvalidArgument);
    EXPECT_EQ(store_->revision(), before);
    EXPECT_EQ(value("/k"), "(absent)");
    run(Txn{.compares = {absent("/x")}, .success = {put("/k", "s")}, .failure = {put("/k", "f")}});
    EXPECT_EQ(value("/k"), "s") << "once in each branch is once";
}

TEST_P(Transactions, AnEmptyKeyIsRefusedEverywhere) {
    EXPECT_FALSE(store_->txn(Txn{.compares = {}, .success = {put("", "v")}, .failure = {}}));
    EXPECT_FALSE(store_->txn(Txn{.compares = {absent("")}, .success = {}, .failure = {}}));
    EXPECT_FALSE(store_->range(Range{}));
    EXPECT_FALSE(store_->watch("", "", 0, [](const WatchBatch&) {}));
}

TEST_P(Transactions, OperationsAtTheLimitAndOneBeyond) {
    Txn txn;
    for (std::size_t i = 0; i < limits::kTxnOperations; ++i) {
        txn.compares.push_back(absent("/c" + std::to_string(i)));
        txn.success.push_back(put("/s" + std::to_string(i), ""));
        txn.failure.push_back(put("/f" + std::to_string(i), ""));
    }
    EXPECT_TRUE(run(txn).succeeded);
    for (auto grow : {+[](Txn& t) { t.compares.push_back(absent("/more")); },
                      +[](Txn& t) { t.success.push_back(put("/more", "")); },
                      +[](Txn& t) { t.failure.push_back(put("/more", "")); }}) {
        Txn beyond = txn;
        grow(beyond);
        auto refused = store_->txn(beyond);
        ASSERT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error().code, Code::kTooLarge);
    }
    EXPECT_EQ(value("/more"), "(absent)");
}

TEST_P(Transactions, BytesAtTheLimitAndOneBeyond) {
    // put: 2 tags and lengths around {key: 1+1+2, value: 1+3+n}; then the envelope of 32
    const std::size_t around = 32 + 2 * (1 + 3) + (1 + 1 + 2) + (1 + 3);
    Txn txn{.compares = {}, .success = {put("/k", "")}, .failure = {}};
    txn.success[0].value.assign(limits::kTxnBytes - around, 'x');
    run(txn);
    EXPECT_EQ(value("/k").size(), limits::kTxnBytes - around);
    txn.success[0].value.push_back('x');
    auto refused = store_->txn(txn);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Code::kTooLarge);
}

TEST_P(Transactions, BytesOfAnyKindSurvive) {
    const std::string odd("\0\xff/\x01 key", 9);
    const std::string bytes("a\0b\xff\xfe", 5);
    write("/" + odd, bytes);
    EXPECT_EQ(value("/" + odd), bytes);
    write("/empty", "");
    EXPECT_EQ(value("/empty"), "");
}

TEST_P(Transactions, ConcurrentIncrementsLoseNothing) {
    constexpr int kThreads = 4;
    constexpr int kEach = 50;
    write("/n", "0");
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            for (int done = 0; done < kEach;) {
                auto row = store_->get("/n");
                ASSERT_TRUE(row && *row);
                const int next = std::stoi((*row)->value) + 1;
                auto result = store_->txn(Txn{.compares = {unchanged("/n", (*row)->mod_revision)},
                                              .success = {put("/n", std::to_string(next))},
                                              .failure = {}});
                ASSERT_TRUE(result.has_value()) << result.error().message;
                done += result->succeeded ? 1 : 0;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(value("/n"), std::to_string(kThreads * kEach));
}

TEST_P(Transactions, ReadersSeeWholeTransactionsOnly) {
    constexpr int kWrites = 200;
    run(Txn{.compares = {}, .success = {put("/p/a", "0"), put("/p/b", "0")}, .failure = {}});
    std::thread writer([&] {
        for (int i = 1; i <= kWrites; ++i) {
            const std::string n = std::to_string(i);
            run(Txn{.compares = {}, .success = {put("/p/a", n), put("/p/b", n)}, .failure = {}});
        }
    });
    for (std::string seen; seen != std::to_string(kWrites);) {
        auto pair = store_->list("/p/");
        ASSERT_TRUE(pair && pair->kvs.size() == 2);
        ASSERT_EQ(pair->kvs[0].value, pair->kvs[1].value);
        ASSERT_EQ(pair->kvs[0].mod_revision, pair->revision);
        seen = pair->kvs[0].value;
    }
    writer.join();
}

INSTANTIATE_TEST_SUITE_P(Store, Transactions, testing::Values("memory", "sqlite"),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace culvert::store::test
