// SPDX-License-Identifier: Apache-2.0
// metrics: what a process counts, in Prometheus' text format over HTTP, where asked for. Promise:
// every family has a help text and a type; a look costs what it reads and blocks nobody who counts.
#pragma once

#include "base/result.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace culvert::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

// How long something took, counted in fixed buckets. Thread safety: lock-free.
class Histogram {
  public:
    // Upper bounds in seconds; everything longer is in the last bucket.
    static constexpr std::array<double, 14> kBounds{
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0};
    struct Reading {
        std::array<std::uint64_t, kBounds.size() + 1> buckets{};  // each by itself
        double sum_seconds = 0;
    };

    void observe(std::chrono::nanoseconds took);
    Reading read() const;

  private:
    std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets_{};
    std::atomic<std::uint64_t> sum_ns_{0};
};

enum class Kind { kCounter, kGauge, kHistogram };

struct Sample {
    Labels labels;
    double value = 0;
    Histogram::Reading histogram;  // kHistogram
};

struct Family {
    std::string name;
    std::string help;
    Kind kind = Kind::kGauge;
    std::vector<Sample> samples;
};

// What one look shows. Samples of one name are one family, with the help of the first.
class Page {
  public:
    void counter(std::string name, std::string help, double value, Labels labels = {});
    void gauge(std::string name, std::string help, double value, Labels labels = {});
    void histogram(std::string name, std::string help, const Histogram::Reading& reading,
                   Labels labels = {});
    const std::vector<Family>& families() const { return families_; }

  private:
    Family& family(std::string name, std::string help, Kind kind);

    std::vector<Family> families_;
};

// Memory, descriptors, processor time and start of this process, by Prometheus' usual names.
void add_process(Page& page);

class Endpoint {
  public:
    virtual ~Endpoint() = default;
};

// Serves GET /metrics on `address` (ADDRESS:PORT). `collect` runs on threads of the endpoint.
// Errors: kConflict when it cannot be bound.
Result<std::unique_ptr<Endpoint>> serve(const std::string& address,
                                        std::function<void(Page&)> collect);

}  // namespace culvert::metrics
