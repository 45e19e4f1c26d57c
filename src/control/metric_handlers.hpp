// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "control/call.hpp"
#include "control/metering.hpp"

namespace culvert::control {

// {resource}/providers/Microsoft.Insights/metrics, /metricDefinitions, /metricNamespaces.
void add_metric_handlers(Registry& registry, Services& services, const Metering& metering);

}  // namespace culvert::control
