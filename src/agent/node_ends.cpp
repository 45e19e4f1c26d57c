// SPDX-License-Identifier: Apache-2.0
// The node's part in resetting the ends of connections that are no more.
#include "agent/challenge.hpp"
#include "agent/node.hpp"
#include "base/log.hpp"
#include "datapath/ended.hpp"

namespace culvert::agent {
namespace {

constexpr std::uint8_t kTcp = 6;
// No window reaches from one to the other (RFC 7323 2.3): one of the two is never in it.
constexpr std::uint32_t kSequences[] = {0x20000000, 0xa0000000};

}  // namespace

void Node::reset_ends(const std::vector<Connection>& connections) {
    core_.with([&](Core& core) { reset_ends(core, connections); });
}

// An end whose tuple is a connection's again is left alone.
void Node::reset_ends(Core& core, const std::vector<Connection>& connections) {
    for (const Connection& connection : connections) {
        if (connection.protocol != kTcp) {
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
