// SPDX-License-Identifier: Apache-2.0
// Sign-in: cloud metadata, OpenID discovery and the OAuth 2 token endpoint, under /adfs and
// /{tenant}, as the field's clients ask for them (arm-contract 3 and 4). Errors have OAuth's form
// (RFC 6749 5.2) with AADSTS-like descriptions.
//
// Internally synchronized.
#pragma once

#include "control/identity.hpp"
#include "control/identity_lane.hpp"

#include <map>
#include <string>
#include <vector>

namespace culvert::control {

// Failed attempts by client and peer: kBurst at once, then one a second.
class Throttle {
  public:
    static constexpr double kBurst = 10;
    static constexpr std::size_t kKeys = 4096;

    bool allows(const std::string& key, SteadyTime now);
    void failed(const std::string& key, SteadyTime now);

  private:
    struct Bucket {
        double tokens = kBurst;
        SteadyTime at;
    };
    static double refill(const Bucket& bucket, SteadyTime now);
    Guarded<std::map<std::string, Bucket>> buckets_;
};

class SignIn {
  public:
    // Told of every sign-in that was refused for its secret. `tenant` empty: nobody has that name.
    using RefusedFn = std::function<void(const std::string& tenant, const std::string& name,
                                         const std::string& peer)>;
    // The arguments outlive the result.
    SignIn(Identity& identity, SlowLane& lane, RefusedFn refused = {})
        : identity_(identity), lane_(lane), refused_(std::move(refused)) {}

    // False when the path is none of sign-in's; otherwise answers, now or later.
    bool handle(const http::Request& request, const http::Respond& respond);

  private:
    using Form = std::map<std::string, std::string, std::less<>>;
    // `tenant`: the path's, a GUID in lower case, or empty for /adfs and the common names.
    void token(const http::Request& request, const std::string& tenant, bool adfs,
               const http::Respond& respond);
    void check_secret(const http::Request& request, const std::string& tenant, bool adfs, Form form,
                      const http::Respond& respond);
    http::Response refresh(const Form& form, bool adfs);
    http::Response issue(const Principal& who, const Form& form, bool adfs, bool with_refresh);

    Identity& identity_;
    SlowLane& lane_;
    RefusedFn refused_;
    Throttle throttle_;
};

// https://host:port as the client wrote it.
std::string base_url(const http::Request& request);

}  // namespace culvert::control
