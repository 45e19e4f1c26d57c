// SPDX-License-Identifier: Apache-2.0
// What the node says to workloads by itself: to the ends of connections that are no more, and as
// their router.
#include "abi/six.h"
#include "agent/frames.hpp"
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
constexpr auto kAdvertiseEvery = std::chrono::seconds(CV_ADVERTISE_EVERY_S);

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
        send(*binding, make_challenge(end.nic, from, to, sequence));
    }
}

void Node::send(const Binding& binding, std::span<const std::uint8_t> frame) {
    if (auto sent = datapath::send_frame(*datapath_, binding.ifindex, frame); !sent) {
        spdlog::warn("agent: nic={}: {}", binding.index, sent.error().message);
    }
}

// To virtual machines. Who has asked was answered by the data plane; nobody asks again before the
// answer's time is over (RFC 4861 6.2.4).
void Node::advertise_router(SteadyTime now) {
    if (now < advertise_at_) {
        return;
    }
    advertise_at_ = now + kAdvertiseEvery;
    std::vector<Binding> bindings;
    const std::uint32_t mtu = core_.with([&](Core& core) {
        for (const auto& [index, binding] : core.bindings) {
            const auto* nic = core.state.nic(index);
            if (nic != nullptr && !nic->six().empty() && binding.is_tap() &&
                core.applier->carrying(*nic) != nullptr) {
                bindings.push_back(binding);
            }
        }
        return core.backbone.workload_mtu();
    });
    const Frame frame = make_advertisement(mtu);
    for (const Binding& binding : bindings) {
        send(binding, frame);
    }
}

}  // namespace culvert::agent
