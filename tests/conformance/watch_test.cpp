// SPDX-License-Identifier: Apache-2.0
#include "base/limits.hpp"
#include "engine.hpp"

#include <atomic>
#include <thread>

namespace culvert::store::test {
namespace {

using Watches = Engines;

TEST_P(Watches, DeliverPutsAndDeletesWithWhatWasBefore) {
    Collector seen;
    auto watch = store_->watch("/w/", prefix_end("/w/"), store_->revision(), seen.fn());
    ASSERT_TRUE(watch.has_value());
    const auto first = write("/w/a", "1");
    write("/other", "x");
    const auto second = write("/w/a", "2");
    const auto third = remove("/w/a");
    const auto batches = seen.take(3);
    ASSERT_EQ(batches.size(), 3U);
    ASSERT_EQ(batches[0].events.size(), 1U);
    EXPECT_EQ(batches[0].revision, first);
    EXPECT_EQ(batches[0].events[0].kind, Event::Kind::kPut);
    EXPECT_EQ(batches[0].events[0].now.value, "1");
    EXPECT_FALSE(batches[0].events[0].before.has_value());
    EXPECT_EQ(batches[1].revision, second);
    ASSERT_TRUE(batches[1].events.at(0).before.has_value());
    EXPECT_EQ(batches[1].events[0].before->value, "1");
    EXPECT_EQ(batches[1].events[0].now.version, 2);
    EXPECT_EQ(batches[2].revision, third);
    EXPECT_EQ(batches[2].events.at(0).kind, Event::Kind::kDelete);
    EXPECT_EQ(batches[2].events[0].now.key, "/w/a");
    EXPECT_EQ(batches[2].events[0].now.mod_revision, third);
    EXPECT_EQ(batches[2].events[0].before->value, "2");
}

TEST_P(Watches, OneTransactionIsOneBatch) {
    Collector seen;
    auto watch = store_->watch("/w/", prefix_end("/w/"), store_->revision(), seen.fn());
    ASSERT_TRUE(watch.has_value());
    run(Txn{.compares = {},
            .success = {put("/w/a", "1"), put("/x", "no"), put("/w/b", "2")},
            .failure = {}});
    const auto batches = seen.take(1);
    ASSERT_EQ(batches.size(), 1U);
    ASSERT_EQ(batches[0].events.size(), 2U);
    EXPECT_EQ(batches[0].events[0].now.key, "/w/a");
    EXPECT_EQ(batches[0].events[1].now.key, "/w/b");
}

TEST_P(Watches, StartInThePast) {
    const auto start = store_->revision();
    write("/w", "1");
    const auto second = write("/w", "2");
    write("/w", "3");
    Collector all;
    Collector later;
    auto from_start = store_->watch("/w", "", start, all.fn());
    auto from_second = store_->watch("/w", "", second, later.fn());
    ASSERT_TRUE(from_start && from_second);
    const auto everything = all.take(3);
    ASSERT_EQ(everything.size(), 3U);
    EXPECT_EQ(everything[0].events.at(0).now.value, "1");
    const auto rest = later.take(1);
    ASSERT_EQ(rest.size(), 1U);
    EXPECT_EQ(rest[0].events.at(0).now.value, "3");
}

TEST_P(Watches, SeeEveryEventOnceInOrderUnderConcurrentWriters) {
    constexpr int kThreads = 4;
    constexpr int kEach = 100;
    const auto start = store_->revision();
    Collector early;
    auto first = store_->watch("/w/", prefix_end("/w/"), start, early.fn());
    ASSERT_TRUE(first.has_value());
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < kEach; ++i) {
                write("/w/" + std::to_string(t), std::to_string(i));
            }
        });
    }
    Collector middle;  // joins while writing goes on, from the start
    auto second = store_->watch("/w/", prefix_end("/w/"), start, middle.fn());
    ASSERT_TRUE(second.has_value());
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (Collector* collector : {&early, &middle}) {
        const auto batches = collector->take(kThreads * kEach);
        ASSERT_EQ(batches.size(), static_cast<std::size_t>(kThreads * kEach));
        std::map<std::string, int> next;
        for (std::size_t i = 0; i < batches.size(); ++i) {
            EXPECT_EQ(batches[i].revision, start + 1 + static_cast<std::int64_t>(i));
            ASSERT_EQ(batches[i].events.size(), 1U);
            const KeyValue& now = batches[i].events[0].now;
            EXPECT_EQ(now.value, std::to_string(next[now.key]++));
        }
    }
}

TEST_P(Watches, HistoryIsKeptForTheLimitAndCompactedBeyond) {
    const auto start = store_->revision();
    // as many events a transaction as fit, so that the history fills quickly
    std::size_t events = 0;
    std::int64_t first = 0;
    while (events < limits::kWatchQueue) {
        Txn txn;
        for (std::size_t i = 0; i < limits::kTxnOperations; ++i) {
            txn.success.push_back(put("/h/" + std::to_string(i), ""));
        }
        const auto revision = run(txn).revision;
        first = first == 0 ? revision : first;
        events += limits::kTxnOperations;
    }
    Collector all;
    auto whole = store_->watch("/h/0", "", start, all.fn());
    ASSERT_TRUE(whole.has_value()) << whole.error().message;
    EXPECT_EQ(all.take(events / limits::kTxnOperations).size(), events / limits::kTxnOperations);
    write("/one/more", "");
    auto late = store_->watch("/h/0", "", start, [](const WatchBatch&) {});
    ASSERT_TRUE(late.has_value()) << "65,536 events and a smaller one would be cut short";
    for (std::size_t i = 0; i < limits::kTxnOperations; ++i) {
        write("/one/more", "");
    }
    auto gone = store_->watch("/h/0", "", start, [](const WatchBatch&) {});
    ASSERT_FALSE(gone.has_value());
    EXPECT_EQ(gone.error().code, Code::kPreconditionFailed);
    EXPECT_TRUE(store_->watch("/h/0", "", first, [](const WatchBatch&) {}));
}

TEST_P(Watches, HistoryOfLargeValuesIsShorter) {
    const auto start = store_->revision();
    const std::string large(limits::kTxnBytes / 2, 'x');
    std::int64_t last = 0;
    for (std::size_t bytes = 0; bytes <= limits::kWatchBytes; bytes += large.size()) {
        last = write("/h/large", large);
    }
    EXPECT_FALSE(store_->watch("/h/0", "", start, [](const WatchBatch&) {}));
    EXPECT_TRUE(store_->watch("/h/0", "", last - 4, [](const WatchBatch&) {}));
}

TEST_P(Watches, AWatchThatIsTooSlowIsToldThatHistoryIsGone) {
    Monitor<int> gate(0);  // 0: first batch not yet there, 1: it waits, 2: may go on
    std::atomic<int> delivered{0};
    Collector seen;
    auto collect = seen.fn();
    auto watch =
        store_->watch("/h/", prefix_end("/h/"), store_->revision(), [&](const WatchBatch& batch) {
            if (delivered++ == 0) {
                gate.with([](int& step) { step = 1; });
                gate.wait([](int step) { return step == 2; }, [](int) {});
            }
            collect(batch);
        });
    ASSERT_TRUE(watch.has_value());
    write("/h/first", "");
    gate.wait([](int step) { return step == 1; }, [](int) {});
    for (std::size_t events = 0; events <= limits::kWatchQueue + limits::kTxnOperations;
         events += limits::kTxnOperations) {
        Txn txn;
        for (std::size_t i = 0; i < limits::kTxnOperations; ++i) {
            txn.success.push_back(put("/h/" + std::to_string(i), ""));
        }
        run(txn);
    }
    gate.with([](int& step) { step = 2; });
    const auto batches = seen.take(2);
    ASSERT_EQ(batches.size(), 2U);
    EXPECT_FALSE(batches[0].compacted);
    EXPECT_TRUE(batches[1].compacted);
    EXPECT_TRUE(batches[1].events.empty());
}

TEST_P(Watches, AfterDestructionTheCallbackNeverRuns) {
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        for (int i = 0; !stop; ++i) {
            write("/w", std::to_string(i));
        }
    });
    for (int i = 0; i < 50; ++i) {
        auto alive = std::make_unique<std::atomic<bool>>(true);
        std::atomic<int> calls{0};
        auto watch = store_->watch("/w", "", store_->revision(), [&](const WatchBatch&) {
            EXPECT_TRUE(alive->load());
            ++calls;
        });
        ASSERT_TRUE(watch.has_value());
        while (calls == 0) {
            std::this_thread::yield();
        }
        watch->reset();
        alive->store(false);
        const int then = calls;
        std::this_thread::yield();
        EXPECT_EQ(calls, then);
    }
    stop = true;
    writer.join();
}

TEST_P(Watches, MayEndInsideItsOwnCallback) {
    std::unique_ptr<Watch> watch;
    Monitor<int> state(0);  // 1: `watch` is set, 2: it has ended itself
    std::atomic<int> calls{0};
    auto made = store_->watch("/w", "", store_->revision(), [&](const WatchBatch&) {
        state.wait([](int step) { return step >= 1; }, [](int) {});
        ++calls;
        watch.reset();
        state.with([](int& step) { step = 2; });
    });
    ASSERT_TRUE(made.has_value());
    state.with([&](int& step) {
        watch = std::move(*made);
        step = 1;
    });
    write("/w", "1");
    write("/w", "2");
    state.wait([](int step) { return step == 2; }, [](int) {});
    Collector other;
    auto later = store_->watch("/z", "", store_->revision(), other.fn());
    ASSERT_TRUE(later.has_value());
    write("/z", "");
    EXPECT_EQ(other.take(1).size(), 1U);
    EXPECT_EQ(calls, 1);
}

TEST_P(Watches, MayReadAndWriteTheStoreInTheCallback) {
    Collector seen;
    auto collect = seen.fn();
    auto watch = store_->watch("/in", "", store_->revision(), [&](const WatchBatch& batch) {
        write("/out", batch.events.at(0).now.value);
        collect(batch);
    });
    ASSERT_TRUE(watch.has_value());
    write("/in", "carried");
    ASSERT_EQ(seen.take(1).size(), 1U);
    EXPECT_EQ(value("/out"), "carried");
}

INSTANTIATE_TEST_SUITE_P(Store, Watches, testing::Values("memory", "sqlite"),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace culvert::store::test
