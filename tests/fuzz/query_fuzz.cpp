// SPDX-License-Identifier: Apache-2.0
// A request for metrics from anyone, a parameter a line: what is taken is within its bounds.
#include "base/assert.hpp"
#include "control/metric_query.hpp"
#include "model/types.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert;
    using namespace culvert::control;
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    const auto line = [&] {
        const auto end = rest.find('\n');
        const auto out = rest.substr(0, end);
        rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
        return std::string(out);
    };
    constexpr std::array kTypes{model::types::kPrivateEndpoint, model::types::kPrivateLinkService,
                                model::types::kLoadBalancer};
    const MetricRequest request{.type = kTypes[size % kTypes.size()],
                                .timespan = line(),
                                .interval = line(),
                                .names = line(),
                                .aggregation = line(),
                                .filter = line(),
                                .top = line(),
                                .order = line(),
                                .result = line(),
                                .space = line()};
    const WallTime now = WallTime(std::chrono::hours(490'000));
    const auto query = read_metric_query(request, now, Minute{490'000} * 60 - 1440);
    if (!query) {
        CULVERT_ASSERT(query.error().code == Code::kInvalidArgument);
        CULVERT_ASSERT(!query.error().target.empty() && !query.error().message.empty());
        return 0;
    }
    CULVERT_ASSERT(!query->metrics.empty());
    CULVERT_ASSERT(query->step >= 1 && query->buckets >= 1 && query->top >= 1);
    CULVERT_ASSERT(!query->data || query->buckets * query->metrics.size() <= kMetricPoints);
    return 0;
}
