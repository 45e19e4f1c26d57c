// SPDX-License-Identifier: Apache-2.0
// metrics: what a private endpoint, private link service or load balancer carried.
#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <utility>

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr const char* kVersion = "2023-10-01";

std::string path_of(const MetricsOptions& options, const char* what) {
    return fmt::format("{}/providers/Microsoft.Insights/{}?api-version={}", options.resource, what,
                       kVersion);
}

// Every metric that the resource has, for a request that names none.
Result<std::string> all_names(Session& session, const MetricsOptions& options) {
    auto answer = session.call("GET", path_of(options, "metricDefinitions"), nullptr);
    if (!answer) {
        return std::unexpected(std::move(answer.error()));
    }
    std::string out;
    for (const auto& each : answer->at("value").as_array()) {
        out += (out.empty() ? "" : ",") + std::string(each.at("name").at("value").as_string());
    }
    return out;
}

std::string value_of(const json::object& point) {
    for (const auto& [name, value] : point) {
        if (name != "timeStamp") {
            return fmt::format("{}", value.to_number<double>());
        }
    }
    return "-";
}

std::vector<Row> rows_of(const json::value& answer) {
    std::vector<Row> rows;
    for (const auto& metric : answer.at("value").as_array()) {
        const std::string name(metric.at("name").at("value").as_string());
        const std::string unit(metric.at("unit").as_string());
        for (const auto& line : metric.at("timeseries").as_array()) {
            const auto& labels = line.at("metadatavalues").as_array();
            const std::string of =
                labels.empty() ? "" : std::string(labels.front().at("value").as_string());
            for (const auto& point : line.at("data").as_array()) {
                rows.push_back({std::string(point.at("timeStamp").as_string()), name, of,
                                value_of(point.as_object()), unit});
            }
        }
    }
    return rows;
}

}  // namespace

Result<int> run_metrics(const Settings& settings, const MetricsOptions& options) {
    if (!options.resource.starts_with('/')) {
        return fail(
            Code::kInvalidArgument,
            fmt::format("'{}' is no resource id: it begins with /subscriptions/", options.resource),
            "RESOURCE");
    }
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(std::move(session.error()));
    }
    auto names = options.metric.empty() ? all_names(**session, options)
                                        : Result<std::string>(options.metric);
    if (!names) {
        return std::unexpected(std::move(names.error()));
    }
    std::string target = path_of(options, "metrics");
    target += "&" + form_encode({{"metricnames", *names},
                                 {"timespan", options.timespan},
                                 {"interval", options.interval}});
    if (!options.filter.empty()) {
        target += "&$filter=" + form_encode({{"x", options.filter}}).substr(2);
    }
    auto answer = (*session)->call("GET", target, nullptr);
    if (!answer) {
        return std::unexpected(std::move(answer.error()));
    }
    if (settings.json) {
        print_json(*answer);
        return 0;
    }
    try {
        print_table({"TIME", "METRIC", "OF", "VALUE", "UNIT"}, rows_of(*answer));
    } catch (const std::exception& e) {
        return fail(Code::kInternal, fmt::format("metrics: not understood: {}", e.what()));
    }
    return 0;
}

}  // namespace culvert::cli
