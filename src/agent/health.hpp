// SPDX-License-Identifier: Apache-2.0
// The health of backends as values: what a probe asks, what its answers mean (privatelink-semantics
// 1.5), and who may be used. Pure.
#pragma once

#include "api/intent.pb.h"
#include "base/clock.hpp"
#include "net/address.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace culvert::agent {

// What a verdict is about: a backend by a probe of a pool; pool and probe 0: is its interface
// plumbed. The generation tells NICs of one index apart.
struct HealthKey {
    std::uint32_t nic = 0;
    std::uint32_t generation = 0;
    std::uint32_t pool = 0;
    std::uint32_t probe = 0;  // api::Probe.id
    auto operator<=>(const HealthKey&) const = default;
};

using HealthRows = std::map<HealthKey, bool>;  // true: up

enum class ProbeProtocol : std::uint8_t { kTcp, kHttp, kHttps };

struct ProbeSpec {
    ProbeProtocol protocol = ProbeProtocol::kTcp;
    std::uint16_t port = 0;
    std::string path;
    std::chrono::milliseconds interval{15000};
    std::uint32_t threshold = 1;
    bool operator==(const ProbeSpec&) const = default;
};

// `interval`: goes before the probe's own; 0: none.
ProbeSpec spec_of(const api::Probe& probe, std::chrono::milliseconds interval);
// As people read it: tcp:80, http:8080/health.
std::string to_string(const ProbeSpec& spec);

enum class Outcome : std::uint8_t {
    kUp,
    kFailed,  // no answer, or none that one could understand
    kDown,    // a reset, or a status other than 200: down at once, whatever the threshold
};

// Verdict on one backend by one probe. It begins as down, and its first success makes it up,
// however many failures came before; from then on it takes `threshold` answers in a row to change
// it.
class Judge {
  public:
    Judge() = default;
    // As an earlier life left it.
    explicit Judge(bool up) : known_(true), proven_(true), up_(up) {}

    // Whether the verdict has changed.
    bool take(Outcome outcome, std::uint32_t threshold);
    bool up() const { return up_; }
    bool known() const { return known_; }

  private:
    bool known_ = false;
    bool proven_ = false;  // has been up
    bool up_ = false;
    std::uint32_t against_ = 0;  // answers in a row that contradict the verdict
};

// How long whoever probes was not there to do it: busy, or not woken when it wanted to be. What
// was not answered meanwhile says nothing about who was asked.
class Absence {
  public:
    // It waited from `from` on, until `until` at the longest, and went on at `back`.
    void waited(SteadyTime from, SteadyTime until, SteadyTime back);
    // In all, up to `now`.
    std::chrono::nanoseconds total(SteadyTime now) const;

  private:
    std::chrono::nanoseconds total_{0};
    SteadyTime back_{};
};

// Which results of a probe count: not those of one that could not be asked, nor silence while
// whoever probed was absent for more than half an interval; but for three in a row, or a machine
// that never has time for it would never find what is dead.
class Doubt {
  public:
    bool counts(bool asked, bool silent, std::chrono::nanoseconds absent,
                std::chrono::nanoseconds interval);

  private:
    int in_a_row_ = 0;
};

// What is held true of all backends that this node knows.
class Health {
  public:
    enum class State : std::uint8_t { kUp, kDown, kUnplumbed, kUnknown };

    // True: something has changed.
    bool set(const HealthKey& key, bool up);
    // A node whose agent tells verdicts: silence of it means "down".
    bool speaks(std::uint32_t node) { return speaking_.insert(node).second; }
    // Forgets what is about other NICs than those.
    template <typename Known>
    void retain(const Known& known) {
        std::erase_if(rows_, [&](const auto& row) { return !known(row.first); });
    }

    // Of a NIC on `node` by a probe (0: none, then it counts whether it is plumbed). Of a node that
    // never said a word, everything counts as up: it may be older than verdicts.
    State state(std::uint32_t nic, std::uint32_t generation, std::uint32_t pool,
                std::uint32_t probe, std::uint32_t node) const;
    bool is_up(std::uint32_t nic, std::uint32_t generation, std::uint32_t pool, std::uint32_t probe,
               std::uint32_t node) const;
    std::optional<bool> find(const HealthKey& key) const;
    const HealthRows& rows() const { return rows_; }

  private:
    HealthRows rows_;
    std::set<std::uint32_t> speaking_;
};

const char* to_string(Health::State state);

}  // namespace culvert::agent
