// SPDX-License-Identifier: Apache-2.0
#include "control/hub_core.hpp"

#include "api/intent.pb.h"
#include "base/log.hpp"
#include "control/certificate_records.hpp"
#include "control/keys.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

namespace culvert::control {
namespace {

constexpr auto kTick = std::chrono::milliseconds(250);

Error error(Code code, std::string message) { return Error{code, std::move(message), {}, {}, {}}; }

}  // namespace

HubCore::HubCore(const intent::Options& options, const Clock& clock, Outlet& outlet,
                 HubCounters& counters, std::string epoch, HubReleases::OverFn released,
                 Registrar* registrar)
    : options_(options),
      clock_(clock),
      outlet_(outlet),
      registrar_(registrar),
      counters_(counters),
      epoch_(std::move(epoch)),
      world_(std::make_unique<intent::World>(options)),
      moves_(clock, counters,
             [this](const std::string& name, const api::ControlMessage& message) {
                 return relay(name, message);
             }),
      feed_({.written = [this](const model::Node& value) { node_written(value); },
             .erased = [this](const std::string& name) { node_erased(name); },
             .attached = [this](const model::Attachment& value) { moves_.written(value); },
             .detached = [this](const std::string& nic) { moves_.erased(nic); }}),
      releases_(nodes_,
                [this, released = std::move(released)](const std::string& key) {
                    unsettled_ = unsettled_ && key != keys::kEpoch;
                    if (released) {
                        released(key);
                    }
                }),
      last_tick_(clock.steady()) {}

HubCore::~HubCore() = default;

HubNode* HubCore::find(const std::string& name) {
    const auto at = nodes_.find(name);
    return at == nodes_.end() ? nullptr : at->second.get();
}

// --- the store's side ---

void HubCore::load(const std::vector<store::KeyValue>& documents, std::int64_t revision) {
    world_ = std::make_unique<intent::World>(options_);
    changing_ = revision;
    releases_.clear();
    revoked_.clear();
    unsettled_ = false;
    std::set<std::string> gone;
    std::map<std::string, std::string> holdings;
    for (const auto& [name, node] : nodes_) {
        gone.insert(name);
        node->needs_snapshot = true;
        node->known = false;
    }
    for (const store::KeyValue& document : documents) {
        if (keys::is_release(document.key) || document.key == keys::kEpoch) {
            // what was removed while nobody followed is in no record: its holders have to know
            // everything up to here
            releases_.add(document.key, revision, addresses_in(document.value));
            unsettled_ = unsettled_ || document.key == keys::kEpoch;
        } else if (document.key.starts_with(keys::kHolds)) {
            holdings.emplace(document.key.substr(keys::kHolds.size()), document.value);
        } else if (keys::is_revocation(document.key)) {
            revoked_.insert(document.key.substr(keys::kRevoked.size()));
        } else if (auto put = feed_.put(*world_, document); !put) {
            ++counters_.undecodable;
            spdlog::error("hub: read the store: {}", put.error().message);
        } else if (document.key.starts_with("/node/")) {
            gone.erase(document.key.substr(std::string_view("/node/").size()));
        }
    }
    for (const std::string& name : gone) {
        node_erased(name);
    }
    processed_ = revision;
    const bool first = !std::exchange(loaded_, true);
    if (first) {
        presume_live();
        if (metering_ != nullptr) {  // some may have been removed while nobody looked
            const auto names = nodes_ | std::views::keys;
            metering_->retain({names.begin(), names.end()});
        }
    }
    distribute(revision);
    if (first) {
        recognize(holdings);
    }
}

// They may have held a lease of an earlier life.
void HubCore::presume_live() {
    for (const auto& [name, node] : nodes_) {
        node->live = true;
        node->lagging = true;  // only what concerns them waits
        node->last_seen = clock_.steady();
    }
}

void HubCore::on_batch(const store::WatchBatch& batch) {
    changing_ = batch.revision;
    for (const store::Event& event : batch.events) {
        apply(event, batch.revision);
    }
    processed_ = batch.revision;
    distribute(batch.revision);
}

void HubCore::apply(const store::Event& event, std::int64_t revision) {
    const bool erased = event.kind == store::Event::Kind::kDelete;
    if (keys::is_release(event.now.key)) {
        if (!erased) {
            releases_.add(event.now.key, revision, addresses_in(event.now.value));
        }
    } else if (keys::is_revocation(event.now.key)) {
        const std::string serial = event.now.key.substr(keys::kRevoked.size());
        erased ? (void)revoked_.erase(serial) : (void)revoked_.insert(serial);
    } else if (erased) {
        feed_.erase(*world_, event.now.key);
    } else if (auto put = feed_.put(*world_, event.now); !put) {
        ++counters_.undecodable;
        spdlog::error("hub: follow the store: {}", put.error().message);
    }
}

// The addresses among the keys that a release lists. Of a network that is gone nobody can use one.
AddressUses HubCore::addresses_in(std::string_view released) const {
    AddressUses out;
    for (const auto part : std::views::split(released, '\n')) {
        const auto found = keys::parse_address(std::string_view(part));
        if (!found) {
            continue;
        }
        const auto address = net::Ipv4::parse(found->second);
        const std::uint32_t vnet = world_->vnet_index(found->first);
        if (address && vnet != 0) {
            out.emplace(vnet, *address);
        }
    }
    return out;
}

void HubCore::release_again(std::string key) { releases_.add(std::move(key), processed_); }

void HubCore::distribute(std::int64_t revision) {
    std::vector<HubNode*> concerned;
    for (const std::string& name : world_->changed()) {
        HubNode* node = find(name);
        if (node == nullptr) {
            continue;
        }
        concerned.push_back(node);
        if (!node->behind()) {
            node->through = revision - 1;
        }
        node->pending.add(revision);
        if (node->live) {
            busy_.insert(node);
        }
    }
    // INVARIANT: nothing is released and nothing settles before every node concerned is marked.
    for (HubNode* node : concerned) {
        push(*node);
    }
    releases_.advance(processed_);
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
    } else if (!may_use(value, node->document.certificate_serial) &&
               std::ranges::none_of(node->document.next, [&](const auto& next) {
                   return may_use(value, next.serial);
               })) {
        // it may be another machine, of which nothing is known
        node->known = false;
        node->needs_snapshot = true;
        releases_.fence(changing_);
        if (node->stream) {
            refuse(*node->stream, error(Code::kPermissionDenied, "the certificate was replaced"));
        }
    } else if (node->stream && !may_use(value, streams_.at(*node->stream).identity.serial)) {
        // its old one: it has come back with the new one
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
    releases_.forget(*node);
    releases_.fence(changing_);
    nodes_.erase(name);
    world_->forget(name);
    if (metering_ != nullptr) {
        metering_->forget(name);
    }
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
    releases_.advance(processed_);
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
    moves_.tick();
    for (const auto& [name, node] : nodes_) {
        if (node->live && node->last_seen + limits::kLease <= now) {
            spdlog::warn("hub: node {} is silent, its lease is over", name);
            lose(*node);
        }
        if (node->erase_at && *node->erase_at <= now && node->stream) {
            node->erase_at.reset();
            registrar_->erase_holdings(*node->stream, name);
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
    releases_.advance(processed_);
    note_holdings();
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
                       .holds = releases_.held_by(*node, processed_),
                       .error = node->error,
                       .build = node->build,
                       .tenants = node->document.tenants,
                       .draining = node->document.draining,
                       .remaining = node->document.draining ? node->remaining : std::nullopt,
                       .certificate_until = node->document.certificate_until,
                       .authority = authority_of(*node),
                       .trusts = !node->trust.empty() && node->trust == trust_digest_});
    }
    return all;
}

}  // namespace culvert::control
