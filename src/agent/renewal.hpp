// SPDX-License-Identifier: Apache-2.0
// The node's certificate is replaced when two thirds of its life are over: a new key is made here,
// the stream carries the request, and key and certificate are on disk, in one file, before either
// is used. Until then, and whenever something of that fails, the old ones stay.
// Thread safety: internally synchronized.
#pragma once

#include "agent/identity.hpp"
#include "base/clock.hpp"
#include "base/guarded.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace culvert::agent {

struct Validity {
    WallTime from;
    WallTime until;
};
// Errors: kInvalidArgument.
Result<Validity> validity_of(const std::string& certificate_pem);
// SHA-256 in hex.
std::string digest_of(const std::string& text);
// When two thirds are over.
WallTime renewal_time(const Validity& validity);

struct RenewalStatus {
    WallTime until;              // of the certificate in use
    std::uint64_t renewed = 0;   // in this life of the agent
    std::uint64_t failures = 0;  // refused, or not storable
};

class Renewal {
  public:
    // `clock` decides when it is time.
    Renewal(std::filesystem::path data_dir, Identity identity, const Clock& clock);
    Renewal(const Renewal&) = delete;
    Renewal& operator=(const Renewal&) = delete;

    // What the node is now; another object after every change.
    std::shared_ptr<const Identity> identity() const;
    // A request to send (PEM), when it is time for one; the same key never twice.
    std::optional<std::string> due();
    // The answer: a certificate for the key of the last request, or why there is none.
    Status take(const std::string& certificate_pem, const std::string& error);
    // What to trust from now on (PEM, one authority or more; empty: no change), and whether to ask
    // for a certificate at once.
    Status trust(const std::string& ca_pem, bool renew);
    RenewalStatus status() const;

  private:
    struct State {
        std::shared_ptr<const Identity> identity;
        WallTime next;  // when to ask
        std::chrono::seconds patience{};
        std::string key_pem;  // of the request under way
        RenewalStatus status;
    };
    void schedule(State& state) const;
    Status store(State& state, const std::string& certificate_pem) const;

    const std::filesystem::path data_dir_;
    const Clock& clock_;
    Guarded<State> state_;
};

}  // namespace culvert::agent
