// SPDX-License-Identifier: Apache-2.0
#include "metrics/metrics.hpp"

#include <fmt/format.h>
#include <prometheus/client_metric.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <limits>

namespace culvert::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::size_t kThreads = 2;  // one slow reader does not keep the next one out

MetricType type_of(Kind kind) {
    switch (kind) {
        case Kind::kCounter: return MetricType::Counter;
        case Kind::kGauge: return MetricType::Gauge;
        case Kind::kHistogram: return MetricType::Histogram;
    }
    return MetricType::Untyped;
}

ClientMetric::Histogram histogram_of(const Histogram::Reading& reading) {
    ClientMetric::Histogram out;
    for (std::size_t i = 0; i < reading.buckets.size(); ++i) {
        out.sample_count += reading.buckets[i];
        out.bucket.push_back({out.sample_count, i < Histogram::kBounds.size()
                                                    ? Histogram::kBounds[i]
                                                    : std::numeric_limits<double>::infinity()});
    }
    out.sample_sum = reading.sum_seconds;
    return out;
}

MetricFamily shown(const Family& family) {
    MetricFamily out{family.name, family.help, type_of(family.kind), {}};
    for (const Sample& sample : family.samples) {
        ClientMetric metric;
        for (const auto& [name, value] : sample.labels) {
            metric.label.push_back({name, value});
        }
        switch (family.kind) {
            case Kind::kCounter: metric.counter.value = sample.value; break;
            case Kind::kGauge: metric.gauge.value = sample.value; break;
            case Kind::kHistogram: metric.histogram = histogram_of(sample.histogram); break;
        }
        out.metric.push_back(std::move(metric));
    }
    return out;
}

class Collected final : public prometheus::Collectable {
  public:
    explicit Collected(std::function<void(Page&)> collect) : collect_(std::move(collect)) {}

    std::vector<MetricFamily> Collect() const override {
        Page page;
        collect_(page);
        std::vector<MetricFamily> out;
        out.reserve(page.families().size());
        for (const Family& family : page.families()) {
            out.push_back(shown(family));
        }
        return out;
    }

  private:
    std::function<void(Page&)> collect_;
};

class Exposed final : public Endpoint {
  public:
    Exposed(const std::string& address, std::function<void(Page&)> collect)
        : collected_(std::make_shared<Collected>(std::move(collect))), exposer_(address, kThreads) {
        exposer_.RegisterCollectable(collected_);
    }

  private:
    std::shared_ptr<Collected> collected_;
    prometheus::Exposer exposer_;
};

}  // namespace

Result<std::unique_ptr<Endpoint>> serve(const std::string& address,
                                        std::function<void(Page&)> collect) {
    try {
        return std::make_unique<Exposed>(address, std::move(collect));
    } catch (const std::exception& error) {
        return fail(Code::kConflict, fmt::format("serve metrics on {}: {}", address, error.what()),
                    "metrics");
    }
}

}  // namespace culvert::metrics
