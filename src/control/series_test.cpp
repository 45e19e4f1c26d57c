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
    EXPECT_EQ(table.detail_from(kKey.resource, kNow + 60 + SeriesTable::kDetail), kNow + 60);
    table.age(kNow + 60 + SeriesTable::kKept);
    EXPECT_EQ(table.points(), 1u);
    table.age(kNow + 61 + SeriesTable::kKept);
    EXPECT_TRUE(table.all().empty());
    EXPECT_EQ(table.points(), 0u);
}

TEST(SeriesTest, points_are_bounded_and_sums_stay) {
    SeriesTable table({.points = 300});
    for (Minute at = 0; at < 1200; ++at) {
        table.add(kKey, kNow + at, 1);
    }
    table.age(kNow + 1200);
    EXPECT_LE(table.points(), 300u);
    EXPECT_EQ(sum_of(table, kNow, kNow + 1200), 1200);
    EXPECT_GT(table.detail_from(kKey.resource, kNow + 1200), kNow);
}

SeriesKey key_of(const std::string& subscription, std::size_t number) {
    return {"/subscriptions/" + subscription + "/r", "Bytes", std::to_string(number)};
}

double all_of(const SeriesTable& table, const SeriesKey& key) {
    const auto read = table.read(key, 0, 2 * kNow, 1);
    return read[0] ? read[0]->sum : 0;
}

// Two series of one subscription with a point a minute, one of another with a twelfth of that; the
// minute after the last.
Minute fill_unevenly(SeriesTable& table) {
    constexpr Minute kMinutes = 1200;
    for (Minute at = 0; at < kMinutes; ++at) {
        table.add(key_of("many", 1), kNow + at, 1);
        table.add(key_of("many", 2), kNow + at, 1);
        if (at % 12 == 0) {
            table.add(key_of("few", 1), kNow + at, 1);
        }
    }
    return kNow + kMinutes;
}

TEST(SeriesTest, the_abundance_of_one_subscription_costs_no_other) {
    SeriesTable table({.points_of_one = 300});
    const Minute now = fill_unevenly(table);
    table.age(now);
    EXPECT_LE(table.points(), 300u + 100u);
    EXPECT_EQ(table.detail_from(key_of("few", 1).resource, now), now - SeriesTable::kDetail);
    EXPECT_GT(table.detail_from(key_of("many", 1).resource, now), kNow);
    EXPECT_EQ(all_of(table, key_of("many", 2)), 1200) << "hours have what minutes had";
    EXPECT_EQ(all_of(table, key_of("few", 1)), 100);
    EXPECT_GT(table.counts().tightened, 0u);
}

TEST(SeriesTest, where_all_is_full_who_has_most_pays) {
    SeriesTable table({.points = 1500});
    const Minute now = fill_unevenly(table);
    table.age(now);
    EXPECT_LE(table.points(), 1500u);
    EXPECT_EQ(table.detail_from(key_of("few", 1).resource, now), now - SeriesTable::kDetail);
}

TEST(SeriesTest, a_table_that_was_full_has_its_day_of_minutes_again_once_it_fits) {
    SeriesTable table({.points_of_one = 100});
    for (Minute at = 0; at < 600; ++at) {
        table.add(kKey, kNow + at, 1);
    }
    table.age(kNow + 600);
    EXPECT_LE(table.points(), 100u);
    const Minute later = kNow + 600 + 2 * SeriesTable::kDetail;
    table.age(later);
    EXPECT_EQ(table.detail_from(kKey.resource, later), later - SeriesTable::kDetail);
    const auto tightened = table.counts().tightened;
    for (Minute at = 0; at < 80; ++at) {
        table.add(kKey, later + at, 1);
        table.age(later + at);
    }
    EXPECT_EQ(table.counts().tightened, tightened);
    EXPECT_EQ(sum_of(table, later + 7, later + 8), 1) << "by the minute";
}

TEST(SeriesTest, as_many_series_as_there_may_be_never_hold_more_points_than_there_may_be) {
    SeriesTable table({.points = 500, .series = 100, .series_of_one = 50});
    for (Minute at = 0; at < 300; ++at) {
        for (std::size_t i = 0; i < 50; ++i) {
            ASSERT_TRUE(table.add(key_of("a", i), kNow + at, 1));
            ASSERT_TRUE(table.add(key_of("b", i), kNow + at, 1));
        }
        table.age(kNow + at);
        ASSERT_LE(table.points(), 500u) << at;
    }
}

TEST(SeriesTest, a_clock_that_was_ahead_takes_no_detail_for_good) {
    SeriesTable table({.points_of_one = 10});
    for (Minute at = 0; at < 100; ++at) {
        table.add(kKey, kNow + 10000 + at, 1);
    }
    table.age(kNow + 10100);
    table.age(kNow);
    EXPECT_LE(table.detail_from(kKey.resource, kNow), kNow);
}

TEST(SeriesTest, series_are_bounded) {
    SeriesTable table({.series = 1000, .series_of_one = 100});
    for (std::size_t i = 0; i < 100; ++i) {
        ASSERT_TRUE(table.add(key_of("a", i), kNow, 1));
    }
    EXPECT_FALSE(table.add(key_of("a", 100), kNow, 1));
    EXPECT_TRUE(table.add(key_of("a", 0), kNow, 1));
    EXPECT_TRUE(table.add(key_of("b", 0), kNow, 1)) << "another subscription's";
    EXPECT_EQ(table.counts().refused, 1u);
}

TEST(SeriesTest, where_all_is_full_who_has_few_gets_room_from_who_has_most) {
    SeriesTable table({.series = 300, .series_of_one = 300});
    for (std::size_t i = 0; i < 300; ++i) {
        ASSERT_TRUE(table.add(key_of("many", i), kNow + static_cast<Minute>(i), 1));
    }
    EXPECT_FALSE(table.add(key_of("many", 300), kNow, 1));
    std::size_t few = 0;
    while (few < 300 && table.add(key_of("few", few), kNow, 1)) {
        ++few;
    }
    EXPECT_GE(few, 145u);
    EXPECT_LE(few, 151u) << "no more than the other";
    EXPECT_EQ(all_of(table, key_of("many", 0)), 0) << "nothing was added to it for longest";
    EXPECT_EQ(all_of(table, key_of("many", 299)), 1);
    EXPECT_LE(table.all().size(), 300u);
    EXPECT_GE(table.counts().dropped, few);
}

}  // namespace
}  // namespace culvert::control
