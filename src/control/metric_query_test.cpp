// SPDX-License-Identifier: Apache-2.0
#include "control/metric_query.hpp"

#include "control/identity.hpp"
#include "model/types.hpp"

#include <gtest/gtest.h>

namespace culvert::control {
namespace {

const WallTime kNow = *parse_rfc3339("2026-11-26T10:30:20Z");
constexpr std::string_view kService = model::types::kPrivateLinkService;

Result<MetricQuery> read(const MetricRequest& request, Minute detail_from = 0) {
    return read_metric_query(request, kNow, detail_from);
}
void expect_refused(const MetricRequest& request, const std::string& target,
                    const std::string& word) {
    const auto query = read(request);
    ASSERT_FALSE(query) << target;
    EXPECT_EQ(query.error().target, target);
    EXPECT_NE(query.error().message.find(word), std::string::npos) << query.error().message;
}

TEST(MetricQueryTest, an_hour_by_the_minute_of_the_first_metric_unless_asked_otherwise) {
    const auto query = read({.type = kService});
    ASSERT_TRUE(query) << query.error().message;
    ASSERT_EQ(query->metrics.size(), 1u);
    EXPECT_EQ(query->metrics[0]->name, kServiceIn);
    EXPECT_EQ(query->step, 1);
    EXPECT_EQ(query->buckets, 61u);  // 9:30 to 10:30, both begun
    EXPECT_FALSE(query->by_dimension);
}

TEST(MetricQueryTest, spans_are_times_or_durations) {
    const auto span = read({.type = kService,
                            .timespan = "2026-11-26T08:00:00Z/2026-11-26T09:00:00+00:00",
                            .interval = "PT5M"});
    ASSERT_TRUE(span) << span.error().message;
    EXPECT_EQ(span->buckets, 12u);
    const auto last = read({.type = kService, .timespan = "P1DT2H", .interval = "FULL"});
    ASSERT_TRUE(last) << last.error().message;
    EXPECT_EQ(last->buckets, 1u);
    EXPECT_EQ(last->step, 26 * 60 + 1);
}

TEST(MetricQueryTest, where_there_are_hours_alone_buckets_are_no_shorter) {
    const auto query =
        read({.type = kService, .timespan = "PT3H"},
             std::chrono::floor<std::chrono::minutes>(kNow.time_since_epoch()).count());
    ASSERT_TRUE(query) << query.error().message;
    EXPECT_EQ(query->step, 60);
    EXPECT_EQ(query->start % 60, 0);
    EXPECT_EQ(query->buckets, 4u);
}

TEST(MetricQueryTest, filters_name_values_of_the_dimension) {
    const auto query = read({.type = kService,
                             .names = "PLSBytesIn, plsbytesout",
                             .filter = "privateendpointconnection eq 'it''s' or "
                                       "PrivateEndpointConnection eq 'B'"});
    ASSERT_TRUE(query) << query.error().message;
    EXPECT_EQ(query->metrics.size(), 2u);
    EXPECT_EQ(query->values, (std::set<std::string>{"b", "it's"}));
    EXPECT_TRUE(query->by_dimension);
    const auto all = read({.type = kService, .filter = "PrivateEndpointConnection eq '*'"});
    ASSERT_TRUE(all);
    EXPECT_TRUE(all->values.empty());
}

TEST(TimeTest, is_read_with_fractions_and_no_further_than_a_clock_can_tell) {
    EXPECT_EQ(*parse_rfc3339("2026-11-26T10:30:20.25Z"), kNow + std::chrono::milliseconds(250));
    EXPECT_EQ(*parse_rfc3339("2199-12-31T23:59:59Z"), wall_time(kLatestSecond));
    for (const char* text : {"2200-01-01T00:00:00Z", "2280-05-30T01:37:36Z", "9999-12-31T23:59:59Z",
                             "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
                             "2026-11-26T10:30:20.1e300Z", "2026-11-26T10:30:20", ""}) {
        const auto refused = parse_rfc3339(text);
        ASSERT_FALSE(refused) << text;
        EXPECT_TRUE(refused.error().message.contains("1970 to 2199")) << refused.error().message;
    }
}

TEST(MetricQueryTest, what_is_not_understood_is_named_with_what_is) {
    expect_refused({.type = kService, .timespan = "0001-01-01T00:00:00Z/9999-12-31T23:59:59Z"},
                   "timespan", "1970 to 2199");
    expect_refused({.type = kService, .names = "PEBytesIn"}, "metricnames", "PLSBytesOut");
    expect_refused({.type = kService, .interval = "PT2M"}, "interval", "PT5M");
    expect_refused({.type = kService, .timespan = "yesterday"}, "timespan", "START/END");
    expect_refused({.type = kService, .timespan = "2026-11-26T08:00:00Z/x"}, "timespan", "UTC");
    expect_refused({.type = kService, .timespan = "2026-11-26T08:00:00Z/2026-11-26T08:00:00Z"},
                   "timespan", "after");
    expect_refused({.type = kService, .timespan = "P94D"}, "timespan", "93 days");
    expect_refused({.type = kService, .aggregation = "Average"}, "aggregation", "Total");
    expect_refused({.type = kService, .aggregation = "Sum"}, "aggregation", "Total");
    expect_refused({.type = kService, .filter = "Node eq 'a'"}, "$filter",
                   "PrivateEndpointConnection");
    expect_refused({.type = kService, .filter = "PrivateEndpointConnection eq a"}, "$filter",
                   "VALUE");
    expect_refused({.type = kService, .filter = "PrivateEndpointConnection eq 'a"}, "$filter",
                   "VALUE");
    expect_refused({.type = kService, .top = "0"}, "top", "1000");
    expect_refused({.type = kService, .order = "size"}, "orderby", "desc");
    expect_refused({.type = kService, .result = "All"}, "resultType", "Metadata");
    expect_refused({.type = kService, .space = "Other"}, "metricnamespace", "privateLinkServices");
    expect_refused({.type = kService, .timespan = "P90D"}, "interval", "longer");
}

}  // namespace
}  // namespace culvert::control
