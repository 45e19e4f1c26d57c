// SPDX-License-Identifier: Apache-2.0
#include "base/assert.hpp"
#include "base/clock.hpp"
#include "base/guarded.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "base/result.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <thread>
#include <vector>

namespace culvert {
namespace {

// Gives the bytes it was told to, again and again.
class Scripted final : public Random {
  public:
    explicit Scripted(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
    void fill(std::span<std::uint8_t> out) override {
        for (auto& byte : out) {
            byte = bytes_[at_++ % bytes_.size()];
        }
    }

  private:
    std::vector<std::uint8_t> bytes_;
    std::size_t at_ = 0;
};

TEST(Result, CarriesEverythingAnErrorHas) {
    const Status status = fail(Code::kConflict, "put: taken", "properties.x", "PrivateIPInUse");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error(),
              (Error{Code::kConflict, "put: taken", "properties.x", "PrivateIPInUse", {}}));
    const Error more = prefixed(status.error(), "create endpoint");
    EXPECT_EQ(more.message, "create endpoint: put: taken");
    EXPECT_EQ(more.target, "properties.x");
}

TEST(Result, EveryCodeHasItsOwnName) {
    std::set<std::string_view> names;
    for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code) {
        const auto name = to_string(static_cast<Code>(code));
        EXPECT_FALSE(name.empty());
        EXPECT_TRUE(names.insert(name).second) << name;
    }
}

TEST(Result, ErrnoBecomesACode) {
    EXPECT_EQ(error_from_errno(ENOENT, "open").code, Code::kNotFound);
    EXPECT_EQ(error_from_errno(EPERM, "open").code, Code::kPermissionDenied);
    EXPECT_EQ(error_from_errno(EEXIST, "make").code, Code::kConflict);
    EXPECT_EQ(error_from_errno(E2BIG, "update").code, Code::kTooLarge);
    EXPECT_EQ(error_from_errno(ETIMEDOUT, "wait").code, Code::kTimeout);
    EXPECT_EQ(error_from_errno(EIO, "read").code, Code::kInternal);
    EXPECT_EQ(error_from_errno(ENOENT, "open store").message,
              "open store: No such file or directory");
}

Status twice(const Status& inner, int& reached) {
    CULVERT_TRY_STATUS(inner);
    reached += 1;
    return {};
}

TEST(Result, TryReturnsTheFirstFailure) {
    int reached = 0;
    EXPECT_TRUE(twice({}, reached));
    EXPECT_EQ(reached, 1);
    const auto failed = twice(fail(Code::kTimeout, "late"), reached);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Code::kTimeout);
    EXPECT_EQ(reached, 1);
}

TEST(Random, HexAndUuidHaveTheirForm) {
    Scripted zeros({0});
    EXPECT_EQ(zeros.hex(3), "000000");
    EXPECT_EQ(zeros.hex(0), "");
    EXPECT_EQ(zeros.uuid(), "00000000-0000-4000-8000-000000000000");
    Scripted counting({0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef});
    const std::string uuid = counting.uuid();
    EXPECT_EQ(uuid.substr(0, 19), "01234567-89ab-4def-");
    SystemRandom system;
    std::set<std::string> seen;
    for (int i = 0; i < 100; ++i) {
        const std::string one = system.uuid();
        ASSERT_EQ(one.size(), 36u);
        EXPECT_EQ(one[14], '4');
        EXPECT_NE(std::string("89ab").find(one[19]), std::string::npos);
        EXPECT_TRUE(seen.insert(one).second);
    }
}

TEST(Random, BelowIsInRangeAndRejectsTheUnevenTail) {
    SystemRandom system;
    for (const std::uint64_t bound : {std::uint64_t{1}, std::uint64_t{7}, UINT64_MAX}) {
        for (int i = 0; i < 50; ++i) {
            EXPECT_LT(system.below(bound), bound);
        }
    }
    // the first eight bytes are the largest number, which would favour small values: thrown away
    Scripted tail({255, 255, 255, 255, 255, 255, 255, 255, 5, 0, 0, 0, 0, 0, 0, 0});
    EXPECT_EQ(tail.below(10), 5u);
}

TEST(Clock, TheManualOneMovesOnlyWhenTold) {
    using namespace std::chrono_literals;
    ManualClock clock{WallTime{}};
    EXPECT_EQ(clock.wall(), WallTime{});
    const auto before = clock.steady();
    clock.advance(1500ms);
    EXPECT_EQ(clock.wall(), WallTime{} + 1500ms);
    EXPECT_EQ(clock.steady() - before, 1500ms);
}

TEST(Guarded, IsReachedWithTheLockHeld) {
    Guarded<std::vector<int>> shared;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&shared, i] {
            for (int j = 0; j < 1000; ++j) {
                shared.with([i](std::vector<int>& values) { values.push_back(i); });
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    const auto& read_only = shared;
    EXPECT_EQ(read_only.with([](const std::vector<int>& values) { return values.size(); }), 4000u);
}

TEST(Monitor, WakesWhoWaitsForAChange) {
    Monitor<int> shared(0);
    std::thread changer([&shared] { shared.with([](int& value) { value = 7; }); });
    const int seen = shared.wait([](int value) { return value != 0; }, [](int& v) { return v; });
    changer.join();
    EXPECT_EQ(seen, 7);
    EXPECT_EQ(shared.wait_for(
                  std::chrono::nanoseconds(1), [](int value) { return value == 8; },
                  [](int& v) { return v; }),
              7)
        << "gave up with a value that is not ready";
}

TEST(Log, NamesTheLevelsItKnows) {
    EXPECT_TRUE(set_up_log("warn"));
    const auto status = set_up_log("loud");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().target, "log-level");
    EXPECT_NE(status.error().message.find("trace, debug, info, warn, error, off"),
              std::string::npos);
}

TEST(AssertDeathTest, StopsTheProcessAndSaysWhere) {
    EXPECT_DEATH(CULVERT_ASSERT(1 == 2), "base_test.cpp:[0-9]+: assertion failed: 1 == 2");
    CULVERT_ASSERT(1 == 1);
}

}  // namespace
}  // namespace culvert
