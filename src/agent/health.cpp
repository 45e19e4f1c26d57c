// SPDX-License-Identifier: Apache-2.0
#include "agent/health.hpp"

#include "base/probe_limits.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::agent {

ProbeSpec spec_of(const api::Probe& probe, std::chrono::milliseconds interval) {
    const std::chrono::milliseconds own{probe.interval_ms()};
    return {.protocol = probe.protocol() == api::PROBE_HTTPS  ? ProbeProtocol::kHttps
                        : probe.protocol() == api::PROBE_HTTP ? ProbeProtocol::kHttp
                                                              : ProbeProtocol::kTcp,
            .port = static_cast<std::uint16_t>(probe.port()),
            .path = probe.path(),
            .interval =
                std::max(interval.count() != 0 ? interval : own, limits::kShortestProbeInterval),
            .threshold = std::max(probe.threshold(), 1u)};
}

std::string to_string(const ProbeSpec& spec) {
    const char* const protocol = spec.protocol == ProbeProtocol::kTcp    ? "tcp"
                                 : spec.protocol == ProbeProtocol::kHttp ? "http"
                                                                         : "https";
    return fmt::format("{}:{}{}", protocol, spec.port, spec.path);
}

bool Judge::take(Outcome outcome, std::uint32_t threshold) {
    const bool good = outcome == Outcome::kUp;
    if (good == up_) {
        against_ = 0;
        return !std::exchange(known_, true);
    }
    ++against_;
    const bool first = good && !proven_;
    if (known_ && !first && outcome != Outcome::kDown && against_ < threshold) {
        return false;
    }
    known_ = true;
    proven_ = proven_ || good;
    up_ = good;
    against_ = 0;
    return true;
}

void Absence::waited(SteadyTime from, SteadyTime until, SteadyTime back) {
    constexpr auto kTick = std::chrono::milliseconds(2);  // waits are no more exact than that
    if (back_ != SteadyTime{}) {
        total_ += from - back_;
    }
    const auto late = back - std::max(from, until);
    total_ += late > kTick ? late : std::chrono::nanoseconds(0);
    back_ = back;
}

std::chrono::nanoseconds Absence::total(SteadyTime now) const {
    return back_ == SteadyTime{} ? total_ : total_ + (now - back_);
}

bool Doubt::counts(bool asked, bool silent, std::chrono::nanoseconds absent,
                   std::chrono::nanoseconds interval) {
    constexpr int kInARow = 3;
    const bool doubtful = !asked || (silent && absent > interval / 2);
    in_a_row_ = doubtful && in_a_row_ < kInARow ? in_a_row_ + 1 : 0;
    return in_a_row_ == 0;
}

bool Health::set(const HealthKey& key, bool up) {
    const auto [row, fresh] = rows_.try_emplace(key, up);
    return fresh || std::exchange(row->second, up) != up;
}

std::optional<bool> Health::find(const HealthKey& key) const {
    const auto found = rows_.find(key);
    return found == rows_.end() ? std::nullopt : std::optional(found->second);
}

Health::State Health::state(std::uint32_t nic, std::uint32_t generation, std::uint32_t pool,
                            std::uint32_t probe, std::uint32_t node) const {
    if (!find({nic, generation, 0, 0}).value_or(true)) {
        return State::kUnplumbed;
    }
    if (probe == 0) {
        return State::kUp;
    }
    const auto verdict = find({nic, generation, pool, probe});
    if (!verdict) {
        return speaking_.contains(node) ? State::kDown : State::kUnknown;
    }
    return *verdict ? State::kUp : State::kDown;
}

bool Health::is_up(std::uint32_t nic, std::uint32_t generation, std::uint32_t pool,
                   std::uint32_t probe, std::uint32_t node) const {
    const State now = state(nic, generation, pool, probe, node);
    return now == State::kUp || now == State::kUnknown;
}

const char* to_string(Health::State state) {
    switch (state) {
        case Health::State::kUp: return "up";
        case Health::State::kDown: return "down";
        case Health::State::kUnplumbed: return "unplumbed";
        case Health::State::kUnknown: break;
    }
    return "unknown";
}

}  // namespace culvert::agent
