// SPDX-License-Identifier: Apache-2.0
// The core's side of the streams: hello, acknowledgements, deltas.
#include "api/intent.pb.h"
#include "base/log.hpp"
#include "control/certificate_records.hpp"
#include "control/hub_core.hpp"
#include "runtime/digest.hpp"

#include <algorithm>
#include <utility>

namespace culvert::control {
namespace {

constexpr std::size_t kRelayed = 256;   // messages of moves that wait for a node's stream
constexpr std::size_t kLogDeltas = 32;  // sent and not acknowledged; then changes wait and join
constexpr auto kRetry = std::chrono::milliseconds(500);  // after a refused delta
constexpr std::size_t kStreams = 4 * limits::kNodes;
constexpr auto kStreamsOfNode = 4;       // it needs one; more while it reconnects
constexpr std::size_t kTextChars = 256;  // of what an agent says about itself

// Epochs are <last restore of the store>/<life of the control plane>.
bool same_restore(const std::string& left, const std::string& right) {
    return left.substr(0, left.find('/')) == right.substr(0, right.find('/'));
}

// Takes out of a snapshot what the node holds already, as its digests say. Digests that are none
// change nothing.
bool reduce(api::Delta& snapshot, const std::vector<std::string>& held) {
    using runtime::SetDigest;
    const bool digests =
        held.size() == SetDigest::kParts && std::ranges::all_of(held, [](const std::string& part) {
            return part.size() == SetDigest::kBytes;
        });
    if (!digests) {
        return false;
    }
    SetDigest digest;
    std::vector<std::size_t> part_of;
    for (const api::Object& object : snapshot.upsert()) {
        part_of.push_back(digest.add(object.SerializeAsString()));
    }
    const auto wanted = digest.parts();
    std::vector<bool> differs(wanted.size());
    for (std::size_t part = 0; part < wanted.size(); ++part) {
        differs[part] = wanted[part] != held[part];
        if (differs[part]) {
            snapshot.add_part(static_cast<std::uint32_t>(part));
        }
    }
    int kept = 0;
    for (int at = 0; at < snapshot.upsert_size(); ++at) {
        if (differs[part_of[static_cast<std::size_t>(at)]]) {
            snapshot.mutable_upsert()->SwapElements(kept++, at);
        }
    }
    snapshot.mutable_upsert()->DeleteSubrange(kept, snapshot.upsert_size() - kept);
    snapshot.set_snapshot(false);
    snapshot.set_resume(true);
    return true;
}

template <typename Message>
AddressUses uses_in(const Message& message) {
    AddressUses out;
    for (const api::AddressUse& use : message.in_use()) {
        out.emplace(use.vnet(), net::Ipv4{use.address()});
    }
    return out;
}

std::string shortened(const std::string& text) { return text.substr(0, kTextChars); }

Error error(Code code, std::string message) { return Error{code, std::move(message), {}, {}, {}}; }

}  // namespace

void HubCore::on_opened(StreamId id, StreamIdentity identity) {
    if (streams_.size() >= kStreams) {
        outlet_.close(id, error(Code::kTooLarge, "too many streams"));
        return;
    }
    // those of one node do not take the place of others
    const auto same = std::ranges::count_if(
        streams_, [&](const auto& open) { return open.second.identity.node == identity.node; });
    if (same >= kStreamsOfNode) {
        ++counters_.refused;
        outlet_.close(id, error(Code::kTooLarge, "too many streams of this node"));
        return;
    }
    streams_[id] = Stream{std::move(identity), clock_.steady(), nullptr};
    outlet_.read(id);
}

void HubCore::on_closed(StreamId id) {
    const auto at = streams_.find(id);
    if (at == streams_.end()) {
        return;
    }
    HubNode* node = at->second.node;
    streams_.erase(at);
    if (node != nullptr && node->stream == id) {
        node->stream.reset();
        node->writing = false;
        node->hello.reset();
        node->erase_at.reset();
        node->relayed.clear();
        spdlog::info("hub: stream closed node={}", node->document.name);
    }
}

void HubCore::close(StreamId id, const Error& why) {
    spdlog::warn("hub: close stream node={}: {}",
                 streams_.contains(id) ? streams_.at(id).identity.node : "", why.message);
    on_closed(id);
    outlet_.close(id, why);
}

void HubCore::refuse(StreamId id, Error why) {
    ++counters_.refused;
    close(id, why);
}

void HubCore::on_garbage(StreamId id) {
    if (streams_.contains(id)) {
        ++counters_.garbage;
        close(id, error(Code::kInvalidArgument, "not a message of the agent protocol"));
    }
}

void HubCore::on_message(StreamId id, const api::AgentMessage& message) {
    const auto at = streams_.find(id);
    if (at == streams_.end()) {
        return;
    }
    Stream& stream = at->second;
    if ((stream.node == nullptr) != message.has_hello() ||
        message.kind_case() == api::AgentMessage::KIND_NOT_SET) {
        ++counters_.garbage;
        close(id, error(Code::kInvalidArgument, stream.node == nullptr
                                                    ? "the first message of a stream is a hello"
                                                    : "message out of place"));
        return;
    }
    if (message.has_hello()) {
        on_hello(id, stream, message.hello());
    } else if (message.has_ack()) {
        on_ack(id, *stream.node, message.ack());
    } else if (message.has_renew()) {
        on_renew(id, stream, message.renew());
    } else if (message.has_totals()) {
        heard(*stream.node);
        const api::Totals& totals = message.totals();
        if (static_cast<std::size_t>(totals.links_size()) > limits::kTotalsPerMessage ||
            static_cast<std::size_t>(totals.nat_size()) > limits::kNatUsePerMessage) {
            ++counters_.garbage;
            close(id, error(Code::kTooLarge, "more totals than a message may have"));
            return;
        }
        on_totals(stream.node->document.name, totals);
    } else if (message.has_flows() || message.has_report()) {
        const std::string& name = stream.node->document.name;
        heard(*stream.node);
        if (message.has_flows() ? !moves_.on_flows(name, message.flows())
                                : !moves_.on_report(name, message.report())) {
            ++counters_.garbage;
            close(id, error(Code::kInvalidArgument, "speaks of a NIC that does not move there"));
            return;
        }
    } else {
        heard(*stream.node);
        AddressUses uses = uses_in(message.heartbeat());
        const bool other = uses != stream.node->in_use;
        if (!take_in_use(id, *stream.node, std::move(uses))) {
            return;
        }
        if (other) {
            releases_.advance(processed_);
        }
        if (message.heartbeat().draining()) {
            stream.node->remaining = message.heartbeat().remaining_flows();
        } else {
            stream.node->remaining.reset();
        }
        stream.node->owes_lease = true;
        write_next(*stream.node);
    }
    if (streams_.contains(id)) {
        outlet_.read(id);
    }
}

// What it says takes the place of what it said. False: the stream is closed.
bool HubCore::take_in_use(StreamId id, HubNode& node, AddressUses uses) {
    if (uses.size() > limits::kNatDrains) {
        ++counters_.garbage;
        close(id, error(Code::kTooLarge, "uses more addresses than it can have been told of"));
        return false;
    }
    node.in_use = std::move(uses);
    return true;
}

// What the node may say is looked up here, where the store is followed; it pays before that.
void HubCore::on_totals(const std::string& node, const api::Totals& totals) {
    if (metering_ == nullptr) {
        return;
    }
    const auto entries =
        static_cast<std::size_t>(totals.links_size()) + static_cast<std::size_t>(totals.nat_size());
    if (!metering_->charge(node, entries + Metering::kMessage)) {
        counters_.totals_refused += entries;
        return;
    }
    const intent::Presence at = world_->presence(node);
    Business business;
    for (const auto& each : totals.links()) {
        business.links.push_back(world_->counted(at, each.link()));
    }
    for (const auto& each : totals.nat()) {
        business.nat.push_back(world_->nat_service(at, each.service(), each.address()));
    }
    if (totals.links().empty()) {  // once a round
        for (const std::uint32_t link : metering_->due(node)) {
            business.known.emplace_back(link, world_->counted(at, link));
        }
    }
    counters_.totals_refused += metering_->report(node, totals, business);
}

Status HubCore::check_hello(const Stream& stream, const api::Hello& hello) {
    if (hello.node() != stream.identity.node) {
        return fail(Code::kPermissionDenied, "hello names another node than the certificate");
    }
    const HubNode* node = find(hello.node());
    if (node == nullptr) {
        return fail(Code::kPermissionDenied, "no such node: it has to join first");
    }
    if (revoked_.contains(stream.identity.serial) ||
        (!may_use(node->document, stream.identity.serial) &&
         !may_adopt(node->document, stream.identity))) {
        return fail(Code::kPermissionDenied, "the certificate was revoked");
    }
    return {};
}

void HubCore::on_hello(StreamId id, Stream& stream, const api::Hello& hello) {
    if (auto checked = check_hello(stream, hello); !checked) {
        refuse(id, std::move(checked.error()));
        return;
    }
    HubNode& node = *find(hello.node());
    if (node.stream) {
        ++counters_.replaced;
        close(*node.stream, error(Code::kConflict, "replaced by a newer stream of the node"));
    }
    stream.node = &node;
    node.stream = id;
    node.writing = false;
    node.owes_lease = true;
    node.build = shortened(hello.build());
    node.trust = shortened(hello.trust());
    settle_trust(node, stream);
    heard(node);
    if (!take_in_use(id, node, uses_in(hello))) {
        return;
    }
    settle_certificate(id, node, stream.identity);
    if (node.recorded) {
        node.hello = hello.SerializeAsString();
        registrar_->erase_holdings(id, node.document.name);
        write_next(node);
        return;
    }
    resume(node, hello);
}

// INVARIANT: the log's versions are consecutive and end with node.version.
void HubCore::resume(HubNode& node, const api::Hello& hello) {
    const std::uint64_t oldest = node.log.empty() ? node.version : node.log.front().version - 1;
    const bool adds_up = !node.needs_snapshot && !node.retry_at && hello.epoch() == epoch_ &&
                         oldest <= hello.version() && hello.version() <= node.version;
    if (adds_up) {
        acknowledged(node, hello.version());
        node.unsent = hello.version() + 1;
        recheck(node);
    } else {
        node.needs_snapshot = true;
        node.retry_at.reset();
        if (same_restore(hello.epoch(), epoch_)) {
            node.parts.assign(hello.part().begin(), hello.part().end());
        }
    }
    spdlog::info("hub: node {} connected, resumes by {} at version {}", node.document.name,
                 adds_up              ? "deltas"
                 : node.parts.empty() ? "snapshot"
                                      : "difference",
                 node.version);
    push(node);
    node.parts.clear();
    write_next(node);
    moves_.connected(node.document.name);
}

void HubCore::on_ack(StreamId id, HubNode& node, const api::Ack& ack) {
    heard(node);
    if (ack.version() >= node.unsent) {
        ++counters_.garbage;
        close(id, error(Code::kInvalidArgument, "acknowledges a version that was never sent"));
        return;
    }
    if (!take_in_use(id, node, uses_in(ack))) {
        return;
    }
    if (!ack.error().empty()) {
        ++counters_.ack_errors;
        node.error = shortened(ack.error());
        node.lagging = true;
        node.retry_at = clock_.steady() + kRetry;
        spdlog::error("hub: node {} could not apply version {}: {}", node.document.name,
                      ack.version(), node.error);
        return;
    }
    acknowledged(node, ack.version());
    node.unsent = std::max(node.unsent, ack.version() + 1);
    if (node.log.empty()) {
        node.lagging = false;
        node.error.clear();
    }
    recheck(node);
    push(node);
}

void HubCore::acknowledged(HubNode& node, std::uint64_t version) {
    while (!node.log.empty() && node.log.front().version <= version) {
        node.through = node.log.front().through;
        node.log.pop_front();
    }
    node.acked = std::max(node.acked, version);
    node.known = !node.needs_snapshot && node.acked >= node.base;
}

void HubCore::heard(HubNode& node) {
    node.last_seen = clock_.steady();
    node.last_seen_wall = clock_.wall();
    node.live = true;
    if (node.behind()) {
        busy_.insert(&node);
    }
}

// --- deltas ---

void HubCore::push(HubNode& node) {
    if (!node.stream || node.writing || node.retry_at || node.hello) {
        return;
    }
    if (node.needs_snapshot) {
        push_snapshot(node);
    } else if (!node.pending.empty() && node.log.size() < kLogDeltas) {
        api::Delta delta = world_->take(node.document.name);
        if (delta.upsert().empty() && delta.remove().empty()) {
            node.pending = {};
            recheck(node);
        } else {
            ++counters_.deltas;
            record(node, std::move(delta));
        }
    }
    write_next(node);
}

void HubCore::push_snapshot(HubNode& node) {
    for (const SentDelta& sent : node.log) {
        node.pending.add(sent.revisions);
    }
    node.log.clear();
    node.unsent = node.version + 1;
    node.needs_snapshot = false;
    node.base = node.version + 1;
    node.known = false;
    api::Delta delta = world_->snapshot(node.document.name);
    ++(reduce(delta, node.parts) ? counters_.resumed : counters_.snapshots);
    record(node, std::move(delta));
}

void HubCore::record(HubNode& node, api::Delta delta) {
    ++node.version;
    delta.set_epoch(epoch_);
    delta.set_version(node.version);
    api::ControlMessage message;
    *message.mutable_delta() = std::move(delta);
    node.log.push_back(
        {node.version, message.SerializeAsString(), std::exchange(node.pending, {}), processed_});
    if (node.live) {
        busy_.insert(&node);
    }
}

void HubCore::write_next(HubNode& node) {
    if (!node.stream || node.writing) {
        return;
    }
    std::string& issued = streams_.at(*node.stream).issued;
    if (!issued.empty()) {
        node.writing = true;
        outlet_.send(*node.stream, std::exchange(issued, {}));
    } else if (std::exchange(node.owes_trust, false)) {
        node.writing = true;
        outlet_.send(*node.stream, trust_message(node));
    } else if (node.owes_lease) {
        node.owes_lease = false;
        api::ControlMessage message;
        message.mutable_lease()->set_ttl_ms(static_cast<std::uint32_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(limits::kLease).count()));
        message.mutable_lease()->set_epoch(epoch_);
        // what waits will have the next version
        message.mutable_lease()->set_version(node.version + (node.pending.empty() ? 0 : 1));
        message.mutable_lease()->set_renews(registrar_ != nullptr);
        message.mutable_lease()->set_counts(metering_ != nullptr);
        node.writing = true;
        outlet_.send(*node.stream, message.SerializeAsString());
    } else if (!node.hello && !node.log.empty() && node.unsent <= node.version) {
        const std::size_t position = node.unsent - node.log.front().version;
        ++node.unsent;
        node.writing = true;
        outlet_.send(*node.stream, node.log.at(position).bytes);
    } else if (!node.relayed.empty()) {
        const std::string bytes = std::exchange(node.relayed.front(), {});
        node.relayed.pop_front();
        node.writing = true;
        outlet_.send(*node.stream, bytes);
    }
}

// A message of a move. The other end waits for an answer before it sends the next, so that few are
// ever here.
bool HubCore::relay(const std::string& name, const api::ControlMessage& message) {
    HubNode* node = find(name);
    if (node == nullptr || !node->stream || node->relayed.size() >= kRelayed) {
        return false;
    }
    node->relayed.push_back(message.SerializeAsString());
    write_next(*node);
    return true;
}

void HubCore::on_writable(StreamId id) {
    const auto at = streams_.find(id);
    if (at == streams_.end() || at->second.node == nullptr) {
        return;
    }
    HubNode& node = *at->second.node;
    node.writing = false;
    write_next(node);
    push(node);
}

}  // namespace culvert::control
