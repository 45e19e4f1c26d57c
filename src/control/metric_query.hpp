// SPDX-License-Identifier: Apache-2.0
// What a request for metrics asks: pure, the time is an argument. Everything that is not understood
// is an error that names what is.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "control/metric_names.hpp"
#include "control/series.hpp"

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::control {

// As the query parameters of those names say; empty: not given.
struct MetricRequest {
    std::string_view type;  // of the resource
    std::string timespan{};
    std::string interval{};
    std::string names{};
    std::string aggregation{};
    std::string filter{};
    std::string top{};
    std::string order{};
    std::string result{};
    std::string space{};  // metricnamespace
};

enum class Aggregation { kTotal, kAverage, kMaximum, kMinimum, kCount };

struct MetricQuery {
    std::vector<const MetricName*> metrics;
    std::vector<Aggregation> aggregations;  // empty: each metric's own
    Minute start = 0;
    Minute step = 1;
    std::size_t buckets = 0;
    WallTime from{};  // as asked for
    WallTime until{};
    bool by_dimension = false;       // one series a value, else all together
    std::set<std::string> values{};  // with it: these alone, lower case; empty: all
    std::size_t top = 10;
    bool descending = true;
    bool data = true;  // not just which series there are
};

inline constexpr std::size_t kMetricPoints = 100'000;   // of an answer
inline constexpr std::size_t kMetricReads = 1'000'000;  // that one is made of

// `detail_from`: before it there are hours alone, so that buckets are no shorter. Errors:
// kInvalidArgument with the parameter as target.
Result<MetricQuery> read_metric_query(const MetricRequest& request, WallTime now,
                                      Minute detail_from);

std::string_view to_string(Aggregation aggregation);
// What may be asked of a metric; the first is its own.
std::vector<Aggregation> aggregations_of(const MetricName& metric);
// "PT1M" and the like, for lengths that may be asked for.
std::string interval_text(Minute step);
std::vector<Minute> intervals();

}  // namespace culvert::control
