// SPDX-License-Identifier: Apache-2.0
#include "control/metric_query.hpp"

#include "control/identity.hpp"
#include "model/resource_id.hpp"
#include "model/types.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <ranges>
#include <utility>

namespace culvert::control {
namespace {

using model::types::kLoadBalancer;
using model::types::kPrivateEndpoint;
using model::types::kPrivateLinkService;

constexpr std::array kAllMetrics{
    MetricName{kLoadBalancer, kByteCount, "Byte Count",
               "Bytes of IP packets through private endpoints to the load balancer's backends",
               "Bytes", "Direction"},
    MetricName{kLoadBalancer, kPacketCount, "Packet Count",
               "Packets through private endpoints to the load balancer's backends", "Count",
               "Direction"},
    MetricName{kPrivateEndpoint, kEndpointIn, "Bytes In",
               "Bytes of IP packets from the consumer's network into the private endpoint", "Count",
               ""},
    MetricName{kPrivateEndpoint, kEndpointOut, "Bytes Out",
               "Bytes of IP packets from the private endpoint to the consumer's network", "Count",
               ""},
    MetricName{kPrivateLinkService, kServiceIn, "Bytes In",
               "Bytes of IP packets from consumers to the service's backends", "Count",
               "PrivateEndpointConnection"},
    MetricName{kPrivateLinkService, kServiceOut, "Bytes Out",
               "Bytes of IP packets from the service's backends to consumers", "Count",
               "PrivateEndpointConnection"},
    MetricName{kPrivateLinkService, kNatUsage, "Nat Ports Usage",
               "Ports of a NAT address in use, towards the backend that uses most of them",
               "Percent", "PrivateLinkServiceIPAddress", true},
};

constexpr std::array<std::pair<Minute, std::string_view>, 8> kIntervals{{{1, "PT1M"},
                                                                         {5, "PT5M"},
                                                                         {15, "PT15M"},
                                                                         {30, "PT30M"},
                                                                         {60, "PT1H"},
                                                                         {360, "PT6H"},
                                                                         {720, "PT12H"},
                                                                         {1440, "P1D"}}};
constexpr std::array<std::pair<Aggregation, std::string_view>, 5> kAggregations{
    {{Aggregation::kTotal, "Total"},
     {Aggregation::kAverage, "Average"},
     {Aggregation::kMaximum, "Maximum"},
     {Aggregation::kMinimum, "Minimum"},
     {Aggregation::kCount, "Count"}}};
constexpr std::size_t kMostTop = 1000;
constexpr Minute kMostSpan = 93 * 24 * 60;

std::unexpected<Error> bad(std::string target, std::string message) {
    return fail(Code::kInvalidArgument, std::move(message), std::move(target), "BadRequest");
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const auto comma = text.find(',');
        auto part = text.substr(0, comma);
        while (part.starts_with(' ')) {
            part.remove_prefix(1);
        }
        while (part.ends_with(' ')) {
            part.remove_suffix(1);
        }
        if (!part.empty()) {
            out.emplace_back(part);
        }
        text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
    }
    return out;
}

// P[nD][T[nH][nM]]
std::optional<Minute> duration(std::string_view text) {
    if (!text.starts_with('P') || text.size() < 3) {
        return std::nullopt;
    }
    text.remove_prefix(1);
    Minute out = 0;
    bool time = false;
    while (!text.empty()) {
        if (!time && text.starts_with('T')) {
            time = true;
            text.remove_prefix(1);
        }
        std::uint32_t count = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
        const auto digits = static_cast<std::size_t>(end - text.data());
        if (error != std::errc() || digits >= text.size()) {
            return std::nullopt;
        }
        const char unit = text[digits];
        const Minute each = !time && unit == 'D'  ? 1440
                            : time && unit == 'H' ? 60
                            : time && unit == 'M' ? 1
                                                  : 0;
        if (each == 0 || count > kMostSpan) {
            return std::nullopt;
        }
        out += each * count;
        if (out > kMostSpan) {
            return kMostSpan + 1;  // longer than anything, and no more than arithmetic can bear
        }
        text.remove_prefix(digits + 1);
    }
    return out > 0 ? std::optional(out) : std::nullopt;
}

Result<WallTime> read_time(std::string text) {
    if (text.ends_with("+00:00")) {
        text = text.substr(0, text.size() - 6) + "Z";
    } else if (!text.ends_with('Z')) {
        text += "Z";
    }
    auto out = parse_rfc3339(text);
    if (!out) {
        out.error().target = "timespan";
        out.error().arm_code = "BadRequest";
    }
    return out;
}

Status read_span(const std::string& text, WallTime now, MetricQuery& out) {
    out.until = now;
    out.from = now - std::chrono::hours(1);
    if (text.empty()) {
        return {};
    }
    if (const auto length = duration(text)) {
        out.from = now - std::chrono::minutes(*length);
    } else {
        const auto slash = text.find('/');
        if (slash == text.npos) {
            return bad("timespan",
                       "'timespan' has to be START/END, both such as 2026-11-26T10:00:00Z, or a "
                       "duration such as PT1H");
        }
        const auto from = read_time(text.substr(0, slash));
        const auto until = read_time(text.substr(slash + 1));
        if (!from || !until) {
            return std::unexpected(from ? until.error() : from.error());
        }
        out.from = *from;
        out.until = *until;
    }
    if (out.from >= out.until) {
        return bad("timespan", "'timespan' has to end after it starts");
    }
    if (out.until - out.from > std::chrono::minutes(kMostSpan)) {
        return bad("timespan", "'timespan' has to be 93 days at most: so long is it kept");
    }
    return {};
}

Status read_interval(const std::string& text, Minute detail_from, MetricQuery& out) {
    const auto minute = [](WallTime time) {
        return std::chrono::floor<std::chrono::minutes>(time.time_since_epoch()).count();
    };
    out.start = minute(out.from);
    const Minute end = minute(out.until + std::chrono::minutes(1) - WallTime::duration(1));
    if (model::same_name(text, "FULL")) {
        out.step = end - out.start;
    } else if (!text.empty()) {
        const auto length = duration(text);
        const auto* known = std::ranges::find(kIntervals, length.value_or(0),
                                              [](const auto& each) { return each.first; });
        if (known == kIntervals.end()) {
            return bad("interval", fmt::format("'interval' has to be one of {}, FULL",
                                               fmt::join(kIntervals | std::views::values, ", ")));
        }
        out.step = known->first;
    }
    if (out.start < detail_from) {
        out.step = std::max(out.step, SeriesTable::kHour);
        out.start = out.start / SeriesTable::kHour * SeriesTable::kHour;
    }
    out.buckets = static_cast<std::size_t>((end - out.start + out.step - 1) / out.step);
    return {};
}

Status read_names(const MetricRequest& request, MetricQuery& out) {
    const auto known = metrics_of(request.type);
    std::vector<std::string_view> allowed;
    for (const MetricName& each : known) {
        allowed.push_back(each.name);
    }
    for (const std::string& name : split(request.names)) {
        const auto found = std::ranges::find_if(
            known, [&](const MetricName& each) { return model::same_name(each.name, name); });
        if (found == known.end()) {
            return bad("metricnames",
                       fmt::format("'{}' is no metric of {}: these are {}", name.substr(0, 64),
                                   request.type, fmt::join(allowed, ", ")));
        }
        if (std::ranges::find(out.metrics, &*found) == out.metrics.end()) {
            out.metrics.push_back(&*found);
        }
    }
    if (out.metrics.empty()) {
        out.metrics.push_back(&known.front());
    }
    if (!request.space.empty() && !model::same_name(request.space, request.type)) {
        return bad("metricnamespace",
                   fmt::format("'metricnamespace' can be {} alone", request.type));
    }
    return {};
}

Status read_aggregations(const std::string& text, MetricQuery& out) {
    for (const std::string& name : split(text)) {
        const auto* known = std::ranges::find_if(
            kAggregations, [&](const auto& each) { return model::same_name(each.second, name); });
        if (known == kAggregations.end()) {
            return bad("aggregation",
                       fmt::format("'{}' is no aggregation: these are {}", name.substr(0, 64),
                                   fmt::join(kAggregations | std::views::values, ", ")));
        }
        for (const MetricName* metric : out.metrics) {
            const auto allowed = aggregations_of(*metric);
            if (std::ranges::find(allowed, known->first) == allowed.end()) {
                std::vector<std::string_view> texts;
                texts.reserve(allowed.size());
                for (const Aggregation each : allowed) {
                    texts.push_back(to_string(each));
                }
                return bad("aggregation",
                           fmt::format("{} cannot be asked for as {}: it has {}", metric->name,
                                       known->second, fmt::join(texts, ", ")));
            }
        }
        if (std::ranges::find(out.aggregations, known->first) == out.aggregations.end()) {
            out.aggregations.push_back(known->first);
        }
    }
    return {};
}

// NAME eq 'VALUE' [or NAME eq 'VALUE']...; * is every value.
class Filter {
  public:
    explicit Filter(std::string_view text) : rest_(text) {}

    Status read(MetricQuery& out) {
        bool all = false;
        while (true) {
            const auto name = word();
            if (!is_dimension(name, out)) {
                return unknown(name, out);
            }
            if (!model::same_name(word(), "eq")) {
                return malformed();
            }
            const auto value = quoted();
            if (!value) {
                return malformed();
            }
            all = all || *value == "*";
            out.values.insert(model::lower(*value));
            const auto joint = word();
            if (joint.empty() && rest_.empty()) {
                break;
            }
            if (!model::same_name(joint, "or")) {
                return malformed();
            }
        }
        if (all) {
            out.values.clear();
        }
        out.by_dimension = true;
        return {};
    }

  private:
    static std::unexpected<Error> malformed() {
        return bad("$filter",
                   "'$filter' has to be DIMENSION eq 'VALUE', several joined by 'or'; the value * "
                   "stands for all");
    }
    static bool is_dimension(std::string_view name, const MetricQuery& query) {
        return !name.empty() && std::ranges::all_of(query.metrics, [&](const MetricName* metric) {
            return model::same_name(metric->dimension, name);
        });
    }
    static std::unexpected<Error> unknown(std::string_view name, const MetricQuery& query) {
        std::vector<std::string> known;
        known.reserve(query.metrics.size());
        for (const MetricName* metric : query.metrics) {
            known.push_back(fmt::format("{} has {}", metric->name,
                                        metric->dimension.empty() ? "none" : metric->dimension));
        }
        return bad("$filter", fmt::format("'{}' is not a dimension of what is asked for: {}",
                                          name.substr(0, 64), fmt::join(known, ", ")));
    }

    std::string_view word() {
        while (rest_.starts_with(' ')) {
            rest_.remove_prefix(1);
        }
        const auto length = std::min(rest_.find_first_of(" '"), rest_.size());
        const auto out = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return out;
    }
    std::optional<std::string> quoted() {
        while (rest_.starts_with(' ')) {
            rest_.remove_prefix(1);
        }
        if (!rest_.starts_with('\'')) {
            return std::nullopt;
        }
        std::string out;
        for (std::size_t at = 1; at < rest_.size(); ++at) {
            if (rest_[at] != '\'') {
                out += rest_[at];
            } else if (at + 1 < rest_.size() && rest_[at + 1] == '\'') {
                out += rest_[at++];
            } else {
                rest_.remove_prefix(at + 1);
                return out;
            }
        }
        return std::nullopt;
    }

    std::string_view rest_;
};

Status read_limits(const MetricRequest& request, MetricQuery& out) {
    if (!request.top.empty()) {
        const char* end = request.top.data() + request.top.size();
        const auto [rest, error] = std::from_chars(request.top.data(), end, out.top);
        if (error != std::errc() || rest != end || out.top == 0 || out.top > kMostTop) {
            return bad("top", fmt::format("'top' has to be 1 to {}", kMostTop));
        }
    }
    if (!request.order.empty()) {
        const auto space = request.order.find(' ');
        const std::string way =
            space == request.order.npos ? "asc" : request.order.substr(space + 1);
        const std::string by = request.order.substr(0, space);
        const bool known = std::ranges::any_of(
            kAggregations, [&](const auto& each) { return model::same_name(each.second, by); });
        if (!known || (!model::same_name(way, "asc") && !model::same_name(way, "desc"))) {
            return bad("orderby",
                       "'orderby' has to be an aggregation and asc or desc, such as "
                       "'total desc'");
        }
        out.descending = model::same_name(way, "desc");
    }
    out.data = !model::same_name(request.result, "metadata");
    if (out.data && !request.result.empty() && !model::same_name(request.result, "data")) {
        return bad("resultType", "'resultType' has to be Data or Metadata");
    }
    return {};
}

}  // namespace

std::span<const MetricName> metrics_of(std::string_view type) {
    const auto of = [&](const MetricName& each) { return model::same_name(each.type, type); };
    const auto* first = std::ranges::find_if(kAllMetrics, of);
    const auto* last = std::find_if_not(first, kAllMetrics.end(), of);
    return {first, last};
}

std::string_view to_string(Aggregation aggregation) {
    return std::ranges::find(kAggregations, aggregation,
                             [](const auto& each) { return each.first; })
        ->second;
}

std::vector<Aggregation> aggregations_of(const MetricName& metric) {
    if (metric.gauge) {
        return {Aggregation::kAverage, Aggregation::kMaximum, Aggregation::kMinimum};
    }
    return {Aggregation::kTotal};
}

std::string interval_text(Minute step) {
    const auto* known =
        std::ranges::find(kIntervals, step, [](const auto& each) { return each.first; });
    return known == kIntervals.end() ? fmt::format("PT{}M", step) : std::string(known->second);
}

std::vector<Minute> intervals() {
    std::vector<Minute> out;
    out.reserve(kIntervals.size());
    for (const auto& [length, text] : kIntervals) {
        out.push_back(length);
    }
    return out;
}

Result<MetricQuery> read_metric_query(const MetricRequest& request, WallTime now,
                                      Minute detail_from) {
    MetricQuery out;
    CULVERT_TRY_STATUS(read_span(request.timespan, now, out));
    CULVERT_TRY_STATUS(read_interval(request.interval, detail_from, out));
    CULVERT_TRY_STATUS(read_names(request, out));
    CULVERT_TRY_STATUS(read_aggregations(request.aggregation, out));
    if (!request.filter.empty()) {
        CULVERT_TRY_STATUS(Filter(request.filter).read(out));
    }
    CULVERT_TRY_STATUS(read_limits(request, out));
    if (out.data && out.buckets * out.metrics.size() > kMetricPoints) {
        return bad("interval", fmt::format("that are {} points: choose a longer 'interval' or a "
                                           "shorter 'timespan'",
                                           out.buckets * out.metrics.size()));
    }
    return out;
}

}  // namespace culvert::control
