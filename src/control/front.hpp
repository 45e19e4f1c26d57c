// SPDX-License-Identifier: Apache-2.0
// The front: what every request goes through, in this order (DESIGN.md 4):
//   correlate -> authenticate -> api-version -> route -> authorize -> group -> body -> handler
// Promise: a handler sees only requests of a known caller, with the right, for a known type, with a
// parsed body; every answer, also a refusal, carries the request's ids; no refusal tells an
// unauthorized caller what exists.
//
// Immutable after construction but for its counters; internally synchronized.
#pragma once

#include "control/call.hpp"
#include "control/identity.hpp"
#include "control/identity_signin.hpp"
#include "control/request_stats.hpp"

#include <functional>
#include <memory>
#include <string>

namespace culvert::control {

struct Actor;

// What a path and method ask for. `arm`: an api-version is due.
struct Route {
    std::string type;  // full type of Registry, as written
    std::string verb;  // Registry's verb
    model::ResourceId id;
    std::string collection;
    std::string action;
    bool arm = true;
};

// Pure. Errors: kInvalidArgument for what is not an ARM path, kNotFound for a path outside the API.
Result<Route> route(const http::Request& request);

// A JSON body, at most limits::kJsonDepth deep. Errors: kInvalidArgument InvalidRequestContent with
// line and column.
Result<boost::json::value> parse_body(std::string_view text);

// Accepts any date from 2015-01-01 to 2027-12-31 with an optional -preview suffix
// (arm-contract 5.5).
Status check_api_version(std::string_view version);

// Requests that one key may make: kBurst at once, kPerSecond after that. Keys: a caller, whatever
// it asks for; a tenant, for what looks through more than the answer (Registry::Entry::cost); a
// subscription, once the caller is known to have the right (its reads and writes apart: the
// remainder is what x-ms-ratelimit-remaining-subscription-* shows).
class RateLimit {
  public:
    static constexpr double kBurst = 20000;
    static constexpr double kPerSecond = 2000;
    static constexpr std::size_t kKeys = 65536;  // then those that are full again are forgotten

    // What is left after this request; negative: refuse it.
    std::int64_t take(const std::string& key, SteadyTime now, std::size_t cost = 1);

  private:
    struct Bucket {
        double tokens = kBurst;
        SteadyTime at;

        double refilled(SteadyTime now) const;
    };
    Guarded<std::map<std::string, Bucket>> buckets_;
};

class Front {
  public:
    // The arguments outlive the front. `unready` answers /readyz: what to say, empty: it is ready.
    Front(const Registry& registry, Services& services, Identity& identity, SignIn& sign_in,
          std::function<std::string()> unready);

    void handle(const http::Request& request, const http::Respond& respond);
    // For http::ServerOptions: what the server refuses by itself is correlated and logged too.
    void refused(http::Response& response) const;
    const RequestStats& stats() const { return stats_; }

  private:
    struct Exchange;  // one request on its way
    using ExchangePtr = std::shared_ptr<Exchange>;

    bool unauthenticated(const http::Request& request, const ExchangePtr& x);
    Status admit(Exchange& x, const Registry::Entry** entry);
    Status find_entry(Exchange& x, const Registry::Entry** entry) const;
    Status check_caller_rate(const Exchange& x, const Registry::Entry& entry);
    Status check_scope(Exchange& x, const Registry::Entry& entry);
    Status check_right(const Exchange& x, const Registry::Entry& entry) const;
    Status check_group(const Exchange& x) const;
    Status read_body(Exchange& x) const;
    void add_headers(const Exchange& x, http::Response& response) const;
    void log(const Exchange& x, int status) const;
    void finish(Exchange& x, Reply reply) const;
    static Actor actor_of(const Exchange& x);
    void note_denied(const Exchange& x, const Error& error) const;

    const Registry& registry_;
    Services& services_;
    Identity& identity_;
    SignIn& sign_in_;
    std::function<std::string()> unready_;
    RateLimit rate_;
    mutable RequestStats stats_;
};

}  // namespace culvert::control
