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
void Bulletin::write_news(std::uint32_t node, Peer& peer, std::vector<Letter>& out) const {
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
        if (known && (peer.answer || (behind(peer) && due))) {
            write_news(node, peer, out);
            peer.answer = false;
        }
        if (due && (peer.asking || behind(peer))) {
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
        if (peer.answer || peer.thank || !peer.replies.empty()) {
            return {};
        }
        if (peer.asking || behind(peer)) {
            out = std::min(out, peer.due);
        }
    }
    return out;
}

void Bulletin::take_news(Peer& peer, std::uint32_t node, const Head& head,
                         std::span<const std::uint8_t> rows) {
    peer.thank = true;
    if (head.session != peer.session && head.from == 0) {
        peer.session = head.session;
        peer.held = 0;
    }
    if (head.session != peer.session || head.from > peer.held || head.to < peer.held) {
        return;  // something is missing between, or it is old: what is held says so
    }
    for (; rows.size() >= sizeof(cv_note_row); rows = rows.subspan(sizeof(cv_note_row))) {
        cv_note_row row{};
        std::memcpy(&row, rows.data(), sizeof(row));
        const HealthKey key{.nic = ntohl(row.nic),
                            .generation = ntohl(row.generation),
                            .pool = ntohl(row.pool),
                            .probe = ntohl(row.probe)};
        const bool up = row.up != 0;
        if (!peer.rows.contains(key) && peer.rows.size() >= limits::kHealthRows) {
            ++counts_.refused;
            continue;
        }
        peer.rows[key] = up;
        words_.push_back({.node = node, .key = key, .up = up});
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

std::vector<Bulletin::Word> Bulletin::take_words() { return std::exchange(words_, {}); }

const HealthRows& Bulletin::rows(std::uint32_t node) const {
    const auto found = peers_.find(node);
    return found == peers_.end() ? kNothing : found->second.rows;
}

bool Bulletin::speaks(std::uint32_t node) const {
    const auto found = peers_.find(node);
    return found != peers_.end() && !found->second.asking;
}

}  // namespace culvert::agent
