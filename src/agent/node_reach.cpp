// SPDX-License-Identifier: Apache-2.0
// The node's side of liveness: whom it reaches, what it drains, when it is fenced.
#include "agent/node.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

namespace culvert::agent {

Status Node::refresh_pools(Core& core) {
    return core.applier->pools_stale() ? core.applier->refresh_pools(core.state) : Status();
}

Status Node::set_reach(const Reach& reach) {
    return core_.with([&](Core& core) -> Status {
        CULVERT_TRY_STATUS(core.applier->set_reach(reach));
        return refresh_pools(core);
    });
}

void Node::leased(const api::Lease& lease) {
    core_.with([&](Core& core) {
        core.leased_at = std::chrono::steady_clock::now();
        core.newest_epoch = lease.epoch();
        core.newest_version = lease.version();
    });
}

bool Node::is_leased(SteadyTime now) {
    return core_.with([&](Core& core) { return now - core.leased_at < limits::kLease; });
}

Status Node::mind_fence(SteadyTime now, bool isolated, bool many) {
    return core_.with([&](Core& core) -> Status {
        const bool leased = now - core.leased_at < limits::kLease;
        if (isolated) {
            core.isolated_at = now;
        }
        if (!core.applier->fenced()) {
            return isolated && !leased ? set_fenced(core, true) : Status();
        }
        const bool whole =
            core.newest_epoch.empty() || (core.newest_epoch == core.state.epoch() &&
                                          core.newest_version <= core.state.version());
        const std::chrono::seconds wait = many ? limits::kLease : limits::kFence;
        const bool alone = !leased && now - core.isolated_at >= wait;
        return (leased && whole) || alone ? set_fenced(core, false) : Status();
    });
}

Status Node::set_fenced(Core& core, bool fenced) {
    if (fenced) {
        spdlog::warn("agent: fenced: neither peers nor the control plane answer");
    } else {
        spdlog::info("agent: no longer fenced version={}", core.state.version());
    }
    core.applier->set_fenced(fenced);
    const auto* config = core.state.config();
    return config == nullptr ? Status() : core.applier->apply_config(*config);
}

std::optional<std::uint64_t> Node::remaining_flows() {
    if (!core_.with([](Core& core) { return core.applier->draining(); })) {
        return std::nullopt;
    }
    const auto count = maps_->delivered_flows();
    return count ? std::optional(*count) : std::nullopt;
}

Surroundings Node::surroundings() {
    return core_.with([&](Core& core) {
        Surroundings out;
        out.node = core.applier->node();
        if (const auto* config = core.state.config(); config != nullptr) {
            out.udp_port = options_.udp_port != 0 ? options_.udp_port
                                                  : static_cast<std::uint16_t>(config->udp_port());
        }
        out.backbone = options_.backbone;
        out.backbone_ifindex = core.backbone.ifindex;
        out.outer = core.backbone.outer;
        for (const auto& [index, image] : core.applier->peers()) {
            const auto* object = core.state.find({api::Object::kPeer, index, 0});
            out.peers[index] = {.name = object == nullptr ? std::string() : object->peer().name(),
                                .outer = image.outer};
        }
        return out;
    });
}

}  // namespace culvert::agent
