// SPDX-License-Identifier: Apache-2.0
// Metrics of a resource, as Azure Monitor's clients ask for them. Whoever may read them has the
// right on the resource itself; what there is to see is the resource's own side of its links alone.
#include "control/metric_handlers.hpp"

#include "control/identity.hpp"
#include "control/metric_query.hpp"
#include "control/resources.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace culvert::control {
namespace {

namespace json = boost::json;

constexpr std::string_view kRead = "Microsoft.Insights/metrics/read";
constexpr std::string_view kReadDefinitions = "Microsoft.Insights/metricDefinitions/read";
constexpr const char* kPlatform = "Microsoft.Insights/metrics";

json::object named(std::string_view value, std::string_view shown) {
    return {{"value", value}, {"localizedValue", shown}};
}

// The resource exists and has metrics. What does not is answered as the resource's own GET would.
Status check_resource(Services& services, const model::ResourceId& id) {
    if (metrics_of(id.type()).empty()) {
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' has no metrics: private endpoints, private link services "
                                "and load balancers have",
                                id.type()),
                    {}, "ResourceTypeNotSupported");
    }
    const auto row = services.store.get(keys::resource(id.key()));
    if (!row) {
        return std::unexpected(row.error());
    }
    return *row ? Status() : std::unexpected(not_found(id));
}

std::string time_text(Minute minute) { return rfc3339(WallTime(std::chrono::minutes(minute))); }

double value_of(const Samples& samples, Aggregation aggregation) {
    switch (aggregation) {
        case Aggregation::kTotal: return samples.sum;
        case Aggregation::kAverage: return samples.count == 0 ? 0 : samples.sum / samples.count;
        case Aggregation::kMaximum: return samples.most;
        case Aggregation::kMinimum: return samples.least;
        case Aggregation::kCount: return samples.count;
    }
    return 0;
}

std::string_view field_of(Aggregation aggregation) {
    switch (aggregation) {
        case Aggregation::kTotal: return "total";
        case Aggregation::kAverage: return "average";
        case Aggregation::kMaximum: return "maximum";
        case Aggregation::kMinimum: return "minimum";
        case Aggregation::kCount: return "count";
    }
    return "total";
}

// A line of the answer: one value of the dimension, or all together.
struct Line {
    std::string dimension;  // empty: all
    std::vector<std::optional<Samples>> buckets;
    std::optional<Minute> first;
    double rank = 0;
};

std::unexpected<Error> too_many_points() {
    return fail(Code::kInvalidArgument,
                "that are too many points: choose a longer 'interval', a shorter 'timespan' or a "
                "smaller 'top'",
                "interval", "BadRequest");
}

std::vector<Line> lines_of(const SeriesTable& series, const std::string& resource,
                           const MetricName& metric, const MetricQuery& query) {
    std::vector<Line> out;
    if (!query.by_dimension) {
        out.push_back({.dimension = {}, .buckets = {}, .first = {}});
        out.back().buckets.resize(query.buckets);
    }
    for (const std::string& dimension : series.dimensions(resource, std::string(metric.name))) {
        const SeriesKey key{resource, std::string(metric.name), dimension};
        if (query.by_dimension && !query.values.empty() &&
            !query.values.contains(model::lower(dimension))) {
            continue;
        }
        Line line{.dimension = dimension,
                  .buckets = series.read(key, query.start, query.step, query.buckets),
                  .first = series.first(key)};
        for (const auto& bucket : line.buckets) {
            line.rank += bucket ? (metric.gauge ? bucket->most : bucket->sum) : 0;
        }
        if (query.by_dimension) {
            out.push_back(std::move(line));
            continue;
        }
        Line& all = out.back();
        all.first = all.first ? std::min(*all.first, *line.first) : line.first;
        for (std::size_t i = 0; i < query.buckets; ++i) {
            if (line.buckets[i] && !all.buckets[i]) {
                all.buckets[i] = line.buckets[i];
            } else if (line.buckets[i]) {
                all.buckets[i]->add(*line.buckets[i]);
            }
        }
    }
    std::ranges::sort(out, [&](const Line& left, const Line& right) {
        if (left.rank != right.rank) {
            return query.descending ? left.rank > right.rank : left.rank < right.rank;
        }
        return left.dimension < right.dimension;
    });
    if (out.size() > query.top) {
        out.resize(query.top);
    }
    return out;
}

json::array data_of(const Line& line, const MetricName& metric, const MetricQuery& query) {
    json::array out;
    const auto aggregations = query.aggregations.empty()
                                  ? std::vector{aggregations_of(metric).front()}
                                  : query.aggregations;
    for (std::size_t i = 0; i < query.buckets; ++i) {
        const Minute at = query.start + static_cast<Minute>(i) * query.step;
        json::object point{{"timeStamp", time_text(at)}};
        auto samples = line.buckets[i];
        // a total of which nothing came is nothing, once it is known at all
        if (!samples && !metric.gauge && line.first && at + query.step > *line.first) {
            samples.emplace();
        }
        for (const Aggregation each : aggregations) {
            if (samples) {
                point[field_of(each)] = value_of(*samples, each);
            }
        }
        out.push_back(std::move(point));
    }
    return out;
}

json::object show(const model::ResourceId& id, const MetricName& metric,
                  const std::vector<Line>& lines, const MetricQuery& query) {
    json::array timeseries;
    for (const Line& line : lines) {
        json::array metadata;
        if (query.by_dimension) {
            metadata.push_back(json::object{
                {"name", named(model::lower(metric.dimension), model::lower(metric.dimension))},
                {"value", line.dimension}});
        }
        timeseries.push_back(
            json::object{{"metadatavalues", std::move(metadata)},
                         {"data", query.data ? data_of(line, metric, query) : json::array()}});
    }
    return {{"id", fmt::format("{}/providers/{}/{}", id.str(), kPlatform, metric.name)},
            {"type", kPlatform},
            {"name", named(metric.name, metric.shown)},
            {"displayDescription", metric.about},
            {"unit", metric.unit},
            {"timeseries", std::move(timeseries)},
            {"errorCode", "Success"}};
}

Result<Reply> list_metrics(Services& services, const Metering& metering, const Call& call) {
    CULVERT_TRY_STATUS(check_resource(services, call.id));
    const auto given = [&](const char* name) { return std::string(call.request->parameter(name)); };
    const std::string type = call.id.type();
    const WallTime now = services.clock.wall();
    const auto minute = std::chrono::floor<std::chrono::minutes>(now.time_since_epoch()).count();
    const std::string resource = call.id.key();
    const Minute detail = metering.read(
        [&](const SeriesTable& series) { return series.detail_from(resource, minute); });
    const auto query = read_metric_query({.type = type,
                                          .timespan = given("timespan"),
                                          .interval = given("interval"),
                                          .names = given("metricnames"),
                                          .aggregation = given("aggregation"),
                                          .filter = given("$filter"),
                                          .top = given("top"),
                                          .order = given("orderby"),
                                          .result = given("resultType"),
                                          .space = given("metricnamespace")},
                                         now, detail);
    if (!query) {
        return std::unexpected(query.error());
    }
    json::array value;
    std::size_t points = 0;
    std::size_t reads = 0;
    for (const MetricName* metric : query->metrics) {
        // nodes' reports wait for what is read, but not until it is shown
        const auto lines = metering.read([&](const SeriesTable& series) {
            const std::string name(metric->name);
            reads += (series.dimensions(resource, name).size() + 1) * query->buckets;
            return reads > kMetricReads
                       ? std::nullopt
                       : std::optional(lines_of(series, resource, *metric, *query));
        });
        points += lines && query->data ? lines->size() * query->buckets : 0;
        if (!lines || points > kMetricPoints) {
            return too_many_points();
        }
        value.push_back(show(call.id, *metric, *lines, *query));
    }
    return Reply{.status = 200,
                 .body = json::object{{"cost", points},
                                      {"timespan", fmt::format("{}/{}", rfc3339(query->from),
                                                               rfc3339(query->until))},
                                      {"interval", interval_text(query->step)},
                                      {"namespace", metrics_of(type).front().type},
                                      {"resourceregion", services.region},
                                      {"value", std::move(value)}},
                 .headers = {}};
}

json::object definition(const model::ResourceId& id, const MetricName& metric) {
    json::array aggregations;
    for (const Aggregation each : aggregations_of(metric)) {
        aggregations.emplace_back(to_string(each));
    }
    json::array grains;
    for (const Minute each : intervals()) {
        grains.push_back(json::object{{"timeGrain", interval_text(each)},
                                      {"retention", each < SeriesTable::kHour ? "P1D" : "P93D"}});
    }
    json::object out{{"id", fmt::format("{}/providers/Microsoft.Insights/metricDefinitions/{}",
                                        id.str(), metric.name)},
                     {"resourceId", id.str()},
                     {"namespace", metric.type},
                     {"name", named(metric.name, metric.shown)},
                     {"displayDescription", metric.about},
                     {"isDimensionRequired", false},
                     {"unit", metric.unit},
                     {"primaryAggregationType", aggregations.front()},
                     {"supportedAggregationTypes", aggregations},
                     {"metricAvailabilities", std::move(grains)}};
    if (!metric.dimension.empty()) {
        out["dimensions"] = json::array{named(metric.dimension, metric.dimension)};
    }
    return out;
}

Result<Reply> list_definitions(Services& services, const Call& call) {
    CULVERT_TRY_STATUS(check_resource(services, call.id));
    json::array value;
    for (const MetricName& metric : metrics_of(call.id.type())) {
        value.push_back(definition(call.id, metric));
    }
    return Reply{.status = 200, .body = json::object{{"value", std::move(value)}}, .headers = {}};
}

Result<Reply> list_namespaces(Services& services, const Call& call) {
    CULVERT_TRY_STATUS(check_resource(services, call.id));
    const std::string_view type = metrics_of(call.id.type()).front().type;
    std::string name(type);
    std::ranges::replace(name, '/', '-');
    json::object space{{"id", fmt::format("{}/providers/Microsoft.Insights/metricNamespaces/{}",
                                          call.id.str(), name)},
                       {"type", "Microsoft.Insights/metricNamespaces"},
                       {"name", name},
                       {"classification", "Platform"},
                       {"properties", json::object{{"metricNamespaceName", type}}}};
    return Reply{.status = 200,
                 .body = json::object{{"value", json::array{std::move(space)}}},
                 .headers = {}};
}

}  // namespace

void add_metric_handlers(Registry& registry, Services& services, const Metering& metering) {
    const auto add = [&](const char* type, std::string_view permission, auto answer) {
        registry.add(type, "LIST", std::string(permission),
                     [answer](const Call& call, const ReplyFn& reply) {
                         auto done = answer(call);
                         reply(done ? std::move(*done) : error_reply(done.error()));
                     });
    };
    add("Microsoft.Insights/metrics", kRead, [&services, &metering](const Call& call) {
        return list_metrics(services, metering, call);
    });
    add("Microsoft.Insights/metricDefinitions", kReadDefinitions,
        [&services](const Call& call) { return list_definitions(services, call); });
    add("Microsoft.Insights/metricNamespaces", "Microsoft.Insights/metricNamespaces/read",
        [&services](const Call& call) { return list_namespaces(services, call); });
}

}  // namespace culvert::control
