// SPDX-License-Identifier: Apache-2.0
// What culvertd shows to Prometheus. docs/metrics.md lists every name; a test compares the two.
#pragma once

#include "base/clock.hpp"
#include "base/log_control.hpp"
#include "control/hub.hpp"
#include "control/metering.hpp"
#include "control/request_stats.hpp"
#include "http/server.hpp"
#include "metrics/metrics.hpp"
#include "store/measured.hpp"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace culvert::control {

struct MetricSources {
    const Clock& clock;
    const RequestStats& requests;
    const store::StoreTimes& store;
    Hub& hub;
    const Metering& metering;
    const http::Server& server;
    const LogCounts& log;
    // Names of certificates and when they end.
    std::function<std::vector<std::pair<std::string, WallTime>>()> certificates;
    std::function<bool()> ready;
};

// Any thread, but none of the hub's: it asks the hub and waits for the answer, not for long.
void collect(const MetricSources& sources, metrics::Page& page);

}  // namespace culvert::control
