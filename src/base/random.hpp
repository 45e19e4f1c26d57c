// SPDX-License-Identifier: Apache-2.0
// Randomness is a dependency, as time is (STYLE.md 9).
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace culvert {

class Random {
  public:
    virtual ~Random() = default;
    // Fills `out` with unpredictable bytes (getrandom(2) in production).
    virtual void fill(std::span<std::uint8_t> out) = 0;

    std::uint64_t u64();
    // A value in [0, bound); bound > 0.
    std::uint64_t below(std::uint64_t bound);
    // A version 4 UUID in lower case (RFC 9562 5.4).
    std::string uuid();
    // `bytes` random bytes as lower-case hex.
    std::string hex(std::size_t bytes);
};

// Internally synchronized: getrandom(2) has no state of ours.
class SystemRandom final : public Random {
  public:
    void fill(std::span<std::uint8_t> out) override;
};

}  // namespace culvert
