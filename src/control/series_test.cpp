// SPDX-License-Identifier: Apache-2.0
#include "control/series.hpp"

#include <gtest/gtest.h>

namespace culvert::control {
namespace {

const SeriesKey kKey{"/r", "Bytes", ""};
constexpr Minute kNow = 29'000'000 / 60 * 60;  // an hour begins

double sum_of(const SeriesTable& table, Minute from, Minute until) {
    const auto read = table.read(kKey, from, until - from, 1);
    return read[0] ? read[0]->sum : 0;
}

TEST(SeriesTest, samples_fall_into_buckets_by_time) {
    SeriesTable table;
    table.add(kKey, kNow, 5);
    table.add(kKey, kNow, 7);
    table.add(kKey, kNow + 3, 1);
    const auto read = table.read(kKey, kNow, 2, 3);
    ASSERT_TRUE(read[0]);
    EXPECT_EQ(*read[0], (Samples{12, 2, 5, 7}));
    ASSERT_TRUE(read[1]);
    EXPECT_EQ(read[1]->sum, 1);
    EXPECT_FALSE(read[2]);
    EXPECT_EQ(table.first(kKey), kNow);
}

TEST(SeriesTest, a_clock_that_goes_back_loses_nothing) {
    SeriesTable table;
    table.add(kKey, kNow + 10, 1);
    table.add(kKey, kNow, 2);
    EXPECT_EQ(sum_of(table, kNow + 10, kNow + 11), 3);
}

TEST(SeriesTest, minutes_become_hours_after_a_day_and_go_after_93) {
    SeriesTable table;
    for (Minute at = 0; at < 120; ++at) {
        table.add(kKey, kNow + at, 1);
    }
    EXPECT_EQ(table.points(), 120u);
    table.age(kNow + 60 + SeriesTable::kDetail);
    EXPECT_EQ(table.points(), 61u);
    EXPECT_EQ(sum_of(table, kNow, kNow + 60), 60);
    EXPECT_EQ(sum_of(table, kNow + 60, kNow + 120), 60);
    EXPECT_EQ(table.detail_from(kNow + 60 + SeriesTable::kDetail), kNow + 60);
    table.age(kNow + 60 + SeriesTable::kKept);
    EXPECT_EQ(table.points(), 1u);
    table.age(kNow + 61 + SeriesTable::kKept);
    EXPECT_TRUE(table.all().empty());
    EXPECT_EQ(table.points(), 0u);
}

TEST(SeriesTest, points_are_bounded_and_sums_stay) {
    SeriesTable table(300);
    for (Minute at = 0; at < 1200; ++at) {
        table.add(kKey, kNow + at, 1);
    }
    table.age(kNow + 1200);
    EXPECT_LE(table.points(), 300u);
    EXPECT_EQ(sum_of(table, kNow, kNow + 1200), 1200);
    EXPECT_GT(table.detail_from(kNow + 1200), kNow);
}

TEST(SeriesTest, series_are_bounded) {
    SeriesTable table;
    for (std::size_t i = 0; i < SeriesTable::kSeries; ++i) {
        ASSERT_TRUE(table.add({"/r", "Bytes", std::to_string(i)}, kNow, 1));
    }
    EXPECT_FALSE(table.add({"/r", "Bytes", "one more"}, kNow, 1));
    EXPECT_TRUE(table.add({"/r", "Bytes", "0"}, kNow, 1));
}

}  // namespace
}  // namespace culvert::control
