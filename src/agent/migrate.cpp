// SPDX-License-Identifier: Apache-2.0
#include "agent/migrate.hpp"

#include "agent/migrate_check.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::agent {
namespace {

using Kind = api::Object;

// Where the ends of an entry live, as its shape says.
Ends shape_of(const FlowCopy& copy) {
    const bool link = copy.key.kind == CV_FLOW_LINK;
    return {.consumer = !link, .backend = link || copy.flow.action == CV_FLOW_DELIVER};
}

void append(FlowWrites& to, FlowWrites&& from) {
    std::ranges::move(from.put, std::back_inserter(to.put));
    std::ranges::move(from.remove, std::back_inserter(to.remove));
}

api::AgentMessage message(const api::MoveFlows& part) {
    api::AgentMessage out;
    *out.mutable_flows() = part;
    return out;
}

}  // namespace

Mover::Name Mover::name_of(const Connection& connection) {
    return {connection.link,
            connection.consumer.nic,
            connection.from.address.value,
            connection.to.address.value,
            connection.protocol,
            std::uint32_t{connection.from.port} << 16 | connection.to.port};
}

api::AgentMessage Mover::report(const api::Move& move, api::MoveReport::What what,
                                const std::string& error) {
    api::AgentMessage out;
    out.mutable_report()->set_nic(move.nic());
    out.mutable_report()->set_attachment(move.attachment());
    out.mutable_report()->set_what(what);
    out.mutable_report()->set_error(error);
    return out;
}

bool Mover::is_here(std::uint32_t nic) const {
    const auto* found = state_.nic(nic);
    return found != nullptr && found->node() == applier_.node();
}

// Which ends of the connection live here, the moving NIC not counted.
Ends Mover::ends_without(const Connection& connection, std::uint32_t nic) const {
    return {.consumer = connection.consumer.nic != nic && is_here(connection.consumer.nic),
            .backend = connection.backend.nic != nic && is_here(connection.backend.nic)};
}

Ends Mover::ends_with(Ends others, const Connection& connection, std::uint32_t nic) {
    return {.consumer = others.consumer || connection.consumer.nic == nic,
            .backend = others.backend || connection.backend.nic == nic};
}

Result<std::vector<Connection>> Mover::connections(std::uint32_t nic) {
    const auto copies = transfer_.copy(nic);
    if (!copies) {
        return std::unexpected(copies.error());
    }
    const auto now = datapath::kernel_now();
    std::vector<Connection> out;
    out.reserve(copies->size());
    for (const FlowCopy& copy : *copies) {
        if (auto connection = read_connection(copy, now)) {
            out.push_back(*connection);
        }
    }
    return out;
}

// What is known of the move on the node that the NIC leaves.
Mover::Export& Mover::export_of(std::uint32_t nic, const std::string& attachment) {
    Export& out = exports_[nic];
    if (out.attachment != attachment) {
        out = Export{.attachment = attachment};
        for (const Connection& connection : records_.read(nic, attachment)) {
            out.turned.emplace(name_of(connection), connection);
        }
    }
    return out;
}

const Binding* Mover::binding_of(const api::Move& move) const {
    const auto found = bindings_.find(move.nic());
    return found == bindings_.end() || found->second.attachment != move.attachment() ||
                   found->second.ifindex == 0
               ? nullptr
               : &found->second;
}

void Mover::forget(std::uint32_t nic) {
    imports_.erase(nic);
    exports_.erase(nic);
    records_.drop(nic);
}

Status Mover::resume() {
    records_.retain([this](std::uint32_t nic) { return state_.move(nic) != nullptr; });
    for (const auto& [key, object] : state_.objects()) {
        if (key.kind != Kind::kMove || object.move().from() != applier_.node()) {
            continue;
        }
        if (object.move().stage() == api::MOVE_MOVING) {
            CULVERT_TRY_STATUS(freeze(object.move()));
        } else if (object.move().stage() == api::MOVE_SETTLING) {
            CULVERT_TRY_STATUS(clear_left(key.id));
        }
    }
    return {};
}

// How it was translated when both its ends were here.
void Mover::complete(Connection& connection, const std::map<Name, Connection>& turned) {
    const auto known = turned.find(name_of(connection));
    if (!connection.translated() && known != turned.end() &&
        known->second.backend == connection.backend) {
        connection.nat = known->second.nat;
        connection.serving = known->second.serving;
    }
}

Status Mover::applied(const Plan& plan, Outbox& out) {
    for (const Change& change : plan.changes) {
        if (change.key.kind == Kind::kMove) {
            CULVERT_TRY_STATUS(changed(change, out));
        }
    }
    return {};
}

Status Mover::changed(const Change& change, Outbox& out) {
    const std::uint32_t nic = change.key.id;
    const auto* now = state_.nic(nic);
    if (change.before && (!change.after || change.before->move().attachment() !=
                                               change.after->move().attachment())) {
        const api::Move& past = change.before->move();
        const bool here = now != nullptr && attached_on(*now, applier_.node());
        auto done = !here                            ? clear_left(nic)
                    : past.from() == applier_.node() ? take_back(past)
                                                     : Status();
        forget(nic);
        if (!done || !change.after) {
            return done;
        }
    }
    const api::Move& move = change.after->move();
    const bool leaves = move.from() == applier_.node();
    switch (move.stage()) {
        case api::MOVE_MOVING: return leaves ? let_go(move, out) : Status();
        case api::MOVE_SETTLING: forget(nic); return leaves ? clear_left(nic) : Status();
        case api::MOVE_PREPARING:
            if (!leaves) {
                std::ranges::move(announcements(), std::back_inserter(out));
            }
            return {};
        default: return {};
    }
}

// --- the node that the NIC leaves ---

Status Mover::order(const api::MoveOrder& order, Outbox& out) {
    const auto* move = state_.move(order.nic());
    if (move == nullptr || move->from() != applier_.node() ||
        move->attachment() != order.attachment() || move->stage() == api::MOVE_SETTLING) {
        return {};  // of a move that is over
    }
    if (order.restart()) {
        return hand_out(*move, true, move->stage() == api::MOVE_MOVING, out);
    }
    Export& state = export_of(order.nic(), order.attachment());
    if (!state.parts.empty()) {
        out.push_back(message(state.parts.front()));
        state.parts.pop_front();
    }
    return {};
}

// Makes the parts and sends the first. Not a restart: only what has changed since.
Status Mover::hand_out(const api::Move& move, bool restart, bool final, Outbox& out) {
    auto found = connections(move.nic());
    if (!found) {
        return std::unexpected(std::move(found.error()));
    }
    Export& state = export_of(move.nic(), move.attachment());
    restart = !std::exchange(state.begun, true) || restart;
    if (restart) {
        state.sent.clear();
    }
    state.parts.clear();
    const auto next = [&]() -> api::MoveFlows& {
        api::MoveFlows& part = state.parts.emplace_back();
        part.set_nic(move.nic());
        part.set_attachment(move.attachment());
        part.set_final(final);
        return part;
    };
    next().set_restart(restart);
    const auto room = [&]() -> api::MoveFlows& {
        api::MoveFlows& last = state.parts.back();
        const auto held = static_cast<std::size_t>(last.flows_size()) +
                          static_cast<std::size_t>(last.ended_size());
        return held < limits::kMovedFlowsPerMessage ? last : next();
    };
    std::map<Name, std::uint32_t> sent;
    for (Connection& connection : *found) {
        complete(connection, state.turned);
        const Name name = name_of(connection);
        const auto before = state.sent.find(name);
        if (before == state.sent.end() || before->second != connection.flags) {
            *room().add_flows() = to_wire(connection);
        }
        sent.emplace(name, connection.flags);
    }
    for (const auto& [name, flags] : state.sent) {
        if (!sent.contains(name)) {
            const auto& [link, consumer, from, to, protocol, ports] = name;
            Connection gone{.link = link, .protocol = protocol};
            gone.consumer.nic = consumer;
            gone.from = {net::Ipv4{from}, static_cast<std::uint16_t>(ports >> 16)};
            gone.to = {net::Ipv4{to}, static_cast<std::uint16_t>(ports)};
            *room().add_ended() = to_wire(gone);
        }
    }
    state.sent = std::move(sent);
    state.parts.back().set_last(true);
    out.push_back(message(state.parts.front()));
    state.parts.pop_front();
    return {};
}

// The NIC stops here: what it had goes out, and connections with an end that stays are turned into
// those of an end whose other one is elsewhere.
Status Mover::let_go(const api::Move& move, Outbox& out) {
    const auto* nic = state_.nic(move.nic());
    if (nic == nullptr) {
        return {};
    }
    CULVERT_TRY_STATUS(applier_.apply_nic(*nic));
    CULVERT_TRY_STATUS(hand_out(move, false, true, out));
    return freeze(move);
}

Status Mover::freeze(const api::Move& move) {
    Export& state = export_of(move.nic(), move.attachment());
    if (std::exchange(state.frozen, true)) {
        return {};
    }
    auto found = connections(move.nic());
    if (!found) {
        return std::unexpected(std::move(found.error()));
    }
    FlowWrites writes;
    const auto now = datapath::kernel_now();
    for (const Connection& connection : *found) {
        const Ends after = ends_without(connection, move.nic());
        if ((after.consumer || after.backend) && connection.translated()) {
            append(writes,
                   rewrite_flows(connection, ends_with(after, connection, move.nic()), after, now));
            state.turned.emplace(name_of(connection), connection);
        }
    }
    std::vector<Connection> turned;
    turned.reserve(state.turned.size());
    std::ranges::transform(state.turned, std::back_inserter(turned),
                           [](const auto& each) { return each.second; });
    if (auto kept = records_.keep(move.nic(), move.attachment(), turned); !kept) {
        spdlog::warn("agent: move of nic={}: {}", move.nic(), kept.error().message);
    }
    return transfer_.write(writes);
}

// Gives every entry that has to do with the NIC the shape that it needs where the NIC lives: `here`
// or elsewhere. Entries whose connection has no end here any more go.
Status Mover::reshape(std::uint32_t nic, bool here, const std::map<Name, Connection>& turned) {
    const auto copies = transfer_.copy(nic);
    if (!copies) {
        return std::unexpected(copies.error());
    }
    FlowWrites writes;
    const auto now = datapath::kernel_now();
    for (const FlowCopy& copy : *copies) {
        auto connection = read_connection(copy, now);
        if (!connection) {
            continue;
        }
        complete(*connection, turned);
        const Ends others = ends_without(*connection, nic);
        const Ends after = here ? ends_with(others, *connection, nic) : others;
        if (!after.backend || connection->translated()) {
            append(writes, rewrite_flows(*connection, shape_of(copy), after, now));
        } else {
            writes.remove.push_back(copy.key);  // opened to the other node, which has let it go
        }
    }
    return transfer_.write(writes);
}

// The NIC lives elsewhere, because it has left or because it did not come after all.
Status Mover::clear_left(std::uint32_t nic) { return reshape(nic, false, {}); }

// The move was called off: everything as before. What has ended meanwhile stays ended.
Status Mover::take_back(const api::Move& move) {
    CULVERT_TRY_STATUS(reshape(move.nic(), true, export_of(move.nic(), move.attachment()).turned));
    spdlog::info("agent: the move of nic={} was called off", move.nic());
    return applier_.apply_nic(*state_.nic(move.nic()));
}

// --- the node that the NIC goes to ---

Outbox Mover::announcements() const {
    Outbox out;
    for (const auto& [index, binding] : bindings_) {
        const auto* move = state_.move(index);
        if (move == nullptr || move->to() != applier_.node() || binding_of(*move) == nullptr ||
            move->stage() == api::MOVE_SETTLING) {
            continue;
        }
        const bool carries = move->stage() == api::MOVE_MOVING && binding.waiting.empty();
        out.push_back(report(*move, carries ? api::MoveReport::CARRYING : api::MoveReport::READY));
    }
    return out;
}

Status Mover::take(const api::MoveFlows& part, Outbox& out) {
    const auto* move = state_.move(part.nic());
    if (move == nullptr || move->to() != applier_.node() ||
        move->attachment() != part.attachment() || move->stage() == api::MOVE_SETTLING) {
        return {};  // of a move that is over
    }
    if (const Binding* binding = binding_of(*move);
        binding != nullptr && binding->waiting.empty()) {
        return {};  // it carries already: the source has started anew
    }
    Import& state = imports_[part.nic()];
    if (part.restart() || state.attachment != part.attachment()) {
        state = Import{.attachment = part.attachment()};
    }
    for (const auto& flow : part.ended()) {
        if (const auto gone = from_wire(flow)) {
            state.connections.erase(name_of(*gone));
        }
    }
    for (const auto& flow : part.flows()) {
        const auto connection = from_wire(flow);
        if (!connection || state.connections.size() >= limits::kMovedFlows) {
            imports_.erase(part.nic());
            const std::string why = connection ? "too many flows" : connection.error().message;
            out.push_back(report(*move, api::MoveReport::FAILED, why));
            return {};
        }
        state.connections.insert_or_assign(name_of(*connection), *connection);
    }
    state.complete = part.last() && part.final();
    if (!state.complete) {
        out.push_back(
            report(*move, part.last() ? api::MoveReport::COPIED : api::MoveReport::TAKEN));
    }
    return {};
}

std::vector<std::uint32_t> Mover::due() const {
    std::vector<std::uint32_t> out;
    for (const auto& [nic, state] : imports_) {
        const auto* move = state_.move(nic);
        if (state.complete && move != nullptr && move->stage() == api::MOVE_MOVING &&
            binding_of(*move) != nullptr) {
            out.push_back(nic);
        }
    }
    return out;
}

Result<MoveOutcome> Mover::take_over(std::uint32_t nic) {
    MoveOutcome out;
    FlowWrites writes;
    const auto now = datapath::kernel_now();
    for (const auto& [name, connection] : imports_[nic].connections) {
        const Ends before = ends_without(connection, nic);
        const Ends after = ends_with(before, connection, nic);
        const auto whole = check_moved(state_, connection, nic)
                               ? completed(connection, before, after)
                               : std::nullopt;
        if (!whole) {
            ++out.refused;
            continue;
        }
        ++out.flows;
        append(writes, rewrite_flows(*whole, before, after, now));
    }
    imports_.erase(nic);
    CULVERT_TRY_STATUS(transfer_.write(writes));
    return out;
}

// The connection with what this node itself knows of it. Where its other end lives here, this node
// must have it; where the backend is, it must be translated.
std::optional<Connection> Mover::completed(const Connection& connection, Ends before, Ends after) {
    Connection out = connection;
    const api::Rule* rule = rule_of(state_, connection);
    out.idle_s = rule->idle_s();
    out.tell = rule->reset();
    if (before.consumer || before.backend) {
        auto copy =
            transfer_.find(before.consumer ? consumer_key(connection) : link_key(connection));
        if (!copy && !before.consumer) {
            copy = transfer_.find(consumer_key(connection));  // an earlier life came so far
        }
        const auto own = copy ? read_connection(*copy, datapath::kernel_now()) : std::nullopt;
        if (!own || own->link != out.link || own->link_generation != out.link_generation ||
            own->consumer != out.consumer || own->backend != out.backend) {
            return std::nullopt;
        }
        if (before.backend) {
            out.nat = own->nat;
            out.serving = own->serving;
        }
        out.flags |= own->flags;
    }
    return after.backend && !out.translated() ? std::nullopt : std::optional(out);
}

}  // namespace culvert::agent
