// SPDX-License-Identifier: Apache-2.0
// Probes under way: sockets in the services' namespace that do not block, each with a deadline. Of
// an answer no more than its status line is read; certificates are not looked at (a probe asks
// whether a backend answers, not who it is).
// Thread safety: strand-bound.
#pragma once

#include "agent/health.hpp"
#include "base/clock.hpp"
#include "base/result.hpp"
#include "datapath/services.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace culvert::agent {

struct ProbeResult {
    Outcome outcome = Outcome::kFailed;
    std::string reason;  // for people: answers, refused, status 500, no answer
    std::chrono::nanoseconds took{0};
    bool silent = false;  // its time is over
    bool ours = false;    // it could not be asked: that is no fault of the backend
};

class Probing {
  public:
    using Done = std::function<void(std::uint64_t id, const ProbeResult& result)>;

    // `epoll`: where sockets are waited for, with the numbers of attempts (from 1) as data.
    // Errors: of OpenSSL.
    static Result<std::unique_ptr<Probing>> open(datapath::Services& services, int epoll);
    virtual ~Probing() = default;

    // One probe of the NIC, whose own address is `host`. The result comes from within ready(),
    // expire() or this call, once. False: there are limits::kProbesAtOnce already.
    virtual bool start(std::uint64_t id, std::uint32_t nic, const std::string& host,
                       const ProbeSpec& spec, SteadyTime deadline) = 0;
    // No result will come.
    virtual void cancel(std::uint64_t id) = 0;
    // Something has happened to the socket of that attempt.
    virtual void ready(std::uint64_t attempt, SteadyTime now) = 0;
    // Ends those whose deadline is over; the next deadline.
    virtual SteadyTime expire(SteadyTime now) = 0;
    virtual void set_done(Done done) = 0;
};

// The status code of an answer whose beginning is `text` (RFC 9112 4): 0, it is not complete yet;
// -1, it is no HTTP.
int status_of(std::string_view text);

}  // namespace culvert::agent
