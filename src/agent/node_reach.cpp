// SPDX-License-Identifier: Apache-2.0
// The node's side of liveness: whom it reaches, what it drains, when it is fenced; and what it
// tells of itself.
#include "agent/node.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

constexpr const char* kConclusions = "conclusions.json";
constexpr auto kCountApart = 250ms;
constexpr auto kCountIdle = 10s;
constexpr int kCountRest = 4;

std::string cidr(const api::Nic& nic) {
    return fmt::format("{}/{}", net::Ipv4{nic.address()}.str(), nic.subnet().length());
}

}  // namespace

void add_in_use(const Held& held, AddressUses& out) {
    for (const NatAddress& which : held.in_use) {
        auto* use = out.Add();
        use->set_vnet(which.vnet);
        use->set_address(which.address.value);
    }
}

Status Node::refresh_pools(Core& core) {
    return core.applier->pools_stale() ? core.applier->refresh_pools(core.state) : Status();
}

// What the last life concluded, before anything of this one reaches the kernel.
void Node::recall(Core& core) {
    recall_health(core);
    if (!has_backbone()) {
        return;
    }
    auto known = load_conclusions(options_.data_dir / kConclusions, this_moment());
    core.applier->set_fenced(known.fenced);
    core.applier->expect_reach(reach_of(known.verdicts));
    core.verdicts = std::move(known.verdicts);
    // neither of them knows yet how long the control plane has been away
    core.isolated_at = std::chrono::steady_clock::now();
    if (known.fenced || !core.verdicts.peers.empty()) {
        spdlog::info("agent: goes on with fenced={} isolated={} peers closed={}", known.fenced,
                     core.verdicts.isolated, core.verdicts.peers.size());
    }
    if (auto kept = keep_conclusions(core, known.fenced); !kept) {
        spdlog::warn("agent: {}", kept.error().message);
    }
}

Status Node::keep_conclusions(const Core& core, bool fenced) const {
    return save_conclusions(options_.data_dir / kConclusions,
                            {.fenced = fenced, .verdicts = core.verdicts}, this_moment());
}

Verdicts Node::verdicts() {
    return core_.with([](Core& core) { return core.verdicts; });
}

// The kernel first: the file is for a later life.
Status Node::set_verdicts(const Verdicts& verdicts) {
    return core_.with([&](Core& core) -> Status {
        CULVERT_TRY_STATUS(core.applier->set_reach(reach_of(verdicts)));
        CULVERT_TRY_STATUS(refresh_pools(core));
        core.verdicts = verdicts;
        return keep_conclusions(core, core.applier->fenced());
    });
}

Status Node::forget_verdicts() {
    if (verdicts() != Verdicts{}) {
        CULVERT_TRY_STATUS(set_verdicts({}));
    }
    return core_.with(
        [&](Core& core) { return core.applier->fenced() ? set_fenced(core, false) : Status(); });
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
    // the file says so for as long as the kernel does: a life that ends in between begins fenced
    Status kept = fenced ? keep_conclusions(core, true) : Status();
    const auto* config = core.state.config();
    if (config != nullptr) {
        CULVERT_TRY_STATUS(core.applier->apply_config(*config));
    }
    return fenced ? std::move(kept) : keep_conclusions(core, false);
}

std::optional<std::uint64_t> Node::remaining_flows() {
    return core_.with([](Core& core) -> std::optional<std::uint64_t> {
        const bool counted =
            core.applier->draining() && core.remaining_drain == core.applier->drains();
        return counted ? std::optional(core.remaining) : std::nullopt;
    });
}

api::Heartbeat Node::heartbeat() {
    api::Heartbeat out;
    const Held now = held();
    out.set_version(now.version);
    add_in_use(now, *out.mutable_in_use());
    if (const auto remaining = remaining_flows()) {
        out.set_draining(true);
        out.set_remaining_flows(*remaining);
    }
    return out;
}

Status Node::mind_nat(Core& core) {
    auto ended = core.nat->look(core.state, std::chrono::steady_clock::now());
    if (!ended) {
        return std::unexpected(prefixed(std::move(ended.error()), "removed NAT addresses"));
    }
    reset_ends(core, *ended);
    return {};
}

SteadyTime Node::count_remaining(const std::stop_token& stop) {
    const auto start = std::chrono::steady_clock::now();
    const auto drain = core_.with([](Core& core) {
        return core.applier->draining() ? std::optional(core.applier->drains()) : std::nullopt;
    });
    if (!drain) {
        return start + kCountIdle;
    }
    if (start < count_at_) {
        return count_at_;
    }
    const auto count = maps_->delivered_flows(stop);
    if (stop.stop_requested()) {
        return start;
    }
    if (count) {
        core_.with([&](Core& core) {
            core.remaining_drain = *drain;
            core.remaining = *count;
        });
    } else {
        spdlog::warn("agent: count connections: {}", count.error().message);
    }
    const auto end = std::chrono::steady_clock::now();
    // walking a large table must not become this machine's work
    count_at_ = end + std::max<std::chrono::nanoseconds>(kCountApart, kCountRest * (end - start));
    return count_at_;
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

NodeStatus Node::status() {
    NodeStatus out;
    out.held = held();
    out.flow_limit = datapath_->sizes().flows;
    out.flows = maps_->flows().value_or(0);
    auto active = datapath_->layout();
    const auto draining = datapath_->draining();
    active.flows = out.flows;
    if (draining) {
        active.flows -= std::min(active.flows, draining->flows);
    }
    out.layouts.push_back(active);
    if (draining) {
        out.layouts.push_back(*draining);
    }
    out.flow_quota = datapath::share(datapath_->sizes().flows, options_.quotas.flows);
    out.charged = maps_->held(0).value_or(cv_held{});
    out.attach_mode = plumber_.with([](std::unique_ptr<Plumber>& plumber) {
        return std::string(datapath::to_string(plumber->mode()));
    });
    out.backbone = options_.backbone;
    out.outer = identity_.outer;
    core_.with([&](Core& core) {
        out.workload_mtu = core.backbone.workload_mtu();
        out.fenced = core.applier->fenced();
        for (const auto& [key, object] : core.state.objects()) {
            out.links += object.has_link() ? 1 : 0;
        }
        for (const auto& [index, binding] : core.bindings) {
            const auto* nic = core.state.nic(index);
            out.interfaces.push_back(
                {.binding = binding,
                 .address = nic == nullptr ? std::string() : cidr(*nic),
                 .carrying = nic != nullptr && core.applier->carrying(*nic) != nullptr,
                 .charged = maps_->held(index).value_or(cv_held{})});
        }
    });
    return out;
}

}  // namespace culvert::agent
