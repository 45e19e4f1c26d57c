// SPDX-License-Identifier: Apache-2.0
#include "tests/oracle/player.hpp"

#include "tests/oracle/refusal.hpp"
#include "tests/oracle/scene.hpp"
#include "tests/packet/row.hpp"

#include <arpa/inet.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

namespace culvert::oracle {
namespace {

using packet::Hook;
using packet::Verdict;
using packet::World;
using namespace std::chrono_literals;

constexpr std::uint32_t kFlowEntries = 65536;
constexpr auto kOpening = 4s;  // the sweep ends what is longer unanswered,
constexpr auto kLongest = 1s;  // so no sequence may take longer than that
constexpr int kTries = 20;
constexpr std::size_t kReceived = 8, kOuterPortAt = 34, kOuterHeaders = 50;

std::uint32_t word(const Bytes& bytes, std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof(value));
    return value;
}
std::uint16_t half(const Bytes& bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}
std::uint32_t named(const Bytes& frame, std::size_t ethernet) {
    return ntohl(word(frame, ethernet + 2));
}

bool is_wrapped(const Bytes& frame) {
    return frame.size() >= kOuterHeaders + 34 && frame[23] == kUdp &&
           half(frame, 36) == CV_VXLAN_PORT;
}

// Reads what the data plane chose from what it did with a packet of `sender` (0: of the backbone).
Choice choice_of(const packet::Outcome& outcome, bool refused) {
    Choice choice;
    if (outcome.verdict != Verdict::Redirected || refused || outcome.out.size() < 34) {
        return choice;
    }
    const std::size_t at = is_wrapped(outcome.out) ? kOuterHeaders : 0;
    choice.backend = named(outcome.out, at);
    choice.nat = word(outcome.out, at + 26);
    choice.id = half(outcome.out, at + 18);
    choice.port = outcome.out.size() >= at + 36 ? half(outcome.out, at + 34) : std::uint16_t{0};
    return choice;
}

std::uint32_t vni(const Wire& wire) { return wire.link ? CV_VNI_LINK | wire.id : wire.id; }

packet::Packet outer(packet::Packet ethernet, const Wire& wire, std::uint16_t port) {
    return ethernet.ipv4(packet::node_address(wire.from), packet::node_address(wire.to))
        .ip_id(0)
        .udp(port, CV_VXLAN_PORT)
        .no_checksum()
        .vxlan(vni(wire))
        .eth(packet::mac(wire.source), packet::mac(wire.target));
}

Bytes sent(const Wire& wire) {
    return wire.inner.behind(outer(packet::from(wire.source), wire, packet::kAnyPort));
}

Bytes arriving(const Wire& wire) {
    const net::Mac near{{0x02, 0, 0, 0, 0, 1}}, far{{0x02, 0, 0, 0, 0, 2}};
    return wire.inner.behind(outer(packet::Packet().eth(far, near), wire, packet::kWirePort));
}

std::uint32_t place(std::uint32_t nic) {
    const auto& at = packet::devices();
    switch (nic) {
        case kFirst:
        case kSecond: return at.consumer;
        case kBackendA:
        case kBackendB: return at.backend;
        case kNeighbour: return at.neighbour;
        default: return at.second;
    }
}

cv_node node_value(std::uint32_t index, NodeState state) {
    cv_node value{};
    const auto address = packet::node_address(index);
    std::memcpy(value.outer, &address, 4);
    std::memcpy(value.next_hop, &address, 4);
    value.family = 4;
    value.state = state == NodeState::kOpen     ? CV_NODE_OPEN
                  : state == NodeState::kClosed ? CV_NODE_CLOSED
                                                : CV_NODE_GONE;
    return value;
}

cv_config config(std::uint32_t node, std::uint32_t mtu) {
    cv_config value{};
    value.abi_version = CV_ABI_VERSION;
    value.node = node;
    value.backbone_ifindex = packet::devices().backbone;
    value.outer_family = 4;
    value.udp_port = htons(CV_VXLAN_PORT);
    const auto address = packet::node_address(node);
    std::memcpy(value.outer, &address, 4);
    value.backbone_mtu = mtu;
    return value;
}

cv_link link_value(const Link& link) {
    cv_link value{};
    value.generation = link.generation;
    value.state = link.state == LinkState::kApproved  ? CV_LINK_APPROVED
                  : link.state == LinkState::kRefused ? CV_LINK_REFUSED
                                                      : CV_LINK_NONE;
    value.service = link.service;
    value.consumer_vnet = link.consumer_vnet;
    value.provider_vnet = link.provider_vnet;
    value.endpoint = link.endpoint;
    return value;
}

std::uint32_t kind_value(AddressKind kind) {
    switch (kind) {
        case AddressKind::kNic: return CV_ADDRESS_NIC;
        case AddressKind::kEndpoint: return CV_ADDRESS_ENDPOINT;
        case AddressKind::kNat: return CV_ADDRESS_NAT;
        case AddressKind::kFrontend: return CV_ADDRESS_FRONTEND;
    }
    return 0;
}

// The NIC that a workload's flow leads to; 0: there is none.
std::uint32_t flow_target(const World& world, std::uint32_t sender, const Tuple& at) {
    cv_flow_key key{};
    key.scope = sender;
    key.saddr = at.source;
    key.daddr = at.destination;
    key.sport = htons(at.sport);
    key.dport = htons(at.dport);
    key.proto = at.protocol;
    const auto flow = world.flow(key);
    return flow ? flow->nic : 0;
}

}  // namespace

Player::Player(Plant plant) : plant_(std::move(plant)) {
    packet::devices();
    for (auto& world : worlds_) {
        world = std::make_unique<World>(kFlowEntries, kOpening);
    }
    nodes_.reserve(2);
    nodes_.emplace_back(1, intents_[0]);
    nodes_.emplace_back(2, intents_[1]);
}

void Player::tell(std::size_t node) {
    World& world = *worlds_[node];
    const Intent& intent = intents_[node];
    const auto here = static_cast<std::uint32_t>(node + 1);
    world.config(config(here, intent.mtu));
    for (const auto& [index, state] : intent.nodes) {
        world.node(index, node_value(index, state));
    }
    for (const auto& [index, nic] : intent.nics) {
        cv_nic value{};
        value.address = nic.address;
        value.vnet = nic.vnet;
        value.node = nic.node;
        value.ifindex = nic.node == here ? place(index) : 0;
        value.port_flags = CV_PORT_PEER_OK;
        value.generation = nic.generation;
        world.nic(index, value);
        world.prefix(nic.vnet, vnet_prefix(), 16);
        if (nic.node == here) {
            world.port(place(index), index, CV_PORT_PEER_OK);
        }
    }
    for (const auto& [where, what] : intent.addresses) {
        world.address(where.first, where.second, kind_value(what.kind), what.id);
    }
    for (const auto& [id, link] : intent.links) {
        world.link(id, link_value(link));
    }
    for (const auto& [id, nat] : intent.nat) {
        world.service(id, kProviderVnet, nat);
    }
    for (const auto& [key, unused] : all_rules()) {
        const auto rule = intent.rules.find(key);
        if (rule == intent.rules.end()) {
            world.remove_rule(key.service, key.port, key.protocol);
        } else {
            world.rule(key.service, key.port, rule->second.pool, rule->second.backend_port, 300,
                       rule->second.affinity, key.protocol);
        }
    }
    if (plant_) {
        plant_(world);
    }
}

void Player::tell_pools(std::size_t node) {
    for (const auto& [id, pool] : intents_[node].pools) {
        worlds_[node]->pool(id, pool.table);
        for (auto backend : {kBackendA, kBackendB, kBackendC}) {
            if (pool.members.contains(backend)) {
                worlds_[node]->member(id, backend);
            } else {
                worlds_[node]->remove_member(id, backend);
            }
        }
    }
}

void Player::begin() {
    air_.clear();
    received_.clear();
    failure_.clear();
    for (std::size_t node = 0; node < worlds_.size(); node++) {
        worlds_[node]->reset();
        nodes_[node].forget();
        intents_[node] = scene();
        tell_pools(node);
        tell(node);
    }
}

std::optional<Divergence> Player::play(const std::vector<Step>& steps) {
    for (int tries = 0; tries < kTries; tries++) {
        const Tally tally = tally_;
        begin();
        const auto before = std::chrono::steady_clock::now();
        auto found = play_once(steps);
        if (std::chrono::steady_clock::now() - before < kLongest) {
            return found;
        }
        tally_ = tally;
    }
    throw std::runtime_error("the machine is too busy to play a sequence before flows age");
}

std::optional<Divergence> Player::play_once(const std::vector<Step>& steps) {
    for (std::size_t at = 0; at < steps.size(); at++) {
        take(steps[at]);
        if (!failure_.empty()) {
            return Divergence{at, failure_};
        }
    }
    for (std::size_t node = 0; node < worlds_.size(); node++) {
        const std::size_t flows = worlds_[node]->flows().size();
        if (flows != nodes_[node].flows()) {
            return Divergence{steps.size(),
                              fmt::format("node {} has {} flow entries, the oracle {}", node + 1,
                                          flows, nodes_[node].flows())};
        }
        if (auto late = worlds_[node]->dropped(); !late.empty()) {
            return Divergence{steps.size(), "drops nobody saw: " + late};
        }
    }
    return {};
}

std::vector<Step> Player::shrink(std::vector<Step> steps) {
    const auto cut = play(steps);
    if (!cut) {
        return steps;
    }
    steps.resize(std::min(steps.size(), cut->step + 1));
    for (std::size_t chunk = std::max<std::size_t>(steps.size() / 2, 1); chunk > 0; chunk /= 2) {
        for (std::size_t at = 0; at < steps.size();) {
            auto fewer = steps;
            const auto begin = fewer.begin() + static_cast<std::ptrdiff_t>(at);
            fewer.erase(begin,
                        begin + static_cast<std::ptrdiff_t>(std::min(chunk, fewer.size() - at)));
            if (play(fewer)) {
                steps = std::move(fewer);
            } else {
                at += chunk;
            }
        }
    }
    return steps;
}

void Player::workload(std::uint32_t index, const Frame& frame) {
    const std::size_t node = nic(index).node - 1;
    World& world = *worlds_[node];
    const auto outcome =
        world.send(Hook::Workload, place(index), frame.behind(packet::from(index)));
    const bool back = outcome.verdict == Verdict::Redirected && !is_wrapped(outcome.out) &&
                      named(outcome.out, 0) == index;
    const std::string counted = back || outcome.verdict == Verdict::Dropped ? world.dropped() : "";
    Choice choice = choice_of(outcome, !counted.empty());
    if (counted == "TOO_BIG") {  // a flow may have been opened all the same
        choice.backend = flow_target(world, index, frame.at);
    }
    const Fate fate = nodes_[node].from_workload(index, frame, choice);
    settle(fate, outcome, counted, fmt::format("NIC {} sends {}", index, text(frame)));
}

void Player::arrive(const Wire& wire) {
    const std::size_t node = wire.to - 1;
    World& world = *worlds_[node];
    const auto outcome = world.send(Hook::Backbone, packet::devices().backbone, arriving(wire));
    const std::string counted = outcome.verdict == Verdict::Dropped ? world.dropped() : "";
    const Fate fate = nodes_[node].from_backbone(wire, choice_of(outcome, false));
    settle(fate, outcome, counted,
           fmt::format("node {} gets from {} as {} {} from NIC {} to {}: {}", wire.to, wire.from,
                       wire.link ? "link" : "VNet", wire.id, wire.source, wire.target,
                       text(wire.inner)));
}

void Player::settle(const Fate& fate, const packet::Outcome& outcome, const std::string& counted,
                    const std::string& doing) {
    using Kind = Fate::Kind;
    tally_.packets++;
    const bool gone = fate.kind == Kind::kDropped;
    Bytes wanted = fate.kind == Kind::kSent ? sent(fate.wire) : fate.out;
    if (fate.kind == Kind::kSent && is_wrapped(outcome.out)) {
        std::copy_n(outcome.out.begin() + kOuterPortAt, 2, wanted.begin() + kOuterPortAt);
    }
    std::string wrong;
    if (!fate.breach.empty()) {
        wrong = "the data plane chose " + fate.breach;
    } else if ((outcome.verdict == Verdict::Dropped) != gone) {
        wrong = "verdict";
    } else if (counted != fate.drop) {
        wrong = "reason";
    } else if (!gone && wanted != outcome.out) {
        wrong = "bytes";
    }
    if (!wrong.empty()) {
        failure_ = fmt::format("{}: {}\n  the data plane: {} ({})\n{}  the oracle: {} ({})\n{}",
                               doing, wrong, static_cast<int>(outcome.verdict), counted,
                               packet::describe(outcome.out), static_cast<int>(fate.kind),
                               fate.drop, gone ? "" : packet::describe(wanted));
        return;
    }
    if (!fate.drop.empty()) {
        tally_.reasons[fate.drop]++;
    }
    switch (fate.kind) {
        case Kind::kDropped: tally_.dropped++; break;
        case Kind::kAnswered: tally_.answered++; break;
        case Kind::kSent:
            tally_.sent++;
            air_.push_back(fate.wire);
            break;
        case Kind::kDelivered:
            tally_.delivered++;
            received_.emplace_back(fate.target, fate.frame);
            if (received_.size() > kReceived) {
                received_.pop_front();
            }
    }
}

}  // namespace culvert::oracle
