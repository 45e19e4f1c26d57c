// SPDX-License-Identifier: Apache-2.0
// What may happen, and how a step's numbers choose.
#include "tests/oracle/player.hpp"
#include "tests/oracle/scene.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::oracle {
namespace {

using What = Step::What;
using packet::ip;

constexpr std::size_t kAirMost = 32;

// How often each happens, of all that do.
constexpr std::pair<What, std::uint32_t> kWeights[] = {
    {What::kSegment, 300}, {What::kDatagram, 110}, {What::kFragment, 90}, {What::kPing, 25},
    {What::kOdd, 50},      {What::kAnswer, 220},   {What::kError, 50},    {What::kNeighbour, 40},
    {What::kArrive, 60},   {What::kRepeat, 15},    {What::kLose, 10},     {What::kForge, 30},
    {What::kLink, 10},     {What::kPool, 4},       {What::kRule, 5},      {What::kNic, 4},
    {What::kNode, 6},      {What::kNat, 4}};

template <std::size_t N, typename T>
const T& pick(const T (&among)[N], std::uint32_t dice) {
    return among[dice % N];
}

const char* name(What what) {
    switch (what) {
        case What::kSegment: return "segment";
        case What::kDatagram: return "datagram";
        case What::kFragment: return "fragment";
        case What::kPing: return "ping";
        case What::kOdd: return "odd";
        case What::kAnswer: return "answer";
        case What::kError: return "error";
        case What::kNeighbour: return "neighbour";
        case What::kArrive: return "arrive";
        case What::kRepeat: return "repeat";
        case What::kLose: return "lose";
        case What::kForge: return "forge";
        case What::kLink: return "link";
        case What::kPool: return "pool";
        case What::kRule: return "rule";
        case What::kNic: return "nic";
        case What::kNode: return "node";
        case What::kNat: return "nat";
    }
    return "?";
}

struct Consumer {
    std::uint32_t nic, link;
};
constexpr Consumer kConsumers[] = {
    {kFirst, kFirstLink}, {kSecond, kSecondLink}, {kNeighbour, kFirstLink}, {kBackendA, kOwnLink}};
constexpr std::uint16_t kTcpPorts[] = {443, 443, 80, 22, 99};
constexpr std::uint16_t kUdpPorts[] = {53, 53, 443, 99};
constexpr std::uint8_t kFlags[] = {kSyn, kSyn, kAck,        kAck,        kAck | 8, kFin | kAck,
                                   kRst, 0,    kSyn | kAck, kRst | kAck, kFin,     kSyn | kFin};

std::uint16_t client_port(std::uint32_t dice) {
    return static_cast<std::uint16_t>(40000 + dice % 4);
}
// Of payload: one in sixteen is larger than what fits the backbone.
std::uint16_t size(std::uint32_t dice) {
    return static_cast<std::uint16_t>(dice % 16 == 0 ? 1440 : dice / 16 % 120);
}

}  // namespace

std::string text(const Step& step) {
    return fmt::format("{{What::{}, {{{}u, {}u, {}u, {}u}}}}", name(step.what), step.dice[0],
                       step.dice[1], step.dice[2], step.dice[3]);
}

std::vector<Step> random_steps(std::mt19937_64& random, std::size_t count) {
    std::uint32_t all = 0;
    for (const auto& [what, weight] : kWeights) {
        all += weight;
    }
    std::vector<Step> steps(count);
    for (Step& step : steps) {
        std::uint32_t at = static_cast<std::uint32_t>(random()) % all;
        for (const auto& [what, weight] : kWeights) {
            if (at < weight) {
                step.what = what;
                break;
            }
            at -= weight;
        }
        for (auto& dice : step.dice) {
            dice = static_cast<std::uint32_t>(random());
        }
    }
    return steps;
}

void Player::take(const Step& step) {
    const auto& dice = step.dice;
    const std::size_t before = air_.size();
    const Consumer& from = pick(kConsumers, dice[0]);
    Frame frame;
    frame.at = {nic(from.nic).address, endpoint_of(from.link), client_port(dice[1]), 0, kTcp};
    frame.bytes = size(dice[3]);
    switch (step.what) {
        case What::kSegment:
            frame.at.dport = pick(kTcpPorts, dice[1] / 4);
            frame.flags = pick(kFlags, dice[2]);
            workload(from.nic, frame);
            break;
        case What::kDatagram:
            frame.at.protocol = kUdp;
            frame.at.dport = pick(kUdpPorts, dice[1] / 4);
            frame.checksum = dice[2] % 4 != 0;
            workload(from.nic, frame);
            break;
        case What::kPing:
            frame.at.protocol = kIcmp;
            frame.type = dice[1] % 4 ? kEcho : kEchoReply;
            frame.rest = dice[2];
            frame.bytes = 56;
            workload(from.nic, frame);
            break;
        case What::kFragment: fragment(step); break;
        case What::kOdd: odd(step); break;
        case What::kAnswer: answer(step); break;
        case What::kError: error(step); break;
        case What::kNeighbour: neighbour(step); break;
        case What::kArrive:
        case What::kRepeat:
        case What::kLose:
        case What::kForge: travel(step); return;
        default: change(step); return;
    }
    // most frames on the backbone arrive before anything else happens
    if (failure_.empty() && air_.size() > before && dice[3] / 4096 % 4 != 0) {
        const Wire wire = air_.back();
        air_.pop_back();
        arrive(wire);
    }
}

void Player::fragment(const Step& step) {
    const auto& dice = step.dice;
    const Consumer& from = pick(kConsumers, dice[0]);
    std::uint32_t sender = from.nic;
    Frame frame;
    const bool tcp = dice[1] % 4 == 0;
    frame.at = {nic(sender).address, endpoint_of(from.link), client_port(dice[1] / 8),
                static_cast<std::uint16_t>(tcp ? 443 : 53), tcp ? kTcp : kUdp};
    if (dice[2] % 3 == 0) {
        if (const auto reply = some_answer(dice[0])) {
            sender = reply->first;
            frame.at = reply->second;
        }
    }
    frame.flags = dice[3] % 4 == 0 ? kSyn : kAck;
    frame.bytes = 32;
    frame.id = static_cast<std::uint16_t>(1 + dice[2] / 64 % 20);
    frame.fragment = kMoreFragments;
    if (dice[2] / 4 % 2) {
        constexpr std::uint16_t kOffsets[] = {5, 5, 9, 1};
        frame.fragment = pick(kOffsets, dice[3] / 64);
    }
    workload(sender, frame);
}

void Player::odd(const Step& step) {
    const auto& dice = step.dice;
    const std::uint32_t sender = 1 + dice[0] % (kNicEnd - 1);
    const std::uint32_t targets[] = {ip("10.0.1.5"), ip("10.0.1.9"),   ip("10.0.1.77"),
                                     ip("10.0.0.7"), ip("10.0.1.200"), ip("10.0.0.99")};
    Frame frame;
    frame.at = {nic(sender).address, pick(targets, dice[1]), client_port(dice[2]), 443, kTcp};
    frame.flags = kSyn;
    switch (dice[3] % 6) {
        case 0: frame.at.source = ip("10.0.0.66"); break;
        case 1: frame.at.protocol = kSctp; break;
        case 2: frame.at.protocol = kGre; break;
        case 3: frame.options = 4; break;
        case 4: frame.at.protocol = kUdp; break;
        default: break;
    }
    workload(sender, frame);
}

std::optional<std::pair<std::uint32_t, Tuple>> Player::some_answer(std::uint32_t dice) const {
    auto all = nodes_[0].answers();
    const auto more = nodes_[1].answers();
    all.insert(all.end(), more.begin(), more.end());
    if (all.empty()) {
        return {};
    }
    return all[dice % all.size()];
}

void Player::answer(const Step& step) {
    const auto& dice = step.dice;
    const auto reply = some_answer(dice[0]);
    if (!reply) {
        return;
    }
    Frame frame;
    frame.at = reply->second;
    if (dice[1] % 32 == 0) {
        frame.at.dport++;  // somebody else's, or nobody's
    }
    frame.flags = dice[1] / 32 % 3 ? kSyn | kAck : pick(kFlags, dice[2]);
    frame.checksum = dice[2] / 16 % 4 != 0;
    frame.bytes = size(dice[3]);
    workload(reply->first, frame);
}

void Player::error(const Step& step) {
    const auto& dice = step.dice;
    if (received_.empty()) {
        return;
    }
    const auto& [reporter, about] = received_[dice[0] % received_.size()];
    Frame frame;
    frame.at = {about.at.destination, about.at.source, 0, 0, kIcmp};
    frame.type = dice[1] % 3 ? kUnreachable : kTimeExceeded;
    frame.code = dice[1] / 4 % 2 ? 4 : 1;
    frame.rest = frame.code == 4 ? 1400 : 0;
    frame.quote = about.quoted();
    switch (dice[2] % 12) {
        case 0:
            frame.quote = with_tuple(frame.quote, {ip("10.0.0.66"), about.at.destination});
            break;
        case 1: frame.quote.resize(20); break;
        case 2: frame.at.destination = ip("10.0.1.9"); break;
        default: break;
    }
    workload(reporter, frame);
}

void Player::neighbour(const Step& step) {
    const auto& dice = step.dice;
    constexpr std::pair<std::uint32_t, std::uint32_t> kPairs[] = {
        {kFirst, kNeighbour},   {kNeighbour, kFirst},   {kBackendA, kBackendB},
        {kBackendB, kBackendC}, {kBackendC, kBackendA}, {kStranger, kStranger}};
    const auto& [sender, target] = pick(kPairs, dice[0]);
    Frame frame;
    constexpr std::uint8_t kProtocols[] = {kTcp, kUdp, kIcmp, kSctp, kGre};
    frame.at = {nic(sender).address, nic(target).address, client_port(dice[1]), 8443,
                pick(kProtocols, dice[2])};
    frame.flags = pick(kFlags, dice[2] / 8);
    frame.type = kEcho;
    frame.bytes = size(dice[3]);
    if (dice[1] / 8 % 8 == 0) {
        frame.fragment = static_cast<std::uint16_t>(dice[1] / 64 % 2 ? kMoreFragments : 9);
    }
    workload(sender, frame);
}

void Player::travel(const Step& step) {
    if (air_.empty()) {
        return;
    }
    const auto at = air_.begin() + static_cast<std::ptrdiff_t>(step.dice[0] % air_.size());
    const Wire wire = *at;
    if (step.what == What::kArrive || step.what == What::kLose || air_.size() > kAirMost) {
        air_.erase(at);
    }
    if (step.what != What::kLose) {
        arrive(step.what == What::kForge ? forged(wire, step) : wire);
    }
}

Wire Player::forged(Wire wire, const Step& step) const {
    const auto& dice = step.dice;
    constexpr std::uint32_t kIds[] = {kFirstLink,    kSecondLink,   kOwnLink, kFirstVnet,
                                      kProviderVnet, kStrangerVnet, 0,        12};
    const std::uint32_t addresses[] = {ip("10.0.0.4"), ip("10.0.0.7"), ip("10.0.1.5"),
                                       ip("10.0.1.9"), ip("10.0.1.77")};
    switch (dice[1] % 7) {
        case 0: wire.source = 1 + dice[2] % kNicEnd; break;
        case 1: wire.target = 1 + dice[2] % kNicEnd; break;
        case 2: wire.id = pick(kIds, dice[2]); break;
        case 3: wire.link = !wire.link; break;
        case 4: wire.from = 3; break;
        case 5: wire.inner.at.source = pick(addresses, dice[2]); break;
        default: wire.inner.at.destination = pick(addresses, dice[2]); break;
    }
    return wire;
}

void Player::change(const Step& step) {
    const std::uint32_t who = step.dice[0] % 4;  // most changes reach both nodes
    for (std::size_t node = 0; node < intents_.size(); node++) {
        if (who > 1 || who == node) {
            change(intents_[node], node, step);
            if (step.what == What::kPool) {
                tell_pools(node);
            }
            if (step.what == What::kNat && step.dice[2] % 2) {
                worlds_[node]->cursor(1 + step.dice[3] % 4);  // where ports are taken
            }
            tell(node);
        }
    }
}

void Player::change(Intent& intent, std::size_t node, const Step& step) const {
    const auto& dice = step.dice;
    switch (step.what) {
        case What::kLink: {
            constexpr std::uint32_t kLinks[] = {kFirstLink, kSecondLink, kOwnLink};
            Link& link = intent.links.at(pick(kLinks, dice[1]));
            const std::uint32_t how = dice[2] % 16;
            link.state = how == 0   ? LinkState::kNone
                         : how <= 2 ? LinkState::kRefused
                                    : LinkState::kApproved;
            link.generation += how >= 14 ? 1 : 0;
            break;
        }
        case What::kPool: {
            constexpr std::uint32_t kAll[] = {kBackendA, kBackendB, kBackendC};
            Pool& pool = intent.pools.at(dice[1] % 4 ? kPool : kSmallPool);
            pool = {};
            for (std::uint32_t i = 0; i < 3; i++) {
                if (dice[2] >> i & 1) {
                    pool.table.push_back(kAll[i]);
                }
                if (dice[2] >> i & 1 || dice[3] % 2) {
                    pool.members.insert(kAll[i]);
                }
            }
            break;
        }
        case What::kRule: {
            const auto rules = all_rules();
            auto [key, rule] = rules[dice[1] % rules.size()];
            constexpr std::uint8_t kAffinities[] = {5, 3, 2};
            rule.affinity = pick(kAffinities, dice[2] / 4);
            intent.rules[key] = rule;
            if (dice[2] % 4 == 0 && key.protocol != kIcmp) {
                intent.rules.erase(key);
            }
            break;
        }
        case What::kNic: intent.nics.at(1 + dice[1] % (kNicEnd - 1)).generation++; break;
        case What::kNode: {
            constexpr NodeState kStates[] = {NodeState::kOpen, NodeState::kOpen, NodeState::kClosed,
                                             NodeState::kGone};
            intent.nodes.at(static_cast<std::uint32_t>(2 - node)) = pick(kStates, dice[1]);
            break;
        }
        case What::kNat: {
            const auto nat = all_nat();
            const std::uint32_t how = dice[1] % 3;
            intent.nat.at(kService) = how == 2 ? nat : std::vector{nat[how]};
            break;
        }
        default: break;
    }
}

}  // namespace culvert::oracle
