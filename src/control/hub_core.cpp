// SPDX-License-Identifier: Apache-2.0
#include "control/hub_core.hpp"

#include "api/intent.pb.h"
#include "base/log.hpp"

#include <utility>

namespace culvert::control {
namespace {

constexpr std::size_t kLogDeltas = 32;  // sent and not acknowledged; then changes wait and join
constexpr auto kTick = std::chrono::milliseconds(250);
constexpr auto kRetry = std::chrono::milliseconds(500);  // after a refused delta
constexpr std::size_t kStreams = 2 * limits::kNodes;
constexpr std::size_t kTextChars = 256;  // of what an agent says about itself

std::string shortened(const std::string& text) { return text.substr(0, kTextChars); }

Error error(Code code, std::string message) { return Error{code, std::move(message), {}, {}, {}}; }

}  // namespace

HubCore::HubCore(const intent::Options& options, const Clock& clock, Outlet& outlet,
                 HubCounters& counters, std::string epoch)
    : options_(options),
      clock_(clock),
      outlet_(outlet),
      counters_(counters),
      epoch_(std::move(epoch)),
      world_(std::make_unique<intent::World>(options)),
      feed_({.written = [this](const model::Node& value) { node_written(value); },
             .erased = [this](const std::string& name) { node_erased(name); }}),
      last_tick_(clock.steady()) {}

HubCore::~HubCore() = default;

HubNode* HubCore::find(const std::string& name) {
    const auto at = nodes_.find(name);
    return at == nodes_.end() ? nullptr : at->second.get();
}

// --- the store's side ---

void HubCore::load(const std::vector<store::KeyValue>& documents, std::int64_t revision) {
    world_ = std::make_unique<intent::World>(options_);
    std::set<std::string> gone;
    for (const auto& [name, node] : nodes_) {
        gone.insert(name);
    }
    for (const store::KeyValue& document : documents) {
        if (auto put = feed_.put(*world_, document); !put) {
            ++counters_.undecodable;
            spdlog::error("hub: read the store: {}", put.error().message);
        } else if (document.key.starts_with("/node/")) {
            gone.erase(document.key.substr(std::string_view("/node/").size()));
        }
    }
    for (const std::string& name : gone) {
        node_erased(name);
    }
    for (const auto& [name, node] : nodes_) {
        node->needs_snapshot = true;
    }
    processed_ = revision;
    distribute(revision);
}

void HubCore::on_batch(const store::WatchBatch& batch) {
    for (const store::Event& event : batch.events) {
        if (event.kind == store::Event::Kind::kDelete) {
            feed_.erase(*world_, event.now.key);
        } else if (auto put = feed_.put(*world_, event.now); !put) {
            ++counters_.undecodable;
            spdlog::error("hub: follow the store: {}", put.error().message);
        }
    }
    processed_ = batch.revision;
    distribute(batch.revision);
}

void HubCore::distribute(std::int64_t revision) {
    for (const std::string& name : world_->changed()) {
        HubNode* node = find(name);
        if (node == nullptr) {
            continue;
        }
        node->pending.add(revision);
        if (node->live) {
            busy_.insert(node);
        }
        push(*node);
    }
    std::vector<std::uint64_t> due;
    for (const auto& [id, waiter] : waiters_) {
        if (!waiter.seen && waiter.revision <= processed_) {
            due.push_back(id);
        }
    }
    for (const std::uint64_t id : due) {
        start_waiting(id, waiters_.at(id));
    }
}

void HubCore::node_written(const model::Node& value) {
    std::unique_ptr<HubNode>& node = nodes_[value.name];
    if (!node) {
        node = std::make_unique<HubNode>();
        node->unsent = 1;
    } else if (node->document.certificate_serial != value.certificate_serial && node->stream) {
        refuse(*node->stream, error(Code::kPermissionDenied, "the certificate was replaced"));
    }
    node->document = value;
}

void HubCore::node_erased(const std::string& name) {
    HubNode* node = find(name);
    if (node == nullptr) {
        return;
    }
    if (node->stream) {
        refuse(*node->stream, error(Code::kPermissionDenied, "the node was removed"));
    }
    lose(*node);
    nodes_.erase(name);
    world_->forget(name);
}

// --- the streams' side ---

void HubCore::on_opened(StreamId id, StreamIdentity identity) {
    if (streams_.size() >= kStreams) {
        outlet_.close(id, error(Code::kTooLarge, "too many streams"));
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
    } else {
        heard(*stream.node);
        stream.node->owes_lease = true;
        write_next(*stream.node);
    }
    if (streams_.contains(id)) {
        outlet_.read(id);
    }
}

Status HubCore::check_hello(const Stream& stream, const api::Hello& hello) {
    if (hello.node() != stream.identity.node) {
        return fail(Code::kPermissionDenied, "hello names another node than the certificate");
    }
    const HubNode* node = find(hello.node());
    if (node == nullptr) {
        return fail(Code::kPermissionDenied, "no such node: it has to join first");
    }
    if (node->document.certificate_serial != stream.identity.serial) {
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
    heard(node);
    resume(node, hello);
}

// INVARIANT: the log's versions are consecutive and end with node.version.
void HubCore::resume(HubNode& node, const api::Hello& hello) {
    const std::uint64_t oldest = node.log.empty() ? node.version : node.log.front().version - 1;
    const bool adds_up = !node.needs_snapshot && !node.retry_at && hello.epoch() == epoch_ &&
                         oldest <= hello.version() && hello.version() <= node.version;
    if (adds_up) {
        while (!node.log.empty() && node.log.front().version <= hello.version()) {
            node.log.pop_front();
        }
        node.acked = hello.version();
        node.unsent = hello.version() + 1;
        recheck(node);
    } else {
        node.needs_snapshot = true;
        node.retry_at.reset();
    }
    spdlog::info("hub: node {} connected, resumes by {} at version {}", node.document.name,
                 adds_up ? "deltas" : "snapshot", node.version);
    push(node);
    write_next(node);
}

void HubCore::on_ack(StreamId id, HubNode& node, const api::Ack& ack) {
    heard(node);
    if (ack.version() >= node.unsent) {
        ++counters_.garbage;
        close(id, error(Code::kInvalidArgument, "acknowledges a version that was never sent"));
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
    while (!node.log.empty() && node.log.front().version <= ack.version()) {
        node.log.pop_front();
    }
    node.acked = std::max(node.acked, ack.version());
    node.unsent = std::max(node.unsent, ack.version() + 1);
    if (node.log.empty()) {
        node.lagging = false;
        node.error.clear();
    }
    recheck(node);
    push(node);
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
    if (!node.stream || node.writing || node.retry_at) {
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
    ++counters_.snapshots;
    record(node, world_->snapshot(node.document.name));
}

void HubCore::record(HubNode& node, api::Delta delta) {
    ++node.version;
    delta.set_epoch(epoch_);
    delta.set_version(node.version);
    api::ControlMessage message;
    *message.mutable_delta() = std::move(delta);
    node.log.push_back(
        {node.version, message.SerializeAsString(), std::exchange(node.pending, {})});
    if (node.live) {
        busy_.insert(&node);
    }
}

void HubCore::write_next(HubNode& node) {
    if (!node.stream || node.writing) {
        return;
    }
    if (node.owes_lease) {
        node.owes_lease = false;
        api::ControlMessage message;
        message.mutable_lease()->set_ttl_ms(static_cast<std::uint32_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(limits::kLease).count()));
        node.writing = true;
        outlet_.send(*node.stream, message.SerializeAsString());
    } else if (!node.log.empty() && node.unsent <= node.version) {
        const std::size_t position = node.unsent - node.log.front().version;
        ++node.unsent;
        node.writing = true;
        outlet_.send(*node.stream, node.log.at(position).bytes);
    }
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

// --- settling ---

void HubCore::settle(std::int64_t revision, SettleFn done) {
    const std::uint64_t id = next_waiter_++;
    Waiter& waiter = waiters_[id];
    waiter.revision = revision;
    waiter.deadline = clock_.steady() + limits::kAckWait;
    waiter.done = std::move(done);
    if (revision <= processed_) {
        start_waiting(id, waiter);
    }
}

void HubCore::start_waiting(std::uint64_t id, Waiter& waiter) {
    waiter.seen = true;
    for (HubNode* node : busy_) {
        if (node->concerned(waiter.revision)) {
            waiter.nodes.insert(node);
            node->waiters.insert(id);
        }
    }
    if (waiter.nodes.empty()) {
        finish(id, true);
    }
}

// The node has acknowledged something or is not waited for any more.
void HubCore::recheck(HubNode& node) {
    if (!node.live || !node.behind()) {
        busy_.erase(&node);
    }
    for (const std::uint64_t id : std::set<std::uint64_t>(node.waiters)) {
        Waiter& waiter = waiters_.at(id);
        if (node.live && node.concerned(waiter.revision)) {
            continue;
        }
        node.waiters.erase(id);
        waiter.nodes.erase(&node);
        if (waiter.nodes.empty()) {
            finish(id, true);
        }
    }
}

void HubCore::lose(HubNode& node) {
    node.live = false;
    recheck(node);
}

void HubCore::finish(std::uint64_t id, bool settled) {
    auto waiter = waiters_.extract(id);
    for (HubNode* node : waiter.mapped().nodes) {
        node->waiters.erase(id);
    }
    if (!settled) {
        ++counters_.timeouts;
    }
    waiter.mapped().done(settled);
}

// --- time ---

SteadyTime HubCore::next_tick() const {
    const SteadyTime regular = last_tick_ + kTick;
    return waiters_.empty() ? regular : std::min(regular, waiters_.begin()->second.deadline);
}

void HubCore::tick() {
    const SteadyTime now = clock_.steady();
    while (!waiters_.empty() && waiters_.begin()->second.deadline <= now) {
        for (HubNode* node : waiters_.begin()->second.nodes) {
            node->lagging = true;
        }
        finish(waiters_.begin()->first, false);
    }
    if (now < last_tick_ + kTick) {
        return;
    }
    last_tick_ = now;
    for (const auto& [name, node] : nodes_) {
        if (node->live && node->last_seen + limits::kLease <= now) {
            spdlog::warn("hub: node {} is silent, its lease is over", name);
            lose(*node);
        }
        if (node->retry_at && *node->retry_at <= now) {
            node->retry_at.reset();
            node->needs_snapshot = true;
            push(*node);
        }
    }
    std::vector<StreamId> silent;
    for (const auto& [id, stream] : streams_) {
        const SteadyTime heard_at = stream.node == nullptr ? stream.opened : stream.node->last_seen;
        if (heard_at + 2 * limits::kLease <= now) {
            silent.push_back(id);
        }
    }
    for (const StreamId id : silent) {
        close(id, error(Code::kTimeout, "silent for two leases"));
    }
}

void HubCore::stop() {
    while (!waiters_.empty()) {
        finish(waiters_.begin()->first, false);
    }
}

std::vector<NodeStatus> HubCore::status() const {
    std::vector<NodeStatus> all;
    all.reserve(nodes_.size());
    for (const auto& [name, node] : nodes_) {
        all.push_back({.name = name,
                       .index = node->document.index,
                       .outer = node->document.outer,
                       .connected = node->stream.has_value(),
                       .live = node->live,
                       .last_seen = node->last_seen_wall,
                       .version = node->version,
                       .acked = node->acked,
                       .waiting = !node->pending.empty(),
                       .error = node->error,
                       .build = node->build});
    }
    return all;
}

}  // namespace culvert::control
