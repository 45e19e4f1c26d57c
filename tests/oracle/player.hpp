// SPDX-License-Identifier: Apache-2.0
// Plays steps on two nodes, in the data plane (BPF_PROG_TEST_RUN) and in the oracle, and compares
// every verdict and every byte.
#pragma once

#include "tests/oracle/oracle.hpp"
#include "tests/packet/world.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace culvert::oracle {

// One thing that happens. The numbers choose among what there is when it happens, so that a step
// means something whichever steps before it are left out.
struct Step {
    enum class What : std::uint8_t {
        kSegment,    // a consumer's TCP segment
        kDatagram,   // UDP
        kFragment,   // a first or a later one
        kPing,       // or another packet that opens nothing
        kOdd,        // to odd addresses, with odd sources
        kAnswer,     // a backend's, to what it has been sent
        kError,      // ICMP about a packet that was received
        kNeighbour,  // inside a VNet
        kArrive,     // a frame on the backbone reaches its node
        kRepeat,     // and does so again later
        kLose,
        kForge,  // it was changed on the way
        kLink,   // a link is approved, refused, approved anew
        kPool,   // other backends
        kRule,
        kNic,   // a NIC's index is given to another
        kNode,  // a node takes no connections
        kNat,   // other NAT addresses
    };
    What what;
    std::array<std::uint32_t, 4> dice;
};
std::string text(const Step& step);

std::vector<Step> random_steps(std::mt19937_64& random, std::size_t count);

// Where data plane and oracle part: after how many steps, and how.
struct Divergence {
    std::size_t step = 0;
    std::string message;
};

struct Tally {
    std::uint64_t packets = 0, delivered = 0, sent = 0, answered = 0, dropped = 0;
    std::map<std::string, std::uint64_t> reasons;  // of drops
};

class Player {
  public:
    // `plant` spoils what the data plane, not the oracle, is told.
    using Plant = std::function<void(packet::World&)>;
    explicit Player(Plant plant = {});

    // From the beginning. Steps that take too long for flows not to age are played again.
    std::optional<Divergence> play(const std::vector<Step>& steps);
    // The fewest of `steps` that are found that still part the two.
    std::vector<Step> shrink(std::vector<Step> steps);
    const Tally& tally() const { return tally_; }

  private:
    void begin();
    void tell(std::size_t node);
    void tell_pools(std::size_t node);
    std::optional<Divergence> play_once(const std::vector<Step>& steps);
    void take(const Step& step);
    void workload(std::uint32_t nic, const Frame& frame);
    void arrive(const Wire& wire);
    void settle(const Fate& fate, const packet::Outcome& outcome, const std::string& counted,
                const std::string& doing);
    void fragment(const Step& step);
    void odd(const Step& step);
    void answer(const Step& step);
    void error(const Step& step);
    void neighbour(const Step& step);
    void travel(const Step& step);
    Wire forged(Wire wire, const Step& step) const;
    void change(const Step& step);
    void change(Intent& intent, std::size_t node, const Step& step) const;
    // An answer that a backend might give now.
    std::optional<std::pair<std::uint32_t, Tuple>> some_answer(std::uint32_t dice) const;
    const Nic& nic(std::uint32_t index) const { return intents_[0].nics.at(index); }

    Plant plant_;
    std::array<Intent, 2> intents_;
    std::array<std::unique_ptr<packet::World>, 2> worlds_;
    std::vector<Node> nodes_;
    std::deque<Wire> air_;
    std::deque<std::pair<std::uint32_t, Frame>> received_;
    std::string failure_;
    Tally tally_;
};

}  // namespace culvert::oracle
