// SPDX-License-Identifier: Apache-2.0
#include "agent/conclusions.hpp"

#include "abi/echo.h"
#include "base/limits.hpp"
#include "runtime/files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

const Moment kWritten{.boot = "boot-1", .now = SteadyTime(1000s)};

class ConclusionsTest : public testing::Test {
  protected:
    ConclusionsTest() {
        std::array<char, 32> name{"/tmp/conclusions.XXXXXX"};
        directory_ = ::mkdtemp(name.data());
    }
    ~ConclusionsTest() override { std::filesystem::remove_all(directory_); }

    std::filesystem::path path() const { return directory_ / "conclusions.json"; }
    Conclusions load(std::chrono::seconds later, const std::string& boot = kWritten.boot) const {
        return load_conclusions(path(), {.boot = boot, .now = kWritten.now + later});
    }
    void save(const Conclusions& conclusions) const {
        ASSERT_TRUE(save_conclusions(path(), conclusions, kWritten));
    }

    std::filesystem::path directory_;
};

const Verdicts kTwo{
    .isolated = false,
    .peers = {{.node = 2, .lost = true, .gone = true, .fenced = false, .since = SteadyTime(900s)},
              {.node = 5, .lost = false, .gone = false, .fenced = true, .since = {}}}};

TEST_F(ConclusionsTest, WhatWasConcludedIsKnownInTheNextLife) {
    for (const bool fenced : {false, true}) {
        const Conclusions before{.fenced = fenced, .verdicts = kTwo};
        save(before);
        EXPECT_EQ(load(0s), before);
        EXPECT_EQ(load(limits::kVerdictAge), before);
    }
}

TEST_F(ConclusionsTest, WithoutAFileThereIsNothingToRemember) {
    EXPECT_EQ(load(0s), Conclusions{});
}

TEST_F(ConclusionsTest, OldVerdictsAreForgottenTheFenceIsNot) {
    save({.fenced = true, .verdicts = kTwo});
    const auto late = load(limits::kVerdictAge + 1s);
    EXPECT_TRUE(late.fenced);
    EXPECT_EQ(late.verdicts, Verdicts{});
}

// The agent ended between hearing nobody and the fence.
TEST_F(ConclusionsTest, ANodeThatHeardNobodyIsFencedInTheNextLife) {
    save({.fenced = false, .verdicts = {.isolated = true, .peers = {}}});
    EXPECT_TRUE(load(1s).fenced);
    EXPECT_TRUE(load(1s).verdicts.isolated);
    EXPECT_TRUE(load(24h).fenced);
    EXPECT_FALSE(load(24h).verdicts.isolated);
}

TEST_F(ConclusionsTest, ANodeThatHasBootedSinceIsFencedAndKnowsNothingOfOthers) {
    save({.fenced = false, .verdicts = kTwo});
    EXPECT_EQ(load(1s, "boot-2"), (Conclusions{.fenced = true, .verdicts = {}}));
}

TEST_F(ConclusionsTest, WhatCannotBeReadCountsAsFenced) {
    for (const char* content : {"", "{", "[]", R"({"boot":"boot-1"})",
                                R"({"boot":"boot-1","writtenNs":1,"fenced":0,"isolated":false})"}) {
        ASSERT_TRUE(runtime::replace_file(path(), content, 0600));
        EXPECT_EQ(load(0s), (Conclusions{.fenced = true, .verdicts = {}})) << content;
    }
}

TEST_F(ConclusionsTest, LostAndFencedPeersAreClosedToNewConnections) {
    const auto reach = reach_of(kTwo);
    EXPECT_EQ(reach.closed,
              (std::map<std::uint32_t, std::uint8_t>{{2, CV_NODE_GONE}, {5, CV_NODE_CLOSED}}));
    EXPECT_FALSE(reach.isolated);
}

}  // namespace
}  // namespace culvert::agent
