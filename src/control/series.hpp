// SPDX-License-Identifier: Apache-2.0
// Numbers over time, by resource, metric and dimension: minutes for a day, then hours for 93 days.
// Bounded: where the points do not fit, minutes become hours sooner, then the oldest hours go.
// A value: time is an argument; not thread-safe.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace culvert::control {

using Minute = std::int64_t;  // since 1970

struct SeriesKey {
    std::string resource;  // ResourceId::key()
    std::string metric;
    std::string dimension;  // its one value; empty: the metric has none
    auto operator<=>(const SeriesKey&) const = default;
};

// What was added within some time.
struct Samples {
    double sum = 0;
    double count = 0;
    double least = 0;
    double most = 0;

    void add(const Samples& more);
    bool operator==(const Samples&) const = default;
};

class SeriesTable {
  public:
    static constexpr std::size_t kPoints = 2'000'000;  // 40 bytes each
    static constexpr std::size_t kSeries = 200'000;
    static constexpr Minute kHour = 60;
    static constexpr Minute kDetail = 24 * kHour;  // kept by the minute
    static constexpr Minute kKept = 93 * 24 * kHour;

    explicit SeriesTable(std::size_t points = kPoints) : most_points_(points) {}

    // False: there are too many series. Time that goes back counts as the last minute there is.
    bool add(const SeriesKey& key, Minute now, double value);
    // Makes old minutes hours, forgets what is too old. Called now and then.
    void age(Minute now);

    // Dimensions that a resource's metric has values of, ascending.
    std::vector<std::string> dimensions(const std::string& resource,
                                        const std::string& metric) const;
    // One value a bucket from `start` on; none: nothing was added in that time.
    std::vector<std::optional<Samples>> read(const SeriesKey& key, Minute start, Minute step,
                                             std::size_t buckets) const;
    // The first minute that is known; nullopt: nothing is.
    std::optional<Minute> first(const SeriesKey& key) const;
    // Before it there are hours alone.
    Minute detail_from(Minute now) const { return (now - detail_) / kHour * kHour; }

    struct Point {
        Minute minute = 0;  // of an hour its first
        Samples samples;
    };
    struct Series {
        std::deque<Point> minutes;
        std::deque<Point> hours;
    };
    const std::map<SeriesKey, Series>& all() const { return series_; }
    void restore(const SeriesKey& key, Series series);
    std::size_t points() const { return points_; }

  private:
    void fold(Series& series, Minute before);

    std::map<SeriesKey, Series> series_;
    std::size_t points_ = 0;
    std::size_t most_points_;
    Minute detail_ = kDetail;
    Minute kept_ = kKept;
};

}  // namespace culvert::control
