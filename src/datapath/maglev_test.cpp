// SPDX-License-Identifier: Apache-2.0
#include "datapath/maglev.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace culvert::datapath {
namespace {

std::vector<std::uint32_t> members(std::uint32_t first, std::uint32_t count) {
    std::vector<std::uint32_t> out(count);
    std::iota(out.begin(), out.end(), first);
    return out;
}

std::map<std::uint32_t, std::uint32_t> shares(const std::vector<std::uint32_t>& table) {
    std::map<std::uint32_t, std::uint32_t> out;
    for (const std::uint32_t member : table) {
        ++out[member];
    }
    return out;
}

TEST(Maglev, AnEmptyPoolHasNoBackendAnywhere) {
    const auto table = maglev_table({});
    ASSERT_EQ(table.size(), std::size_t{CV_MAGLEV_SIZE});
    EXPECT_EQ(shares(table).size(), 1u);
    EXPECT_EQ(table.front(), 0u);
}

TEST(Maglev, OneMemberHasEveryEntry) {
    const auto table = maglev_table(members(7, 1));
    EXPECT_TRUE(std::all_of(table.begin(), table.end(), [](auto nic) { return nic == 7; }));
}

// NSDI'16 3.4: each turn gives every member one entry, so shares differ by at most one.
TEST(Maglev, SharesDifferByAtMostOne) {
    for (const std::uint32_t count : {2u, 3u, 10u, 163u, 1000u}) {
        const auto counted = shares(maglev_table(members(100, count)));
        ASSERT_EQ(counted.size(), count);
        const auto [low, high] = std::minmax_element(
            counted.begin(), counted.end(),
            [](const auto& left, const auto& right) { return left.second < right.second; });
        EXPECT_LE(high->second - low->second, 1u) << count << " members";
    }
}

TEST(Maglev, TheTableIsAFunctionOfTheSet) {
    auto ordered = members(40, 20);
    auto shuffled = ordered;
    std::reverse(shuffled.begin(), shuffled.end());
    shuffled.push_back(shuffled.front());
    shuffled.push_back(0);
    EXPECT_EQ(maglev_table(ordered), maglev_table(shuffled));
    ordered.pop_back();
    EXPECT_NE(maglev_table(ordered), maglev_table(shuffled));
}

// Of the entries that were another member's, those that move when one leaves (or joins: the same
// two tables), as a share of the table.
double disruption(std::vector<std::uint32_t> all, std::size_t leaver) {
    const auto before = maglev_table(all);
    const std::uint32_t gone = all[leaver];
    std::erase(all, gone);
    const auto after = maglev_table(all);
    std::uint32_t moved = 0;
    for (std::size_t at = 0; at < before.size(); ++at) {
        EXPECT_NE(after[at], gone);
        moved += before[at] != gone && before[at] != after[at] ? 1 : 0;
    }
    return static_cast<double>(moved) / CV_MAGLEV_SIZE;
}

// Removing one of n must move its own 1/n of the entries, and few others (NSDI'16 5.3).
TEST(Maglev, AMemberThatLeavesOrJoinsMovesAtMostOnePercentOfTheOthers) {
    for (const std::uint32_t count : {2u, 3u, 5u, 10u, 20u}) {
        for (const std::uint32_t first : {1u, 500u, 70000u, 200000u}) {
            for (std::uint32_t leaver = 0; leaver < count; ++leaver) {
                EXPECT_LE(disruption(members(first, count), leaver), 0.01)
                    << count << " members from " << first << ", " << leaver << " leaves";
            }
        }
    }
}

TEST(Maglev, ManyMembersMoveTwoPercentAtMost) {
    for (const std::uint32_t count : {50u, 163u}) {
        EXPECT_LE(disruption(members(500, count), 11), 0.02) << count;
    }
}

TEST(Maglev, AsManyMembersAsEntriesIsTheMost) {
    const auto full = maglev_table(members(1, CV_MAGLEV_SIZE));
    EXPECT_EQ(shares(full).size(), std::size_t{CV_MAGLEV_SIZE});
    EXPECT_EQ(maglev_table(members(1, CV_MAGLEV_SIZE + 1)).size(), std::size_t{CV_MAGLEV_SIZE});
}

}  // namespace
}  // namespace culvert::datapath
