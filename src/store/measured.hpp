// SPDX-License-Identifier: Apache-2.0
// A store that is timed. Thread safety: as the store inside.
#pragma once

#include "metrics/metrics.hpp"
#include "store/store.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace culvert::store {

// Can it be written to, as far as the last attempt told?
enum class StoreState : std::uint8_t { kWritable, kFull, kFailed };

struct StoreTimes {
    metrics::Histogram transactions;
    metrics::Histogram reads;
    std::atomic<std::uint64_t> errors{0};
    std::atomic<StoreState> state{StoreState::kWritable};
};

// `times` outlives the result.
std::unique_ptr<Store> measured(std::unique_ptr<Store> store, StoreTimes& times);

}  // namespace culvert::store
