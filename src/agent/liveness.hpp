// SPDX-License-Identifier: Apache-2.0
// Which peers can be reached: a value that turns of time and answers change (docs/decisions/0008).
// Each peer is asked once an interval; a question unanswered for half of it makes the peer suspect,
// and it is asked four times as often, also through relays. Nothing heard for `misses` intervals
// and as many questions unanswered: lost. A question that this machine never sent, or slept over,
// counts for nothing. Pure: no sockets, threads or clocks.
//
// INVARIANT: a peer is lost only while another one answers, or when it is the only one that fell
// silent and control plane and carrier are there; else this node is isolated, and nobody is lost
// by that.
#pragma once

#include "base/clock.hpp"
#include "datapath/echoes.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <vector>

namespace culvert::agent {

struct LivenessTimes {
    std::chrono::milliseconds interval{100};  // 0: no liveness
    std::uint32_t misses = 3;
    std::chrono::seconds reset_after{60};  // lost for so long: connections are reset; 0: never
    bool operator==(const LivenessTimes&) const = default;
};

enum class PeerState : std::uint8_t { kNew, kAlive, kSuspect, kLost };
// Of a lost peer: whether others reach it.
enum class Fault : std::uint8_t { kNone, kNode, kPath };

struct PeerView {
    std::uint32_t node = 0;
    PeerState state = PeerState::kNew;
    Fault fault = Fault::kNone;
    bool gone = false;    // lost for reset_after
    bool fenced = false;  // it answers, and wants no new connections yet
    std::chrono::nanoseconds rtt{0};
    double loss = 0;           // 0 to 1, of about the last hundred questions
    SteadyTime heard{};        // its newest answer; zero: none yet
    SteadyTime since{};        // in this state
    std::uint64_t losses = 0;  // how often it was lost
    bool operator==(const PeerView&) const = default;
};

// A peer that is lost or fenced.
struct Verdict {
    std::uint32_t node = 0;
    bool lost = false;
    bool gone = false;
    bool fenced = false;
    SteadyTime since{};  // lost
    bool operator==(const Verdict&) const = default;
};

// What is to outlive the agent, so that its next life goes on from there.
struct Verdicts {
    bool isolated = false;
    std::vector<Verdict> peers;  // ascending by index
    bool operator==(const Verdicts&) const = default;
};

class Liveness {
  public:
    struct Question {
        std::uint32_t target = 0;
        std::uint32_t relay = 0;  // 0: straight
        std::uint32_t sequence = 0;
    };
    // What else a turn must know.
    struct Around {
        bool carrier = true;  // of the backbone interface
        bool control = true;  // the control plane is there
    };
    struct Turn {
        std::vector<Question> questions;
        bool changed = false;  // a peer got lost, gone, fenced or came back, or isolation changed
        SteadyTime next{};     // when to turn again
    };
    using Hear = std::function<datapath::Heard(std::uint32_t node)>;

    explicit Liveness(const LivenessTimes& times) : times_(times) {}

    // What an earlier life knew of the peers to come; before the first set_peers().
    void remember(const Verdicts& verdicts, SteadyTime now);
    Verdicts verdicts() const;
    // The peers from here on. New ones are asked spread over the interval.
    void set_peers(std::span<const std::uint32_t> nodes, SteadyTime now, const Hear& hear);
    Turn turn(SteadyTime now, const Hear& hear, const Around& around);
    // The question did not leave this machine.
    void unsent(const Question& question);

    // The data plane hears nobody: nothing is said about peers until one answers.
    bool isolated() const { return isolated_; }
    std::vector<PeerView> peers() const;
    // Between two questions to one peer: longer than asked for where there are very many peers.
    std::chrono::nanoseconds interval() const;

  private:
    struct Asked {
        std::uint32_t sequence = 0;
        SteadyTime at{};
    };
    struct Peer {
        PeerView view;
        SteadyTime judged_from{};    // silence before is not held against it
        SteadyTime next{};           // question
        std::deque<Asked> asked;     // and not answered, ascending
        std::uint32_t sequence = 0;  // of the newest question
        std::uint32_t heard = 0;     // of the newest answer
        std::uint64_t answers = 0;
        SteadyTime relayed{};      // its newest answer through a relay
        std::uint32_t turns = 0;   // questions while lost
        std::uint32_t good = 0;    // answers in a row while lost
        std::uint32_t needed = 0;  // of them to come back
        std::uint32_t relapses = 0;
        SteadyTime back{};  // when it came back last
    };

    void take_up(Peer& peer, const Verdict& verdict);
    void absorb(Peer& peer, const datapath::Heard& heard);
    void count_loss(Peer& peer, bool lost);
    void forget_old(Peer& peer, SteadyTime now);
    std::size_t overdue(const Peer& peer, SteadyTime now) const;
    std::chrono::nanoseconds patience(const Peer& peer) const;
    bool is_silent(const Peer& peer, SteadyTime now) const;
    bool judge_isolation(SteadyTime now, const Around& around);
    bool judge(Peer& peer, SteadyTime now, const Around& around);
    SteadyTime next_judgement(const Peer& peer) const;
    bool has_witness(const Peer& peer) const;
    void lose(Peer& peer, SteadyTime now);
    bool lead_back(Peer& peer, SteadyTime now);
    void enter(Peer& peer, PeerState state, SteadyTime now);
    void ask(Peer& peer, SteadyTime now, Turn& turn);
    void ask_relays(const Peer& peer, Turn& turn);

    const LivenessTimes times_;
    std::map<std::uint32_t, Peer> peers_;
    std::map<std::uint32_t, Verdict> remembered_;  // until there are peers
    bool isolated_ = false;
    SteadyTime isolated_at_{};
    std::uint32_t relay_turn_ = 0;
    std::map<std::uint32_t, std::uint32_t> relay_load_;  // questions through it in this turn
};

const char* to_string(PeerState state);
const char* to_string(Fault fault);

}  // namespace culvert::agent
