// SPDX-License-Identifier: Apache-2.0
// Prometheus' text format over HTTP, where asked for.
#pragma once

#include "agent/node.hpp"
#include "agent/prober.hpp"
#include "agent/stream.hpp"
#include "base/result.hpp"

#include <functional>
#include <memory>
#include <string>

namespace culvert::agent {

class Metrics {
  public:
    // `address` is ADDRESS:PORT. Errors: kConflict when it cannot be bound.
    static Result<std::unique_ptr<Metrics>> serve(const std::string& address, Node& node,
                                                  std::function<StreamStatus()> stream,
                                                  std::function<ReachStatus()> reach);
    virtual ~Metrics() = default;
};

}  // namespace culvert::agent
