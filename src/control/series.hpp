// SPDX-License-Identifier: Apache-2.0
// Numbers over time, by resource, metric and dimension: minutes for a day, then hours for 93 days.
// Bounded, in all and for each subscription: where the points of one do not fit, its minutes become
// hours sooner, then its oldest hours go; nobody else loses anything by it. Once they fit again, it
// gets its day of minutes back by and by.
// A value: time is an argument; not thread-safe.
#pragma once

#include "control/pictured.hpp"

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

struct SeriesLimits {
    std::size_t points = 2'000'000;  // 40 bytes each
    std::size_t series = 200'000;
    // of one subscription
    std::size_t points_of_one = 500'000;
    std::size_t series_of_one = 50'000;
};

struct SeriesCounts {
    std::uint64_t refused = 0;    // values whose series found no room
    std::uint64_t dropped = 0;    // series that made room for those of others
    std::uint64_t tightened = 0;  // how often points of one became fewer before their time
};

class SeriesTable {
  public:
    static constexpr Minute kHour = 60;
    static constexpr Minute kDetail = 24 * kHour;  // kept by the minute
    static constexpr Minute kKept = 93 * 24 * kHour;

    explicit SeriesTable(SeriesLimits limits = {}) : limits_(limits) {}

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
    // Before it there are hours alone of the resource.
    Minute detail_from(const std::string& resource, Minute now) const;

    struct Point {
        Minute minute = 0;  // of an hour its first
        Samples samples;
    };
    struct Series {
        std::deque<Point> minutes;
        std::deque<Point> hours;
        std::size_t points() const { return minutes.size() + hours.size(); }
    };
    const std::map<SeriesKey, Series>& all() const { return series_.all(); }
    void restore(const SeriesKey& key, Series series);
    std::size_t points() const { return points_; }
    const SeriesCounts& counts() const { return counts_; }

    // As Pictured.
    void begin_picture() { series_.begin_picture(); }
    template <typename Use>
    bool picture(Use&& use) {
        return series_.picture(std::forward<Use>(use));
    }

  private:
    // What one subscription has.
    struct Share {
        std::size_t series = 0;
        std::size_t points = 0;
        Minute folded = std::numeric_limits<Minute>::min();     // up to there: hours alone
        Minute forgotten = std::numeric_limits<Minute>::min();  // up to there: nothing
    };
    using Shares = std::map<std::string, Share, std::less<>>;

    Shares::iterator share_of(std::string_view resource);
    bool has_room(Shares::iterator share);
    void drop_some(Shares::iterator from);
    void fold(Shares::iterator share);
    static bool is_tight(const Share& share, Minute now);
    void tighten(Shares::iterator share, Minute now);
    void put(Share& share, std::deque<Point>& points, Minute minute, const Samples& samples);
    void drop_points(Share& share, std::size_t count);
    void drop(Share& share, const SeriesKey& key);

    SeriesLimits limits_;
    Pictured<SeriesKey, Series> series_;
    Shares shares_;
    std::size_t points_ = 0;
    SeriesCounts counts_;
};

}  // namespace culvert::control
