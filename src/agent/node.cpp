// SPDX-License-Identifier: Apache-2.0
#include "agent/node.hpp"
#include "agent/six.hpp"

#include "base/log.hpp"
#include "datapath/layout.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

namespace culvert::agent {
namespace {

constexpr std::string_view kNoBackbone = "none";
constexpr auto kTendEvery = std::chrono::seconds(1);
// next hops are asked for again every so many times
constexpr std::uint32_t kRouteTurns = 10;
constexpr int kDrainRest = 20;
constexpr auto kEndFor = std::chrono::milliseconds(500);  // connections, before other work
constexpr auto kEndApart = std::chrono::milliseconds(2);

datapath::MapSizes sizes_of(const State& state, std::uint32_t flows) {
    datapath::MapSizes out;
    out.flows = flows;
    if (const auto* config = state.config(); config != nullptr) {
        // never smaller than at the first start, when no limit was known
        out.nics = std::max(out.nics, config->nic_limit());
        out.links = std::max(out.links, config->link_limit());
    }
    return out;
}

}  // namespace

Node::Node(NodeOptions options, const Identity& identity)
    : options_(std::move(options)),
      identity_(identity),
      health_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<std::unique_ptr<Node>> Node::open(const NodeOptions& options, const Identity& identity) {
    auto out = std::unique_ptr<Node>(new Node(options, identity));
    if (auto started = out->start(); !started) {
        return std::unexpected(std::move(started.error()));
    }
    return out;
}

Status Node::start() {
    return plumber_.with([&](std::unique_ptr<Plumber>& plumber) {
        return core_.with([&](Core& core) -> Status {
            auto disk = Disk::open(options_.data_dir / "intent.log", core.state);
            if (!disk) {
                return std::unexpected(std::move(disk.error()));
            }
            core.disk = std::move(*disk);
            auto datapath = datapath::Datapath::open({.pin_dir = options_.pin_dir,
                                                      .sizes = sizes_of(core.state, options_.flows),
                                                      .quotas = options_.quotas,
                                                      .idle_unit = options_.idle_unit});
            if (!datapath) {
                return std::unexpected(std::move(datapath.error()));
            }
            datapath_ = std::move(*datapath);
            auto maps = datapath::Maps::open(*datapath_);
            if (!maps) {
                return std::unexpected(std::move(maps.error()));
            }
            maps_ = std::move(*maps);
            auto transfer = datapath::Transfer::open(*datapath_);
            if (!transfer) {
                return std::unexpected(std::move(transfer.error()));
            }
            transfer_ = std::move(*transfer);
            auto routes = datapath::Netlink::open();
            if (!routes) {
                return std::unexpected(std::move(routes.error()));
            }
            routes_ = std::move(*routes);
            auto opened =
                Plumber::open(*datapath_, options_.force_clsact, owner_of(options_.data_dir));
            if (!opened) {
                return std::unexpected(std::move(opened.error()));
            }
            plumber = std::move(*opened);
            return restore(*plumber, core);
        });
    });
}

// Interfaces, then maps, then the programs, then the stubs that lead to them: no packet meets a
// half-made image, and until it is whole the programs of the earlier life go on.
Status Node::restore(Plumber& plumber, Core& core) {
    CULVERT_TRY_STATUS(find_interfaces(plumber, core));
    core.applier = std::make_unique<Applier>(*maps_, core.bindings,
                                             [this](const datapath::OuterAddress& outer) {
                                                 const auto route = routes_->route_to(outer);
                                                 return route ? route->next_hop : outer;
                                             });
    recall(core);
    core.mover = std::make_unique<Mover>(core.state, *core.applier, core.bindings, *transfer_,
                                         options_.data_dir / "moves");
    core.nat = std::make_unique<NatDrain>(options_.data_dir / "nat.json", options_.nat_drain,
                                          *maps_, *transfer_);
    core.ender = std::make_unique<FlowEnder>(*maps_, *transfer_);
    core.nat->recall(core.state);
    if (options_.backbone != kNoBackbone) {
        const auto outer = datapath::OuterAddress::parse(identity_.outer);
        if (!outer) {
            return std::unexpected(outer.error());
        }
        auto backbone = plumber.backbone(options_.backbone, *outer);
        if (!backbone) {
            return std::unexpected(prefixed(std::move(backbone.error()), "backbone"));
        }
        core.backbone = *backbone;
        const auto own = plumber.netlink().addresses(backbone->ifindex);
        if (own && std::find(own->begin(), own->end(), *outer) == own->end()) {
            spdlog::warn("agent: {} is no address of {}: other nodes' packets will not arrive",
                         outer->str(), options_.backbone);
        }
    }
    core.applier->set_local(core.backbone, options_.udp_port);
    for (const Change& change : core.state.everything()) {
        CULVERT_TRY_STATUS(core.applier->apply(change));
    }
    if (!core.state.epoch().empty()) {
        CULVERT_TRY_STATUS(core.applier->retain(core.state));
        core.pruned = true;
    }
    CULVERT_TRY_STATUS(core.nat->stand());
    CULVERT_TRY_STATUS(datapath_->activate());
    if (auto resumed = core.mover->resume(); !resumed) {
        spdlog::error("agent: move: {}", resumed.error().message);
    }
    CULVERT_TRY_STATUS(attach_stubs(plumber, core));
    spdlog::info("agent: data plane ready node={} objects={} version={} interfaces={}",
                 identity_.name, core.state.objects().size(), core.state.version(),
                 core.bindings.size());
    return {};
}

// The interfaces made in an earlier life.
Status Node::find_interfaces(Plumber& plumber, Core& core) {
    auto bindings = load_bindings(options_.data_dir / "interfaces.json");
    if (!bindings) {
        return std::unexpected(std::move(bindings.error()));
    }
    core.bindings = std::move(*bindings);
    plumber.sweep();
    plumber.remove_strays(core.bindings);
    for (auto& [index, binding] : core.bindings) {
        binding.ifindex = plumber.find(binding.host_ifname);
        if (binding.ifindex == 0) {
            spdlog::warn("agent: interface is gone nic={} host_ifname={}", index,
                         binding.host_ifname);
        }
    }
    return {};
}

Status Node::attach_stubs(Plumber& plumber, const Core& core) {
    for (const auto& [index, binding] : core.bindings) {
        if (binding.ifindex == 0) {
            continue;
        }
        const auto attached = plumber.attach(binding.ifindex, datapath::Hook::kWorkload);
        if (!attached) {
            // the stub of the earlier life still leads to the programs of this one
            spdlog::error("agent: nic={} host_ifname={}: {}", index, binding.host_ifname,
                          attached.error().message);
        }
    }
    if (core.backbone.ifindex == 0) {
        return {};
    }
    const auto attached = plumber.attach(core.backbone.ifindex, datapath::Hook::kBackbone);
    return attached ? Status() : std::unexpected(prefixed(attached.error(), "backbone"));
}

Held Node::held() {
    return core_.with([](Core& core) {
        Held out{.epoch = core.state.epoch(),
                 .version = core.state.version(),
                 .plumbed = {},
                 .in_use = {}};
        for (const auto& [index, binding] : core.bindings) {
            if (binding.ifindex != 0) {
                out.plumbed.push_back(binding.nic_id);
            }
        }
        for (const auto& [which, use] : core.nat->uses()) {
            out.in_use.push_back(which);
        }
        return out;
    });
}

std::vector<std::string> Node::parts() {
    return core_.with([](Core& core) {
        const State& state = core.state;
        if (state.epoch().empty()) {
            return std::vector<std::string>();
        }
        if (core.parts.empty() || core.parts_epoch != state.epoch() ||
            core.parts_version != state.version()) {
            core.parts = state.parts();
            core.parts_epoch = state.epoch();
            core.parts_version = state.version();
        }
        return core.parts;
    });
}

Result<std::uint64_t> Node::receive(const api::Delta& delta) {
    const auto start = std::chrono::steady_clock::now();
    Outbox out;
    auto version = core_.with([&](Core& core) -> Result<std::uint64_t> {
        const auto plan = core.state.plan(delta);
        if (!plan) {
            ++counts_.refused;
            return std::unexpected(plan.error());
        }
        const auto* config = core.state.config();
        for (const auto& object : delta.upsert()) {
            config = object.has_config() ? &object.config() : config;
        }
        const auto& sizes = datapath_->sizes();
        if (config->nic_limit() > sizes.nics || config->link_limit() > sizes.links) {
            ++counts_.refused;
            return fail(
                Code::kTooLarge,
                fmt::format("delta: limits of {} NICs and {} links are larger than the maps "
                            "({}, {}): start the agent again",
                            config->nic_limit(), config->link_limit(), sizes.nics, sizes.links));
        }
        const bool known =
            !delta.snapshot() && !delta.resume() && delta.version() <= core.state.version();
        if (auto applied = apply(core, *plan); !applied) {
            ++counts_.failed;
            return std::unexpected(std::move(applied.error()));
        }
        if (!known) {
            if (auto kept = core.disk->append(delta); !kept) {
                ++counts_.failed;
                core.state.forget_version();
                return std::unexpected(std::move(kept.error()));
            }
        }
        ++counts_.applied;
        out = moves_changed(core, *plan);
        return core.state.version();
    });
    spread(delta);
    counts_.took.observe(std::chrono::steady_clock::now() - start);
    send(out);
    take_over_due();
    bell_.ring();
    return version;
}

Result<Plumbed> Node::plumb(const PlumbWish& wish) {
    if (!wish.tap && !is_ifname(wish.ifname)) {
        return fail(Code::kInvalidArgument,
                    fmt::format("plumb: '{}' is not an interface name", wish.ifname), "ifname");
    }
    const auto nic = attached(wish);
    if (!nic) {
        return std::unexpected(nic.error());
    }
    return plumber_.with([&](std::unique_ptr<Plumber>& plumber) {
        return wish.tap ? plumb_tap(*plumber, wish, *nic) : plumb_locked(*plumber, wish, *nic);
    });
}

// True when the interface is there as wished. An interface that is gone, or of an earlier
// attachment, is cleaned up after.
Result<bool> Node::settled(Plumber& plumber, const api::Nic& nic,
                           const std::function<bool(const Binding&)>& as_wished) {
    const auto binding = core_.with([&](Core& core) -> std::optional<Binding> {
        const auto found = core.bindings.find(nic.index());
        return found == core.bindings.end() ? std::nullopt : std::optional(found->second);
    });
    if (!binding) {
        return false;
    }
    const bool here = plumber.find(binding->host_ifname) != 0;
    if (!here || binding->attachment != nic.attachment()) {
        if (auto removed = unbind(plumber, nic.index()); !removed) {
            return std::unexpected(std::move(removed.error()));
        }
        return false;
    }
    if (!as_wished(*binding)) {
        const auto user = binding->tap_user ? fmt::format("user {}", *binding->tap_user) : "root";
        return fail(Code::kConflict,
                    fmt::format("plumb: the network interface is {} {} already: detach it first",
                                binding->ifname,
                                binding->is_tap() ? fmt::format("(a TAP interface of {})", user)
                                                  : fmt::format("in {}", binding->netns)),
                    nic.id());
    }
    return true;
}

// All but the interface's name: that is chosen with it.
Plumbed Node::facts_of(const api::Nic& nic) {
    const auto mtu = core_.with([](Core& core) { return core.backbone.workload_mtu(); });
    return {.host_ifname = host_ifname(nic.index()),
            .mac = net::Mac::of_nic(nic.index()),
            .address = net::Ipv4{nic.address()},
            .length = static_cast<std::uint8_t>(nic.subnet().length()),
            .gateway = net::Ipv4{nic.gateway()},
            .six = six_of(nic),
            .mtu = mtu};
}

Result<Plumbed> Node::plumb_locked(Plumber& plumber, const PlumbWish& wish, const api::Nic& nic) {
    const auto netns = datapath::open_netns(wish.netns);
    if (!netns) {
        return std::unexpected(prefixed(netns.error(), "plumb"));
    }
    if (wish.move) {
        if (auto free = may_stand_in(netns->fd.get(), wish.ifname, nic.index()); !free) {
            return std::unexpected(prefixed(std::move(free.error()), "plumb"));
        }
    }
    const auto done = settled(plumber, nic, [&](const Binding& binding) {
        return binding.same_namespace(netns->device, netns->inode) &&
               binding.ifname == wish.ifname && !binding.is_tap();
    });
    if (!done) {
        return std::unexpected(done.error());
    }
    Plumbed out = facts_of(nic);
    if (*done) {
        if (wish.move) {
            announce();
        }
        return out;
    }
    const auto ifindex =
        plumber.make({.index = nic.index(),
                      .address = out.address,
                      .length = out.length,
                      .gateway = out.gateway,
                      .six = out.six,
                      .mtu = out.mtu,
                      .netns = netns->fd.get(),
                      .ifname = wish.move ? waiting_ifname(nic.index()) : wish.ifname,
                      .waiting = wish.move});
    if (!ifindex) {
        return std::unexpected(prefixed(ifindex.error(), "plumb"));
    }
    auto bound = bind(plumber, {.nic_id = nic.id(),
                                .attachment = nic.attachment(),
                                .index = nic.index(),
                                .netns = wish.netns,
                                .netns_device = netns->device,
                                .netns_inode = netns->inode,
                                .ifname = wish.ifname,
                                .waiting = wish.move ? waiting_ifname(nic.index()) : std::string(),
                                .on_trial = wish.move,
                                .host_ifname = out.host_ifname,
                                .ifindex = *ifindex});
    if (!bound) {
        return std::unexpected(prefixed(std::move(bound.error()), "plumb"));
    }
    spdlog::info("agent: plumbed nic={} ifname={} netns={}", nic.index(), wish.ifname, wish.netns);
    if (wish.move) {
        announce();
    }
    return out;
}

// The interface carries from here on, unless the NIC was detached meanwhile.
Status Node::bind(Plumber& plumber, const Binding& binding) {
    auto bound = core_.with([&](Core& core) -> Status {
        const auto* nic = core.state.nic(binding.index);
        if (nic == nullptr || core.applier->attachment_here(*nic) != binding.attachment) {
            return fail(Code::kConflict, "the network interface was detached meanwhile");
        }
        core.bindings[binding.index] = binding;
        CULVERT_TRY_STATUS(core.applier->apply_nic(*nic));
        return refresh_pools(core);
    });
    disturb_health();
    if (bound) {
        bound = keep_bindings();
    }
    if (!bound) {
        core_.with([&](Core& core) { core.bindings[binding.index] = binding; });
        static_cast<void>(unbind(plumber, binding.index));
    }
    return bound;
}

Status Node::unbind(Plumber& plumber, std::uint32_t index) {
    Binding gone;
    auto silenced = core_.with([&](Core& core) -> Status {
        const auto found = core.bindings.find(index);
        if (found == core.bindings.end()) {
            return {};
        }
        gone = found->second;
        core.bindings.erase(found);
        if (gone.ifindex != 0) {
            CULVERT_TRY_STATUS(maps_->clear_port(gone.ifindex));
        }
        const auto* nic = core.state.nic(index);
        CULVERT_TRY_STATUS(nic == nullptr ? Status() : core.applier->apply_nic(*nic));
        return refresh_pools(core);
    });
    disturb_health();
    const std::uint32_t ifindex = plumber.find(gone.host_ifname);
    if (ifindex != 0) {
        stand_back(gone);
        CULVERT_TRY_STATUS(plumber.remove(ifindex));
    }
    plumber.sweep();
    CULVERT_TRY_STATUS(keep_bindings());
    return silenced;
}

Status Node::keep_bindings() {
    const auto bindings = core_.with([](Core& core) { return core.bindings; });
    return save_bindings(options_.data_dir / "interfaces.json", bindings);
}

Result<bool> Node::unplumb(const std::string& nic_id) {
    return plumber_.with([&](std::unique_ptr<Plumber>& plumber) -> Result<bool> {
        const auto index = core_.with([&](Core& core) -> std::uint32_t {
            for (const auto& [at, binding] : core.bindings) {
                if (lower(binding.nic_id) == lower(nic_id)) {
                    return at;
                }
            }
            return 0;
        });
        if (index == 0) {
            return false;
        }
        if (auto removed = unbind(*plumber, index); !removed) {
            return std::unexpected(std::move(removed.error()));
        }
        spdlog::info("agent: unplumbed nic={}", index);
        return true;
    });
}

// Bindings whose attachment is no longer in force. Without an intent nothing is known to be stale.
std::vector<std::uint32_t> Node::stale() {
    return core_.with([](Core& core) {
        std::vector<std::uint32_t> out;
        if (core.state.epoch().empty()) {
            return out;
        }
        for (const auto& [index, binding] : core.bindings) {
            const auto* nic = core.state.nic(index);
            if (nic == nullptr || core.applier->attachment_here(*nic) != binding.attachment) {
                out.push_back(index);
            }
        }
        return out;
    });
}

Status Node::watch_backbone(Plumber& plumber) {
    if (options_.backbone == kNoBackbone) {
        return {};
    }
    const auto before = core_.with([](Core& core) { return core.backbone; });
    auto now = plumber.backbone(options_.backbone, before.outer);
    if (!now && now.error().code == Code::kNotFound) {
        now = Backbone{.ifindex = 0, .mtu = before.mtu, .outer = before.outer};
    }
    if (!now) {
        return std::unexpected(std::move(now.error()));
    }
    if (*now == before) {
        return {};
    }
    spdlog::warn("agent: backbone changed ifname={} ifindex={} mtu={}", options_.backbone,
                 now->ifindex, now->mtu);
    if (now->ifindex != 0 && now->ifindex != before.ifindex) {
        if (auto attached = plumber.attach(now->ifindex, datapath::Hook::kBackbone); !attached) {
            return std::unexpected(std::move(attached.error()));
        }
        plumber.sweep();
    }
    ++surroundings_version_;
    disturb_health();
    return core_.with([&](Core& core) -> Status {
        core.backbone = *now;
        core.applier->set_local(*now, options_.udp_port);
        const auto* config = core.state.config();
        return config == nullptr ? Status() : core.applier->apply_config(*config);
    });
}

void Node::tend() {
    const auto say = [](const Status& status) {
        if (!status) {
            spdlog::warn("agent: {}", status.error().message);
        }
    };
    const auto now = std::chrono::steady_clock::now();
    const bool due = now - tended_ >= kTendEvery;
    plumber_.with([&](std::unique_ptr<Plumber>& plumber) {
        for (const std::uint32_t index : stale()) {
            spdlog::info("agent: detached nic={}", index);
            say(unbind(*plumber, index));
        }
        say(settle_bindings());
        if (due) {
            say(watch_backbone(*plumber));
        }
    });
    for (const auto end = now + kEndFor;
         !core_.with([&](Core& core) { return end_flows(core); });) {
        if (std::chrono::steady_clock::now() >= end) {
            bell_.ring();  // the rest of this comes first
            break;
        }
        std::this_thread::sleep_for(kEndApart);  // others have the node meanwhile
    }
    if (!due) {
        return;
    }
    tended_ = now;
    advertise_router(now);
    if (now >= drain_at_) {
        say(datapath_->drain());
        // counting a large table must not become this thread's work
        const auto took = std::chrono::steady_clock::now() - now;
        drain_at_ = now + kDrainRest * took;
    }
    const bool routes = ++turns_ % kRouteTurns == 0;
    const auto unsynced = core_.with([&](Core& core) {
        if (routes) {
            say(core.applier->refresh_peers());
            if (core.verdicts != Verdicts{}) {
                say(keep_conclusions(core, core.applier->fenced()));  // they hold still
            }
        }
        say(refresh_pools(core));
        if (now >= nat_at_ && !core.nat->empty()) {
            say(mind_nat(core));
            nat_at_ = now + kDrainRest * (std::chrono::steady_clock::now() - now);
        }
        say(core.disk->compact(core.state));
        return core.disk->take_unsynced();
    });
    if (unsynced && ::fdatasync(unsynced.get()) != 0) {
        say(std::unexpected(error_from_errno(errno, "keep intent")));
    }
}

bool Node::has_backbone() const { return options_.backbone != kNoBackbone; }

}  // namespace culvert::agent
