// SPDX-License-Identifier: Apache-2.0
// The node's part in moves of NICs: what the mover decides, with the interfaces and the stream.
#include "agent/node.hpp"
#include "agent/six.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <utility>

namespace culvert::agent {
namespace {

using Clock = std::chrono::steady_clock;

InterfaceWish wish_of(const Binding& binding, const api::Nic& nic, int netns) {
    return {.index = nic.index(),
            .address = net::Ipv4{nic.address()},
            .length = static_cast<std::uint8_t>(nic.subnet().length()),
            .gateway = net::Ipv4{nic.gateway()},
            .six = six_of(nic),
            .mtu = 0,
            .netns = netns,
            .ifname = binding.ifname,
            .waiting = true};
}

}  // namespace

void Node::set_sender(Sender sender) {
    const bool there = static_cast<bool>(sender);
    sender_.with([&](Sender& held) { held = std::move(sender); });
    if (there) {
        announce();
    }
}

void Node::send(const Outbox& messages) {
    if (messages.empty()) {
        return;
    }
    // with the lock held: who takes the sender away may end what it writes to
    sender_.with([&](Sender& sender) {
        for (const auto& message : messages) {
            if (!sender || !sender(message)) {
                return;  // a new stream begins with announcements
            }
        }
    });
}

void Node::announce() {
    send(core_.with([](Core& core) { return core.mover->announcements(); }));
}

// What a delta means for moves. A failure here is the move's alone: the intent stands.
Outbox Node::moves_changed(Core& core, const Plan& plan) {
    Outbox out;
    if (auto done = core.mover->applied(plan, out); !done) {
        spdlog::error("agent: move: {}", done.error().message);
    }
    for (const Change& change : plan.changes) {
        if (change.key.kind != api::Object::kMove || !change.after ||
            change.after->move().to() != core.applier->node()) {
            continue;
        }
        const auto& move = change.after->move();
        auto& past = core.pasts[move.nic()];
        if (past.attachment != move.attachment()) {
            past = {.attachment = move.attachment()};
        }
        if (move.stage() == api::MOVE_MOVING) {
            past.since = Clock::now();
        }
    }
    return out;
}

Status Node::order(const api::MoveOrder& order) {
    Outbox out;
    auto done = core_.with([&](Core& core) { return core.mover->order(order, out); });
    send(out);
    return done;
}

Status Node::take(const api::MoveFlows& part) {
    Outbox out;
    auto done = core_.with([&](Core& core) { return core.mover->take(part, out); });
    send(out);
    take_over_due();
    return done;
}

// The entries are written and the maps say that the NIC is here; its binding, as it was before.
Result<Binding> Node::carry(Core& core, std::uint32_t nic) {
    const auto outcome = core.mover->take_over(nic);
    if (!outcome) {
        return std::unexpected(outcome.error());
    }
    core.pasts[nic].outcome = *outcome;
    Binding& binding = core.bindings.at(nic);
    Binding before = binding;
    binding.waiting.clear();
    if (auto applied = core.applier->apply_nic(*core.state.nic(nic)); !applied) {
        return std::unexpected(std::move(applied.error()));
    }
    return before;
}

// Flows, maps, then the interface inside: whoever sends through it is known from the first packet.
void Node::take_over_due() {
    const auto due = core_.with([](Core& core) { return core.mover->due(); });
    for (const std::uint32_t index : due) {
        api::Nic nic;
        api::Move move;
        auto carried = core_.with([&](Core& core) -> Result<Binding> {
            nic = *core.state.nic(index);
            move = *core.state.move(index);
            return carry(core, index);
        });
        Status stands = carried ? Status() : Status(std::unexpected(carried.error()));
        if (carried && !carried->waiting.empty()) {
            stands = stand_in(*carried, nic, carried->waiting);
        }
        auto report =
            Mover::report(move, stands ? api::MoveReport::CARRYING : api::MoveReport::FAILED);
        core_.with([&](Core& core) {
            auto& past = core.pasts[index];
            if (!stands) {
                if (carried) {
                    core.bindings.at(index).waiting = carried->waiting;
                    static_cast<void>(core.applier->apply_nic(nic));
                }
                past.error = stands.error().message;
                report.mutable_report()->set_error(past.error);
                return;
            }
            past.carried = true;
            past.gap =
                std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - past.since);
            counts_.move_gap.observe(past.gap);
            counts_.moved += past.outcome.flows;
            counts_.unmoved += past.outcome.refused;
            report.mutable_report()->set_flows(past.outcome.flows);
            report.mutable_report()->set_refused(past.outcome.refused);
            spdlog::info("agent: nic={} has come here flows={} refused={} gap_us={}", index,
                         past.outcome.flows, past.outcome.refused, past.gap.count());
        });
        send({report});
        if (auto kept = keep_bindings(); !kept) {
            spdlog::warn("agent: {}", kept.error().message);
        }
    }
}

Status Node::stand_in(const Binding& binding, const api::Nic& nic, const std::string& waiting) {
    const auto netns = datapath::open_netns(binding.netns);
    if (!netns) {
        return std::unexpected(netns.error());
    }
    return agent::stand_in(wish_of(binding, nic, netns->fd.get()), waiting);
}

// After a move that was called off: the interface that goes gives its name back to the one that it
// stood in for.
void Node::stand_back(const Binding& binding) {
    const auto nic = core_.with([&](Core& core) -> std::optional<api::Nic> {
        const auto* found = core.state.nic(binding.index);
        return found == nullptr ? std::nullopt : std::optional(*found);
    });
    const auto netns = datapath::open_netns(binding.netns);
    if (!binding.on_trial || !nic || !netns ||
        !binding.same_namespace(netns->device, netns->inode)) {
        return;
    }
    const auto done =
        agent::stand_back(wish_of(binding, *nic, netns->fd.get()), waiting_ifname(binding.index));
    if (!done) {
        spdlog::warn("agent: nic={}: {}", binding.index, done.error().message);
    }
}

// An interface that was made for a move is like any other once the NIC is attached here.
Status Node::settle_bindings() {
    const bool changed = core_.with([](Core& core) {
        bool out = false;
        for (auto& [index, binding] : core.bindings) {
            const auto* nic = binding.on_trial ? core.state.nic(index) : nullptr;
            if (nic != nullptr && attached_on(*nic, core.applier->node()) &&
                nic->attachment() == binding.attachment) {
                binding.on_trial = false;
                out = true;
            }
        }
        return out;
    });
    return changed ? keep_bindings() : Status();
}

// The NIC under the attachment that it has here, or will have when it moves here.
Result<api::Nic> Node::attached(const PlumbWish& wish) {
    const auto deadline = std::chrono::steady_clock::now() + wish.wait;
    while (true) {
        const auto seen = bell_.rings();
        auto nic = core_.with([&](Core& core) -> std::optional<api::Nic> {
            const auto* found = core.state.nic(wish.nic_id);
            if (found == nullptr) {
                return std::nullopt;
            }
            const bool here = attached_on(*found, core.applier->node());
            const std::string attachment = core.applier->attachment_here(*found);
            if (attachment.empty() || here == wish.move) {
                return std::nullopt;
            }
            api::Nic out = *found;
            out.set_attachment(attachment);
            return out;
        });
        if (nic) {
            return *std::move(nic);
        }
        if (std::chrono::steady_clock::now() >= deadline || !bell_.wait_until(seen, deadline)) {
            return fail(Code::kNotFound,
                        wish.move ? "plumb: the network interface is not on its way to this node"
                                  : "plumb: the network interface is not attached on this node",
                        wish.nic_id);
        }
    }
}

MoveProgress Node::progress(const std::string& nic_id) {
    return core_.with([&](Core& core) {
        MoveProgress out;
        const auto* nic = core.state.nic(nic_id);
        if (nic == nullptr) {
            return out;
        }
        const auto past = core.pasts.find(nic->index());
        if (past != core.pasts.end()) {
            out.gap = past->second.gap;
            out.outcome = past->second.outcome;
            out.error = past->second.error;
        }
        const auto* move = core.state.move(nic->index());
        if (attached_on(*nic, core.applier->node())) {
            out.where = MoveProgress::Where::kDone;
        } else if (move != nullptr && move->to() == core.applier->node()) {
            const bool carried = past != core.pasts.end() && past->second.carried;
            out.where = carried ? MoveProgress::Where::kCarrying : MoveProgress::Where::kWaiting;
        }
        return out;
    });
}

}  // namespace culvert::agent
