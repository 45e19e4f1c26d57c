// SPDX-License-Identifier: Apache-2.0
// How nodes tell each other verdicts (abi/note.h): each keeps its own rows with a version a change,
// and sends every peer what that has not said to have, until it has; a peer that starts asks for
// everything. Notes may get lost, come twice or late. Pure: time and notes in, notes out.
//
// INVARIANT: what a peer says is kept as that peer's word and nobody else's: who may speak of which
// NIC is decided where it is used.
// INVARIANT: nothing that a note says counts unless it repeats the key that its sender was given,
// which is another for each two nodes and each life of the agent.
#pragma once

#include "agent/health.hpp"
#include "base/clock.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace culvert::agent {

struct BulletinCounts {
    std::uint64_t sent = 0;
    std::uint64_t heard = 0;
    // notes that are malformed or without the key; rows of what is not the speaker's, or more of
    // what nobody here knows than is kept
    std::uint64_t refused = 0;
};

class Bulletin {
  public:
    using Note = std::vector<std::uint8_t>;
    struct Letter {
        std::uint32_t node = 0;
        Note note;
    };
    struct Word {  // of a peer
        std::uint32_t node = 0;
        HealthKey key;
        bool up = false;
        bool operator==(const Word&) const = default;
    };
    using Draw = std::function<std::uint64_t()>;                  // random numbers
    using Wanted = std::map<std::uint32_t, std::set<HealthKey>>;  // by peer
    using Stray = std::function<bool(std::uint32_t node, const HealthKey& key)>;

    // `session`: another one with each life.
    Bulletin(std::uint64_t session, Draw draw) : session_(session), draw_(std::move(draw)) {}

    void set_self(std::uint32_t node) { self_ = node; }
    // From now on these are told and heard; new ones are asked at once.
    void set_peers(std::span<const std::uint32_t> nodes, SteadyTime now);
    // What each peer is believed about, from now on; nothing called yet: about everything. Of other
    // rows some are kept, since the intent that tells what they are may be on its way; who told
    // more is asked again when something is missing. `stray`: whether it is known that a row is not
    // the speaker's.
    void set_wanted(Wanted wanted, Stray stray);
    // This node's own rows, all of them; what has changed goes out with the next turn.
    void post(const HealthRows& rows);

    // A note whose sender the data plane has checked.
    void take(std::uint32_t node, std::span<const std::uint8_t> note, SteadyTime now);
    // What is to be sent now.
    std::vector<Letter> turn(SteadyTime now);
    // When to turn again, if nothing happens before.
    SteadyTime next() const;

    // What peers are believed about and has changed since the last call, each once; after
    // set_wanted() all of it.
    std::vector<Word> take_words();
    // Everything that a peer holds true.
    const HealthRows& rows(std::uint32_t node) const;
    bool speaks(std::uint32_t node) const;
    const BulletinCounts& counts() const { return counts_; }

  private:
    struct Own {
        bool up = false;
        std::uint64_t version = 0;
    };
    struct Peer {
        std::uint64_t key = 0;      // that it is given
        std::uint64_t yours = 0;    // that it gave; 0: not known yet
        std::uint64_t acked = 0;    // of the own rows
        std::uint64_t session = 0;  // of its rows, and how far they are held
        std::uint64_t held = 0;
        bool asking = true;   // until it has spoken
        bool answer = false;  // it asked
        bool thank = false;   // it has spoken: say what is held
        std::vector<Letter> replies;
        HealthRows rows;
        std::set<HealthKey> fresh;  // rows that have changed
        std::size_t idle = 0;       // rows that it is not believed about
        bool missed = false;        // some were not kept
        bool again = false;         // to be asked for everything
        SteadyTime asked{};         // when it was, last
        SteadyTime rest{};          // no news to it before that
        SteadyTime due{};           // unless it has answered before
        std::chrono::milliseconds patience{0};
    };
    struct Head;  // of a note

    bool behind(const Peer& peer) const { return peer.acked < version_; }
    bool is_wanted(std::uint32_t node, const HealthKey& key) const;
    bool lacks(std::uint32_t node, const Peer& peer) const;
    void hear(Peer& peer, std::uint32_t node, const HealthKey& key, bool up);
    void ask_again(Peer& peer, SteadyTime now) const;
    bool may_tell(const Peer& peer, SteadyTime now) const;
    Letter write(std::uint32_t node, const Peer& peer, const Head& head,
                 std::span<const Word> rows) const;
    void write_news(std::uint32_t node, const Peer& peer, std::vector<Letter>& out) const;
    void take_news(Peer& peer, std::uint32_t node, const Head& head,
                   std::span<const std::uint8_t> rows);
    void hurry(Peer& peer, SteadyTime now) const;

    const std::uint64_t session_;
    const Draw draw_;
    std::uint32_t self_ = 0;
    std::uint64_t version_ = 0;
    std::map<HealthKey, Own> own_;
    std::map<std::uint64_t, HealthKey> changes_;  // by version: the newest of each row
    std::map<std::uint32_t, Peer> peers_;
    std::optional<Wanted> wanted_;
    Stray stray_;
    BulletinCounts counts_;
};

}  // namespace culvert::agent
