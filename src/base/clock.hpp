// SPDX-License-Identifier: Apache-2.0
// Time is a dependency: resources take a Clock&, pure modules take time points as arguments
// (STYLE.md 3, 9).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace culvert {

using WallTime = std::chrono::system_clock::time_point;
using SteadyTime = std::chrono::steady_clock::time_point;

// The last second since 1970 that others may name, of 2199: what is added to it still fits, for
// nanoseconds in 64 bits end in 2262.
inline constexpr std::int64_t kLatestSecond = 7258118399;

// Seconds since 1970 as a time; those before or after what may be named are its first or last.
inline WallTime wall_time(std::int64_t seconds) {
    return WallTime(std::chrono::seconds(std::clamp(seconds, std::int64_t{0}, kLatestSecond)));
}

class Clock {
  public:
    virtual ~Clock() = default;
    virtual WallTime wall() const = 0;
    virtual SteadyTime steady() const = 0;
};

class SystemClock final : public Clock {
  public:
    WallTime wall() const override { return std::chrono::system_clock::now(); }
    SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
};

// A clock that moves only when told: for tests.
class ManualClock final : public Clock {
  public:
    explicit ManualClock(WallTime start) : wall_(start) {}
    WallTime wall() const override { return wall_; }
    SteadyTime steady() const override { return steady_; }
    void advance(std::chrono::nanoseconds by) {
        wall_ += std::chrono::duration_cast<WallTime::duration>(by);
        steady_ += std::chrono::duration_cast<SteadyTime::duration>(by);
    }

  private:
    WallTime wall_;
    SteadyTime steady_{};
};

}  // namespace culvert
