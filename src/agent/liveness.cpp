// SPDX-License-Identifier: Apache-2.0
#include "agent/liveness.hpp"

#include "base/limits.hpp"

#include <algorithm>
#include <ranges>

namespace culvert::agent {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

constexpr std::uint32_t kSuspectPace = 4;     // questions an interval
constexpr std::uint32_t kRelays = 2;          // asked for each question to a suspect (SWIM's k)
constexpr std::uint32_t kRelayLoad = 4;       // questions one relay gets in one turn
constexpr std::uint32_t kLostRelayPace = 10;  // of the questions to a lost peer one goes by relays
constexpr std::uint32_t kMostRelapses = 6;
constexpr auto kRelapse = 60s;  // lost again within: it must answer twice as long to come back
constexpr auto kRelayFresh = 3s;
constexpr std::size_t kMostAsked = 64;
constexpr double kLossWeight = 1.0 / 64;
constexpr int kRttWeight = 8;

// The state of a peer that nothing is held against.
PeerState at_rest(const PeerView& view) {
    return view.heard == SteadyTime{} ? PeerState::kNew : PeerState::kAlive;
}

}  // namespace

const char* to_string(PeerState state) {
    switch (state) {
        case PeerState::kNew: return "new";
        case PeerState::kAlive: return "alive";
        case PeerState::kSuspect: return "suspect";
        case PeerState::kLost: return "lost";
    }
    return "";
}

const char* to_string(Fault fault) {
    switch (fault) {
        case Fault::kNone: return "";
        case Fault::kNode: return "node";
        case Fault::kPath: return "path";
    }
    return "";
}

nanoseconds Liveness::interval() const {
    const nanoseconds least = nanoseconds(1s) * peers_.size() / limits::kEchoesPerSecond;
    return std::max<nanoseconds>(times_.interval, least);
}

void Liveness::remember(const Verdicts& verdicts, SteadyTime now) {
    isolated_ = verdicts.isolated;
    isolated_at_ = now;
    for (const Verdict& verdict : verdicts.peers) {
        remembered_[verdict.node] = verdict;
    }
}

Verdicts Liveness::verdicts() const {
    Verdicts out{.isolated = isolated_, .peers = {}};
    for (const auto& [node, peer] : peers_) {
        const bool lost = peer.view.state == PeerState::kLost;
        if (lost || peer.view.fenced) {
            out.peers.push_back({.node = node,
                                 .lost = lost,
                                 .gone = peer.view.gone,
                                 .fenced = peer.view.fenced,
                                 .since = lost ? peer.view.since : SteadyTime{}});
        }
    }
    return out;
}

// It has to answer as often as any lost peer to come back.
void Liveness::take_up(Peer& peer, const Verdict& verdict) {
    peer.view.fenced = verdict.fenced;
    if (!verdict.lost) {
        return;
    }
    peer.view.state = PeerState::kLost;
    peer.view.fault = Fault::kNode;
    peer.view.gone = verdict.gone;
    peer.view.since = std::min(verdict.since, peer.view.since);
    peer.needed = std::max(times_.misses, 1u);
}

void Liveness::set_peers(std::span<const std::uint32_t> nodes, SteadyTime now, const Hear& hear) {
    std::map<std::uint32_t, Peer> kept;
    std::vector<std::uint32_t> fresh;
    for (const std::uint32_t node : nodes) {
        if (auto at = peers_.extract(node)) {
            kept.insert(std::move(at));
        } else {
            fresh.push_back(node);
        }
    }
    peers_ = std::move(kept);
    for (std::size_t at = 0; at < fresh.size(); ++at) {
        Peer& peer = peers_[fresh[at]];
        peer.view.node = fresh[at];
        peer.view.since = now;
        // sequences go on where an earlier agent ended
        const auto heard = hear(fresh[at]);
        peer.heard = heard.sequence;
        const bool relay_newer =
            static_cast<std::int32_t>(heard.relay_sequence - heard.sequence) > 0;
        peer.sequence = relay_newer ? heard.relay_sequence : heard.sequence;
        peer.answers = heard.answers;
        peer.next = now + interval() * at / fresh.size();
        // the first answer may take as long as a far peer needs
        peer.judged_from = peer.next + interval() * times_.misses;
        if (const auto known = remembered_.find(fresh[at]); known != remembered_.end()) {
            take_up(peer, known->second);
        }
    }
    if (!peers_.empty()) {
        remembered_.clear();
    }
}

void Liveness::count_loss(Peer& peer, bool lost) {
    peer.view.loss += ((lost ? 1.0 : 0.0) - peer.view.loss) * kLossWeight;
}

void Liveness::absorb(Peer& peer, const datapath::Heard& heard) {
    peer.relayed = std::max(peer.relayed, heard.relayed_at);
    if (heard.sequence == peer.heard) {
        return;
    }
    const std::uint64_t answers = heard.answers - peer.answers;
    peer.heard = heard.sequence;
    peer.answers = heard.answers;
    peer.view.heard = heard.at;
    peer.view.fenced = heard.fenced;
    std::uint64_t closed = 0;
    while (!peer.asked.empty() &&
           static_cast<std::int32_t>(peer.asked.front().sequence - heard.sequence) <= 0) {
        const Asked asked = peer.asked.front();
        peer.asked.pop_front();
        ++closed;
        if (asked.sequence == heard.sequence && heard.at >= asked.at) {
            const nanoseconds rtt = heard.at - asked.at;
            nanoseconds& mean = peer.view.rtt;
            mean = mean.count() == 0 ? rtt : mean + (rtt - mean) / kRttWeight;
        }
    }
    // which of them were lost is not known, only how many; the newest was not
    for (std::uint64_t at = 0; at < closed; ++at) {
        const bool lost = at + answers < closed;
        count_loss(peer, lost);
        peer.good = lost ? 0 : peer.good + 1;
    }
}

// How long an answer may take before its question counts as missed.
nanoseconds Liveness::patience(const Peer& peer) const {
    const nanoseconds half = interval() / 2;
    return std::clamp(2 * peer.view.rtt, half, interval() * times_.misses);
}

std::size_t Liveness::overdue(const Peer& peer, SteadyTime now) const {
    const SteadyTime due = now - patience(peer);
    return static_cast<std::size_t>(
        std::ranges::count_if(peer.asked, [&](const Asked& asked) { return asked.at <= due; }));
}

bool Liveness::is_silent(const Peer& peer, SteadyTime now) const {
    const SteadyTime last = std::max(peer.view.heard, peer.judged_from);
    return overdue(peer, now) >= times_.misses && now - last >= interval() * times_.misses;
}

void Liveness::enter(Peer& peer, PeerState state, SteadyTime now) {
    if (peer.view.state != state) {
        peer.view.state = state;
        peer.view.since = now;
    }
}

// Another peer has answered since this one stopped to.
bool Liveness::has_witness(const Peer& peer) const {
    const SteadyTime missed = peer.asked.empty() ? peer.judged_from : peer.asked.front().at;
    return std::ranges::any_of(peers_ | std::views::values, [&](const Peer& other) {
        return &other != &peer && other.view.heard > missed;
    });
}

void Liveness::lose(Peer& peer, SteadyTime now) {
    const bool relapse = peer.view.losses > 0 && now - peer.back < kRelapse;
    peer.relapses = relapse ? std::min(peer.relapses + 1, kMostRelapses) : 0;
    peer.needed = std::max(times_.misses, 1u) << peer.relapses;
    peer.good = 0;
    peer.turns = 0;
    const SteadyTime missed = peer.asked.empty() ? now : peer.asked.front().at;
    peer.view.fault = peer.relayed > missed ? Fault::kPath : Fault::kNode;
    ++peer.view.losses;
    enter(peer, PeerState::kLost, now);
}

// A lost peer: has it answered often enough? True when something has changed.
bool Liveness::lead_back(Peer& peer, SteadyTime now) {
    if (peer.good >= peer.needed) {
        peer.view.fault = Fault::kNone;
        peer.view.gone = false;
        peer.judged_from = peer.back = now;
        enter(peer, PeerState::kAlive, now);
        return true;
    }
    if (now - peer.view.heard > interval() * times_.misses) {
        peer.view.fault = now - peer.relayed < kRelayFresh ? Fault::kPath : Fault::kNode;
    }
    if (!peer.view.gone && times_.reset_after.count() != 0 && !isolated_ &&
        now - peer.view.since >= times_.reset_after) {
        peer.view.gone = true;
        return true;
    }
    return false;
}

// When silence would change the peer's state.
SteadyTime Liveness::next_judgement(const Peer& peer) const {
    if (peer.asked.empty() || peer.view.state == PeerState::kLost) {
        return {};
    }
    return peer.view.state == PeerState::kSuspect
               ? std::max(peer.view.heard, peer.judged_from) + interval() * times_.misses
               : peer.asked.front().at + patience(peer);
}

// True when something has changed.
bool Liveness::judge(Peer& peer, SteadyTime now, const Around& around) {
    if (peer.view.state == PeerState::kLost) {
        return lead_back(peer, now);
    }
    const std::size_t missed = overdue(peer, now);
    if (missed == 0) {
        enter(peer, at_rest(peer.view), now);
        return false;
    }
    if (peer.view.state != PeerState::kSuspect) {
        enter(peer, PeerState::kSuspect, now);
        peer.next = std::min(peer.next, now);
    }
    if (isolated_ || !is_silent(peer, now)) {
        return false;
    }
    const auto fell = std::ranges::count_if(peers_ | std::views::values, [](const Peer& each) {
        return each.view.state != PeerState::kLost;
    });
    if (!has_witness(peer) && (fell > 1 || !around.control)) {
        isolated_ = true;
        isolated_at_ = now;
        return true;
    }
    lose(peer, now);
    return true;
}

// True when isolation has begun or ended.
bool Liveness::judge_isolation(SteadyTime now, const Around& around) {
    if (!around.carrier && !peers_.empty()) {
        isolated_at_ = now;
        return !std::exchange(isolated_, true);
    }
    const bool heard = std::ranges::any_of(peers_ | std::views::values, [&](const Peer& peer) {
        return peer.view.heard > isolated_at_;
    });
    if (!isolated_ || !(heard || peers_.empty())) {
        return false;
    }
    isolated_ = false;
    for (Peer& peer : peers_ | std::views::values) {
        peer.judged_from = now;
        if (peer.view.state != PeerState::kLost) {
            peer.asked.clear();
            enter(peer, at_rest(peer.view), now);
        }
    }
    return true;
}

// Questions that will not be answered any more.
void Liveness::forget_old(Peer& peer, SteadyTime now) {
    const SteadyTime old = now - 2 * interval() * times_.misses;
    const bool settled = peer.view.state == PeerState::kLost || isolated_;
    while (!peer.asked.empty() &&
           (peer.asked.size() > kMostAsked || (settled && peer.asked.front().at < old))) {
        peer.asked.pop_front();
        count_loss(peer, true);
        peer.good = 0;
    }
}

void Liveness::ask_relays(const Peer& peer, Turn& turn) {
    std::uint32_t asked = 0;
    const auto count = static_cast<std::uint32_t>(peers_.size());
    auto at = peers_.upper_bound(relay_turn_);
    for (std::uint32_t step = 0; step < count && asked < kRelays; ++step, ++at) {
        if (at == peers_.end()) {
            at = peers_.begin();
        }
        const std::uint32_t relay = at->first;
        if (&at->second == &peer || at->second.view.state != PeerState::kAlive ||
            relay_load_[relay] >= kRelayLoad) {
            continue;
        }
        ++relay_load_[relay];
        ++asked;
        relay_turn_ = relay;
        turn.questions.push_back(
            {.target = peer.view.node, .relay = relay, .sequence = peer.sequence});
    }
}

void Liveness::ask(Peer& peer, SteadyTime now, Turn& turn) {
    const bool suspect = peer.view.state == PeerState::kSuspect && !isolated_;
    const nanoseconds pace = suspect ? interval() / kSuspectPace : interval();
    // on the beat, unless this machine has slept
    peer.next = peer.next + pace > now ? peer.next + pace : now + pace;
    ++peer.sequence;
    peer.asked.push_back({.sequence = peer.sequence, .at = now});
    turn.questions.push_back({.target = peer.view.node, .relay = 0, .sequence = peer.sequence});
    const bool lost = peer.view.state == PeerState::kLost;
    if (suspect || (lost && peer.turns++ % kLostRelayPace == 0)) {
        ask_relays(peer, turn);
    }
}

Liveness::Turn Liveness::turn(SteadyTime now, const Hear& hear, const Around& around) {
    Turn out{.questions = {}, .changed = false, .next = now + interval()};
    for (auto& [node, peer] : peers_) {
        const bool fenced = peer.view.fenced;
        absorb(peer, hear(node));
        out.changed = out.changed || peer.view.fenced != fenced;
    }
    out.changed = judge_isolation(now, around) || out.changed;
    for (Peer& peer : peers_ | std::views::values) {
        out.changed = judge(peer, now, around) || out.changed;
        forget_old(peer, now);
    }
    relay_load_.clear();
    for (Peer& peer : peers_ | std::views::values) {
        if (peer.next <= now) {
            ask(peer, now, out);
        }
        out.next = std::min(out.next, peer.next);
        const SteadyTime judgement = next_judgement(peer);
        if (judgement > now) {
            out.next = std::min(out.next, judgement);
        }
    }
    return out;
}

void Liveness::unsent(const Question& question) {
    const auto found = peers_.find(question.target);
    if (found == peers_.end() || question.relay != 0) {
        return;
    }
    std::erase_if(found->second.asked,
                  [&](const Asked& asked) { return asked.sequence == question.sequence; });
}

std::vector<PeerView> Liveness::peers() const {
    std::vector<PeerView> out;
    out.reserve(peers_.size());
    for (const auto& [node, peer] : peers_) {
        out.push_back(peer.view);
    }
    return out;
}

}  // namespace culvert::agent
