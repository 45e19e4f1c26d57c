// SPDX-License-Identifier: Apache-2.0
#include "control/request_stats.hpp"

namespace culvert::control {

namespace {

constexpr int kTooManyRequests = 429;
constexpr int kFirstRefusal = 400;

}  // namespace

void RequestStats::add(const Answered& answered) {
    counts_.with(
        [&](auto& counts) { ++counts[Key(answered.kind, answered.write, answered.status)]; });
    const bool sign_in = answered.kind == kSignInKind;
    took_[sign_in ? kSignIn : answered.write ? kWrite : kRead].observe(answered.took);
    if (answered.status == kTooManyRequests) {
        ++(sign_in ? sign_in_limited_ : rate_limited_);
    } else if (answered.secret) {
        ++(answered.status >= kFirstRefusal ? sign_in_failures_ : sign_ins_);
    }
}

void RequestStats::collect(metrics::Page& page) const {
    counts_.with([&](const auto& counts) {
        for (const auto& [key, count] : counts) {
            const auto& [kind, write, status] = key;
            page.counter("culvertd_requests_total", "Requests answered.",
                         static_cast<double>(count),
                         {{"type", kind},
                          {"verb", write ? "write" : "read"},
                          {"code", std::to_string(status)}});
        }
    });
    static constexpr std::array<const char*, kClasses> kNames{"read", "write", "sign-in"};
    for (std::size_t i = 0; i < kClasses; ++i) {
        page.histogram("culvertd_request_seconds", "From the request to its answer.",
                       took_[i].read(), {{"class", kNames[i]}});
    }
    page.counter("culvertd_sign_ins_total", "Tokens given out.",
                 static_cast<double>(sign_ins_.load()));
    page.counter("culvertd_sign_in_failures_total", "Sign-ins refused.",
                 static_cast<double>(sign_in_failures_.load()));
    for (const auto& [by, count] :
         {std::pair{"subscription", &rate_limited_}, {"sign-in", &sign_in_limited_}}) {
        page.counter("culvertd_rate_limited_total", "Requests refused by a rate limit.",
                     static_cast<double>(count->load()), {{"by", by}});
    }
}

}  // namespace culvert::control
