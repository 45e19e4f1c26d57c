// SPDX-License-Identifier: Apache-2.0
// The node's side of health: what there is to probe, what is held true of backends, and the
// connections that end because nobody serves them any more.
#include "agent/node.hpp"
#include "base/log.hpp"

#include <unistd.h>

#include <algorithm>

namespace culvert::agent {
namespace {

using Kind = api::Object;

constexpr const char* kHealth = "health.json";

// Whether the delta has to do with objects of those kinds.
bool concerns(const api::Delta& delta, std::initializer_list<std::uint32_t> kinds) {
    const auto among = [&](std::uint32_t kind) {
        return std::ranges::find(kinds, kind) != kinds.end();
    };
    return delta.snapshot() || delta.resume() ||
           std::ranges::any_of(delta.upsert(),
                               [&](const auto& object) {
                                   return among(static_cast<std::uint32_t>(object.kind_case()));
                               }) ||
           std::ranges::any_of(delta.remove(), [&](const auto& key) { return among(key.kind()); });
}

}  // namespace

void Node::disturb_health() const {
    const std::uint64_t one = 1;
    // full: whoever waits has been woken
    static_cast<void>(!::write(health_event_.get(), &one, sizeof(one)));
}

void Node::spread(const api::Delta& delta) {
    if (concerns(delta, {Kind::kPeer, Kind::kConfig})) {
        ++surroundings_version_;
    }
    if (concerns(delta, {Kind::kPeer, Kind::kConfig, Kind::kNic, Kind::kPool, Kind::kMove})) {
        disturb_health();
    }
}

void Node::recall_health(Core& core) {
    const auto rows = load_health(options_.data_dir / kHealth, this_moment());
    remembers_health_ = rows.has_value();
    for (const auto& [key, up] : rows.value_or(HealthRows{})) {
        core.applier->set_health(key, up);
    }
    core.health_changed = true;  // from now on there is a life that knew
}

Status Node::keep_health() {
    const auto rows = core_.with([](Core& core) {
        return std::exchange(core.health_changed, false)
                   ? std::optional(core.applier->health().rows())
                   : std::nullopt;
    });
    return rows ? save_health(options_.data_dir / kHealth, *rows, this_moment()) : Status();
}

Status Node::set_health(const HealthRows& changes, const std::set<std::uint32_t>& speaking) {
    return core_.with([&](Core& core) -> Status {
        for (const auto& [key, up] : changes) {
            core.health_changed = core.applier->set_health(key, up) || core.health_changed;
        }
        for (const std::uint32_t node : speaking) {
            core.applier->hear_of(node);
        }
        CULVERT_TRY_STATUS(refresh_pools(core));
        if (!end_flows(core)) {
            bell_.ring();  // who tends goes on
        }
        return {};
    });
}

bool Node::end_flows(Core& core) {
    core.ender->note(core.applier->take_ended());
    return core.ender->go_on(core.state, core.applier->tables());
}

HealthScene Node::health_scene() {
    return core_.with([](Core& core) {
        Applier& applier = *core.applier;
        HealthScene out;
        out.node = applier.node();
        for (const auto& [number, table] : applier.tables()) {
            const auto* object = core.state.find({Kind::kPool, table.pool, 0});
            if (object == nullptr) {
                continue;
            }
            for (const std::uint32_t index : table.members) {
                const auto* nic = core.state.nic(index);
                if (nic == nullptr) {
                    continue;
                }
                out.homes[index] = {.node = nic->node(),
                                    .other = nic->other_node(),
                                    .generation = nic->generation()};
                const HealthKey self{.nic = index, .generation = nic->generation()};
                out.known.insert(self);
                const Binding* binding = applier.carrying(*nic);
                const bool plumbed = binding != nullptr;
                const bool here = attached_on(*nic, out.node);
                if (here) {
                    out.plumbed[self] = plumbed || nic->other_node() != 0;
                }
                if (table.probe == 0) {
                    continue;
                }
                const auto& probe = object->pool().probes(static_cast<int>(table.probe) - 1);
                HealthKey key = self;
                key.pool = table.pool;
                key.probe = probe.id();
                out.known.insert(key);
                if (here) {
                    out.targets.push_back({.key = key,
                                           .address = net::Ipv4{nic->address()},
                                           .plumbed = plumbed,
                                           .ifindex = plumbed ? binding->ifindex : 0,
                                           .probe = probe});
                }
            }
        }
        applier.forget_health([&](const HealthKey& key) { return out.known.contains(key); });
        out.held = applier.health().rows();
        return out;
    });
}

std::vector<BackendView> Node::backends() {
    return core_.with([](Core& core) {
        const Applier& applier = *core.applier;
        std::vector<BackendView> out;
        for (const auto& [number, table] : applier.tables()) {
            const auto* object = core.state.find({Kind::kPool, table.pool, 0});
            for (const std::uint32_t index : table.members) {
                const auto* nic = core.state.nic(index);
                if (nic == nullptr || object == nullptr) {
                    continue;
                }
                BackendView view{.pool = object->pool().resource_id(),
                                 .nic = nic->id(),
                                 .node = nic->node(),
                                 .here = attached_on(*nic, applier.node()),
                                 .serving = std::ranges::binary_search(table.serving, index)};
                view.key = {.nic = index, .generation = nic->generation(), .pool = table.pool};
                if (table.probe != 0) {
                    view.probe = object->pool().probes(static_cast<int>(table.probe) - 1);
                    view.key.probe = view.probe->id();
                }
                const bool bare = view.here && applier.carrying(*nic) == nullptr;
                view.state = bare ? Health::State::kUnplumbed
                                  : applier.health().state(index, nic->generation(), table.pool,
                                                           view.key.probe, nic->node());
                out.push_back(std::move(view));
            }
        }
        std::ranges::sort(out, [](const BackendView& left, const BackendView& right) {
            return std::tie(left.pool, left.nic, left.key) <
                   std::tie(right.pool, right.nic, right.key);
        });
        return out;
    });
}

}  // namespace culvert::agent
