// SPDX-License-Identifier: Apache-2.0
// A bell: ring() wakes whoever waits; a ring between look and wait is not lost.
// Thread safety: internally synchronized.
#pragma once

#include "base/guarded.hpp"

#include <chrono>
#include <cstdint>

namespace culvert::runtime {

class Bell {
  public:
    // How often it has rung: take it before looking at the state that you wait for.
    std::uint64_t rings() const {
        const auto at_once = [](std::uint64_t) { return true; };
        return rings_.wait(at_once, [](std::uint64_t rings) { return rings; });
    }
    void ring() {
        rings_.with([](std::uint64_t& rings) { ++rings; });
    }
    // Returns when it has rung since `seen`, or at `deadline`; false at the deadline.
    bool wait_until(std::uint64_t seen, std::chrono::steady_clock::time_point deadline) {
        const auto rung = [seen](std::uint64_t rings) { return rings != seen; };
        return rings_.wait_for(deadline - std::chrono::steady_clock::now(), rung, rung);
    }

  private:
    mutable Monitor<std::uint64_t> rings_{std::uint64_t{0}};
};

}  // namespace culvert::runtime
