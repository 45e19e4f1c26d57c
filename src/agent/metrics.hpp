// SPDX-License-Identifier: Apache-2.0
// What the agent shows to Prometheus. docs/metrics.md lists every name; a test compares the two.
#pragma once

#include "agent/health_keeper.hpp"
#include "agent/meter.hpp"
#include "agent/node.hpp"
#include "agent/prober.hpp"
#include "agent/renewal.hpp"
#include "agent/stream.hpp"
#include "base/log_control.hpp"
#include "metrics/metrics.hpp"

namespace culvert::agent {

struct MetricSources {
    Node& node;
    const Stream& stream;
    const Prober& prober;
    const HealthKeeper& health;
    Meter& meter;
    const Renewal& renewal;
    const Clock& clock;
    const LogCounts& log;
};

// Any thread.
void collect(const MetricSources& sources, metrics::Page& page);

}  // namespace culvert::agent
