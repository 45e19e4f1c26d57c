// SPDX-License-Identifier: Apache-2.0
#include "metrics/metrics.hpp"

#include <algorithm>

namespace culvert::metrics {

void Histogram::observe(std::chrono::nanoseconds took) {
    const double seconds = std::chrono::duration<double>(took).count();
    const auto at = std::ranges::lower_bound(kBounds, seconds);
    buckets_[static_cast<std::size_t>(at - kBounds.begin())].fetch_add(1,
                                                                       std::memory_order_relaxed);
    sum_ns_.fetch_add(static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0)),
                      std::memory_order_relaxed);
}

Histogram::Reading Histogram::read() const {
    Reading out;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
        out.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
    }
    const std::chrono::nanoseconds sum(sum_ns_.load(std::memory_order_relaxed));
    out.sum_seconds = std::chrono::duration<double>(sum).count();
    return out;
}

Family& Page::family(std::string name, std::string help, Kind kind) {
    const auto at = std::ranges::find(families_, name, &Family::name);
    if (at != families_.end()) {
        return *at;
    }
    return families_.emplace_back(Family{std::move(name), std::move(help), kind, {}});
}

void Page::counter(std::string name, std::string help, double value, Labels labels) {
    family(std::move(name), std::move(help), Kind::kCounter)
        .samples.push_back({std::move(labels), value, {}});
}

void Page::gauge(std::string name, std::string help, double value, Labels labels) {
    family(std::move(name), std::move(help), Kind::kGauge)
        .samples.push_back({std::move(labels), value, {}});
}

void Page::histogram(std::string name, std::string help, const Histogram::Reading& reading,
                     Labels labels) {
    family(std::move(name), std::move(help), Kind::kHistogram)
        .samples.push_back({std::move(labels), 0, reading});
}

}  // namespace culvert::metrics
