// SPDX-License-Identifier: Apache-2.0
// What the front has answered: how often, how fast. Kinds are the registry's types, "sign-in" and
// "other", so that no client can make up a new one. Thread safety: internally synchronized.
#pragma once

#include "base/guarded.hpp"
#include "metrics/metrics.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace culvert::control {

inline constexpr std::string_view kSignInKind = "sign-in";
inline constexpr std::string_view kOtherKind = "other";

struct Answered {
    std::string_view kind;
    bool write = false;
    bool secret = false;  // somebody tried to sign in
    int status = 0;
    std::chrono::nanoseconds took{};
};

class RequestStats {
  public:
    void add(const Answered& answered);
    void collect(metrics::Page& page) const;

  private:
    enum Class : std::size_t { kRead, kWrite, kSignIn, kClasses };
    using Key = std::tuple<std::string, bool, int>;  // kind, write, status

    Guarded<std::map<Key, std::uint64_t>> counts_;
    std::array<metrics::Histogram, kClasses> took_;
    std::atomic<std::uint64_t> sign_ins_{0};
    std::atomic<std::uint64_t> sign_in_failures_{0};
    std::atomic<std::uint64_t> rate_limited_{0};
    std::atomic<std::uint64_t> sign_in_limited_{0};
};

}  // namespace culvert::control
