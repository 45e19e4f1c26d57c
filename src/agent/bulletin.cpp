// SPDX-License-Identifier: Apache-2.0
#include "agent/bulletin.hpp"

#include "abi/note.h"
#include "base/probe_limits.hpp"

#include <arpa/inet.h>
#include <endian.h>

#include <algorithm>
#include <cstring>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

// Between two tries with a peer that does not answer; it may be down, or older than notes.
constexpr auto kFirstPatience = 20ms;
constexpr auto kLastPatience = 5000ms;
constexpr int kNotesInOneTurn = 32;  // to one peer
// After that many notes of news there is a pause of as many of these: who asks for everything again
// and again costs no more than that.
constexpr auto kNoteApart = 250us;
constexpr auto kAskApart = 1000ms;  // for everything

const HealthRows kNothing;

}  // namespace

struct Bulletin::Head {
    std::uint8_t kind = 0;
    std::uint64_t key = 0;
    std::uint64_t own_key = 0;
    std::uint64_t session = 0;
    std::uint64_t from = 0;
    std::uint64_t to = 0;
};

void Bulletin::hurry(Peer& peer, SteadyTime now) const {
    peer.due = now;
    peer.patience = kFirstPatience;
}

void Bulletin::set_peers(std::span<const std::uint32_t> nodes, SteadyTime now) {
    std::map<std::uint32_t, Peer> next;
    for (const std::uint32_t node : nodes) {
        if (auto held = peers_.extract(node)) {
            next.insert(std::move(held));
            continue;
        }
        Peer& peer = next[node];
        peer.key = draw_() | 1;
        hurry(peer, now);
    }
    peers_ = std::move(next);
}

void Bulletin::post(const HealthRows& rows) {
    std::erase_if(own_, [&](const auto& each) {
        const bool gone = !rows.contains(each.first);
        if (gone) {
            changes_.erase(each.second.version);
        }
        return gone;
    });
    bool changed = false;
    for (const auto& [key, up] : rows) {
        const auto [row, fresh] = own_.try_emplace(key);
        if (!fresh && row->second.up == up) {
            continue;
        }
        changes_.erase(row->second.version);
        row->second = {.up = up, .version = ++version_};
        changes_[version_] = key;
        changed = true;
    }
    if (changed) {
        for (auto& [node, peer] : peers_) {
            hurry(peer, {});
        }
    }
}

Bulletin::Letter Bulletin::write(std::uint32_t node, const Peer& peer, const Head& head,
                                 std::span<const Word> rows) const {
    cv_note_wire wire{};
    wire.version = CV_NOTE_VERSION;
    wire.kind = head.kind;
    wire.rows = htons(static_cast<std::uint16_t>(rows.size()));
    wire.origin = htonl(self_);
    wire.target = htonl(node);
    wire.key = htobe64(head.key);
    wire.own_key = htobe64(peer.key);
    wire.session = htobe64(head.session);
    wire.from = htobe64(head.from);
    wire.to = htobe64(head.to);
    Letter out{.node = node, .note = Note(sizeof(wire) + rows.size() * sizeof(cv_note_row))};
    std::memcpy(out.note.data(), &wire, sizeof(wire));
    std::size_t at = sizeof(wire);
    for (const Word& word : rows) {
        const cv_note_row row{.nic = htonl(word.key.nic),
                              .generation = htonl(word.key.generation),
                              .pool = htonl(word.key.pool),
                              .probe = htonl(word.key.probe),
                              .up = static_cast<std::uint8_t>(word.up ? 1 : 0),
                              .pad = {}};
        std::memcpy(&out.note[at], &row, sizeof(row));
        at += sizeof(row);
    }
    return out;
}

// What the peer has not said to have, in notes that follow on each other.
void Bulletin::write_news(std::uint32_t node, const Peer& peer, std::vector<Letter>& out) const {
    std::uint64_t from = peer.acked;
    auto change = changes_.upper_bound(from);
    for (int notes = 0; notes < kNotesInOneTurn; ++notes) {
        std::vector<Word> rows;
        std::uint64_t to = from;
        for (; change != changes_.end() && rows.size() < CV_NOTE_ROWS; ++change) {
            rows.push_back({.node = 0, .key = change->second, .up = own_.at(change->second).up});
            to = change->first;
        }
        const bool last = change == changes_.end();
        to = last ? version_ : to;
        out.push_back(write(node, peer,
                            {.kind = CV_NOTE_NEWS,
                             .key = peer.yours,
                             .own_key = 0,
                             .session = session_,
                             .from = from,
                             .to = to},
                            rows));
        if (last) {
            return;
        }
        from = to;
    }
}

std::vector<Bulletin::Letter> Bulletin::turn(SteadyTime now) {
    std::vector<Letter> out;
    for (auto& [node, peer] : peers_) {
        if (peer.again && now >= peer.asked + kAskApart) {
            ask_again(peer, now);
        }
        out.insert(out.end(), peer.replies.begin(), peer.replies.end());
        peer.replies.clear();
        const bool due = peer.due <= now;
        const bool known = peer.yours != 0;
        if ((peer.asking && due) || (!known && behind(peer) && due)) {
            out.push_back(write(node, peer,
                                {.kind = CV_NOTE_ASK,
                                 .key = peer.yours,
                                 .own_key = 0,
                                 .session = peer.session,
                                 .from = 0,
                                 .to = peer.held},
                                {}));
        } else if (peer.thank) {
            out.push_back(write(node, peer,
                                {.kind = CV_NOTE_HAVE,
                                 .key = peer.yours,
                                 .own_key = 0,
                                 .session = peer.session,
                                 .from = 0,
                                 .to = peer.held},
                                {}));
        }
        peer.thank = false;
        const bool told = may_tell(peer, now);
        if (told) {
            const std::size_t before = out.size();
            write_news(node, peer, out);
            peer.answer = false;
            peer.rest = now + kNoteApart * (out.size() - before);
        }
        if (due && (peer.asking || (behind(peer) && (told || !known)))) {
            peer.due = now + peer.patience;
            peer.patience = std::min<std::chrono::milliseconds>(2 * peer.patience, kLastPatience);
        }
    }
    counts_.sent += out.size();
    return out;
}

SteadyTime Bulletin::next() const {
    SteadyTime out = SteadyTime::max();
    for (const auto& [node, peer] : peers_) {
        if (peer.thank || !peer.replies.empty()) {
            return {};
        }
        if (peer.asking || (peer.yours == 0 && behind(peer))) {
            out = std::min(out, peer.due);
        }
        if (peer.yours != 0 && (peer.answer || behind(peer))) {
            out = std::min(out, std::max(peer.answer ? SteadyTime{} : peer.due, peer.rest));
        }
        if (peer.again) {
            out = std::min(out, peer.asked + kAskApart);
        }
    }
    return out;
}

bool Bulletin::may_tell(const Peer& peer, SteadyTime now) const {
    return peer.yours != 0 && peer.rest <= now &&
           (peer.answer || (behind(peer) && peer.due <= now));
}

bool Bulletin::is_wanted(std::uint32_t node, const HealthKey& key) const {
    if (!wanted_) {
        return true;
    }
    const auto found = wanted_->find(node);
    return found != wanted_->end() && found->second.contains(key);
}

// Whether the peer may have said something that counts now and was not kept.
bool Bulletin::lacks(std::uint32_t node, const Peer& peer) const {
    const auto found = wanted_->find(node);
    return peer.missed && found != wanted_->end() &&
           !std::ranges::all_of(found->second,
                                [&](const HealthKey& key) { return peer.rows.contains(key); });
}

void Bulletin::set_wanted(Wanted wanted, Stray stray) {
    wanted_ = std::move(wanted);
    stray_ = std::move(stray);
    for (auto& [node, peer] : peers_) {
        const auto idle = [this, of = node](const auto& row) { return !is_wanted(of, row.first); };
        peer.idle = static_cast<std::size_t>(std::ranges::count_if(peer.rows, idle));
        if (peer.idle >= limits::kIdleHealthRows) {
            std::erase_if(peer.rows, idle);
            peer.idle = 0;
            peer.missed = true;
        }
        peer.fresh.clear();
        for (const auto& [key, up] : peer.rows) {
            if (is_wanted(node, key)) {
                peer.fresh.insert(key);
            }
        }
        peer.again = peer.again || lacks(node, peer);
    }
}

// Its rows are the same as ever and come from the first one on.
void Bulletin::ask_again(Peer& peer, SteadyTime now) const {
    peer.again = peer.missed = false;
    peer.asked = now;
    peer.asking = true;
    peer.held = 0;
    hurry(peer, now);
}

void Bulletin::hear(Peer& peer, std::uint32_t node, const HealthKey& key, bool up) {
    const bool wanted = is_wanted(node, key);
    const auto found = peer.rows.find(key);
    if (found != peer.rows.end() && found->second == up) {
        return;
    }
    const bool room = found != peer.rows.end() || wanted || peer.idle < limits::kIdleHealthRows;
    counts_.refused += !room || (!wanted && stray_ && stray_(node, key)) ? 1 : 0;
    if (!room) {
        peer.missed = true;
        return;
    }
    peer.idle += found == peer.rows.end() && !wanted ? 1 : 0;
    peer.rows[key] = up;
    if (wanted) {
        peer.fresh.insert(key);
    }
}

void Bulletin::take_news(Peer& peer, std::uint32_t node, const Head& head,
                         std::span<const std::uint8_t> rows) {
    peer.thank = true;
    if (head.session != peer.session && head.from == 0) {
        peer.session = head.session;
        peer.held = 0;
        // another life says everything anew; what it was believed stays until then
        peer.rows.clear();
        peer.fresh.clear();
        peer.idle = 0;
        peer.missed = peer.again = false;
    }
    if (head.session != peer.session || head.from > peer.held || head.to < peer.held) {
        return;  // something is missing between, or it is old: what is held says so
    }
    for (; rows.size() >= sizeof(cv_note_row); rows = rows.subspan(sizeof(cv_note_row))) {
        cv_note_row row{};
        std::memcpy(&row, rows.data(), sizeof(row));
        hear(peer, node,
             {.nic = ntohl(row.nic),
              .generation = ntohl(row.generation),
              .pool = ntohl(row.pool),
              .probe = ntohl(row.probe)},
             row.up != 0);
    }
    peer.held = head.to;
    peer.asking = false;
}

void Bulletin::take(std::uint32_t node, std::span<const std::uint8_t> note, SteadyTime now) {
    cv_note_wire wire{};
    const auto found = peers_.find(node);
    if (found == peers_.end() || note.size() < sizeof(wire)) {
        ++counts_.refused;
        return;
    }
    Peer& peer = found->second;
    std::memcpy(&wire, note.data(), sizeof(wire));
    const auto rows = note.subspan(sizeof(wire));
    const bool sound = rows.size() == ntohs(wire.rows) * sizeof(cv_note_row) &&
                       ntohl(wire.origin) == node && ntohl(wire.target) == self_ &&
                       wire.kind >= CV_NOTE_NEWS && wire.kind <= CV_NOTE_ASK;
    if (!sound) {
        ++counts_.refused;
        return;
    }
    const Head head{.kind = wire.kind,
                    .key = be64toh(wire.key),
                    .own_key = be64toh(wire.own_key),
                    .session = be64toh(wire.session),
                    .from = be64toh(wire.from),
                    .to = be64toh(wire.to)};
    if (head.key != peer.key) {
        // who is there gets the key told; who only pretends to be there does not see it
        counts_.refused += head.key == 0 ? 0 : 1;
        peer.replies.clear();
        peer.replies.push_back(write(node, peer,
                                     {.kind = CV_NOTE_HAVE,
                                      .key = head.own_key,
                                      .own_key = 0,
                                      .session = peer.session,
                                      .from = 0,
                                      .to = peer.held},
                                     {}));
        return;
    }
    ++counts_.heard;
    if (std::exchange(peer.yours, head.own_key) != head.own_key) {
        hurry(peer, now);
    }
    if (head.kind == CV_NOTE_NEWS) {
        take_news(peer, node, head, rows);
        return;
    }
    const auto before = peer.acked;
    peer.acked = head.session == session_ && head.to <= version_ ? head.to : 0;
    peer.answer = peer.answer || head.kind == CV_NOTE_ASK;
    if (behind(peer) && (head.session != session_ || peer.acked > before)) {
        hurry(peer, now);
    }
}

std::vector<Bulletin::Word> Bulletin::take_words() {
    std::vector<Word> out;
    for (auto& [node, peer] : peers_) {
        for (const HealthKey& key : std::exchange(peer.fresh, {})) {
            out.push_back({.node = node, .key = key, .up = peer.rows.at(key)});
        }
    }
    return out;
}

const HealthRows& Bulletin::rows(std::uint32_t node) const {
    const auto found = peers_.find(node);
    return found == peers_.end() ? kNothing : found->second.rows;
}

bool Bulletin::speaks(std::uint32_t node) const {
    const auto found = peers_.find(node);
    return found != peers_.end() && !found->second.asking;
}

}  // namespace culvert::agent
