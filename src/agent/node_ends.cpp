// SPDX-License-Identifier: Apache-2.0
// The node's part in resetting the ends of connections that are no more.
#include "agent/challenge.hpp"
#include "agent/node.hpp"
#include "base/log.hpp"
#include "datapath/ended.hpp"

#include <netinet/in.h>

#include <algorithm>

namespace culvert::agent {
namespace {

// with the core locked: others have the node between
constexpr std::size_t kEndsAtOnce = 64;
// No window reaches from one to the other (RFC 7323 2.3): one of the two is never in it.
constexpr std::uint32_t kSequences[] = {0x20000000, 0xa0000000};

}  // namespace

void Node::reset_ends(std::span<const Connection> connections) {
    while (!connections.empty()) {
        const auto some = connections.first(std::min(connections.size(), kEndsAtOnce));
        core_.with([&](Core& core) { reset_ends(core, some); });
        connections = connections.subspan(some.size());
    }
}

// An end whose tuple is a connection's again is left alone.
void Node::reset_ends(Core& core, std::span<const Connection> connections) {
    for (const Connection& connection : connections) {
        if (connection.protocol != IPPROTO_TCP) {
            continue;
        }
        if (!transfer_->has(consumer_key(connection))) {
            challenge(core, connection.consumer, connection.to, connection.from);
        }
        if (connection.translated() && !transfer_->has(reverse_key(connection))) {
            challenge(core, connection.backend, connection.nat, connection.serving);
        }
    }
}

void Node::challenge(Core& core, const End& end, const Endpoint& from, const Endpoint& to) {
    const auto* nic = core.state.nic(end.nic);
    const Binding* binding = nic == nullptr || nic->generation() != end.generation
                                 ? nullptr
                                 : core.applier->carrying(*nic);
    if (binding == nullptr) {
        return;
    }
    ++counts_.reset;
    for (const std::uint32_t sequence : kSequences) {
        const ChallengeFrame frame = make_challenge(end.nic, from, to, sequence);
        if (auto sent = datapath::send_frame(*datapath_, binding->ifindex, frame); !sent) {
            spdlog::warn("agent: nic={}: {}", end.nic, sent.error().message);
        }
    }
}

}  // namespace culvert::agent
