// SPDX-License-Identifier: Apache-2.0
#include "agent/names.hpp"

namespace culvert::agent {
namespace {

constexpr CountName kDrops[] = {
#define CV_DROP(symbol, number, severity, sentence) {#symbol, number, #severity, sentence},
#include "abi/drop_reasons.def"
#undef CV_DROP
};

constexpr CountName kCounters[] = {
#define CV_COUNTER(symbol, number, sentence) {#symbol, number, "", sentence},
#include "abi/counters.def"
#undef CV_COUNTER
};

}  // namespace

std::span<const CountName> drop_names() { return kDrops; }
std::span<const CountName> counter_names() { return kCounters; }

}  // namespace culvert::agent
