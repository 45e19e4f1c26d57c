// SPDX-License-Identifier: Apache-2.0
#include "agent/plumber.hpp"

#include "abi/alias.h"
#include "agent/frames.hpp"
#include "base/log.hpp"
#include "datapath/tap.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::agent {
namespace {

// UDP super-packets do not outlive the outer headers: a receiver takes them for tunnels still. So
// the workload's kernel cuts them.
constexpr std::string_view kUdpSegmentation = "tx-udp-segmentation";
constexpr std::uint8_t kWholeAddress = 32;
constexpr std::uint8_t kSixLength = 64;
constexpr std::size_t kIfnameChars = 15;
constexpr std::size_t kAliasChars = 255;  // IFALIASZ less the closing zero

// Its address and route; what an earlier life of the agent has given it is left.
Status equip(datapath::Netlink& inside, const InterfaceWish& wish, std::uint32_t ifindex) {
    const auto given = [](const Status& status) {
        return status || status.error().code == Code::kConflict;
    };
    if (auto added = inside.add_address(ifindex, wish.address, wish.length); !given(added)) {
        return added;
    }
    CULVERT_TRY_STATUS(inside.set_up(ifindex));
    auto routed = inside.add_default_route(ifindex, wish.gateway);
    if (!given(routed)) {
        return routed;
    }
    if (wish.six) {
        auto added = inside.add_address(ifindex, *wish.six, kSixLength);
        if (!given(added)) {
            return std::unexpected(prefixed(
                std::move(added.error()),
                "the namespace takes no IPv6 (is net.ipv6.conf.*.disable_ipv6 set there?)"));
        }
        if (auto by = inside.add_default_route(ifindex, kSixRouter); !given(by)) {
            return by;
        }
    }
    // probes are answered by this interface, whatever other way out there is
    auto platform =
        inside.add_route(ifindex, {net::Ipv4{CV_PLATFORM_ADDRESS}, kWholeAddress}, wish.gateway);
    return given(platform) ? Status() : platform;
}

Status replace(datapath::Netlink& inside, const InterfaceWish& wish, std::uint32_t coming,
               std::uint32_t former) {
    if (former != 0) {
        CULVERT_TRY_STATUS(inside.set_down(former));
        CULVERT_TRY_STATUS(inside.rename(former, former_ifname(wish.index)));
    }
    CULVERT_TRY_STATUS(inside.rename(coming, wish.ifname));
    return equip(inside, wish, coming);
}

}  // namespace

std::string owner_of(const std::filesystem::path& data_dir) {
    return fmt::format("culvert {}", data_dir.string()).substr(0, kAliasChars);
}

std::string host_ifname(std::uint32_t index) { return fmt::format("cv{:x}", index); }

std::string waiting_ifname(std::uint32_t index) { return fmt::format("cvnew{:x}", index); }
std::string former_ifname(std::uint32_t index) { return fmt::format("cvold{:x}", index); }

Status may_stand_in(int netns, const std::string& ifname, std::uint32_t index) {
    auto inside = datapath::Netlink::open_in(netns);
    if (!inside) {
        return std::unexpected(std::move(inside.error()));
    }
    const auto link = (*inside)->link(ifname);
    if (!link && link.error().code == Code::kNotFound) {
        return {};
    }
    if (!link) {
        return std::unexpected(link.error());
    }
    if (link->mac != net::Mac::of_nic(index)) {
        return fail(Code::kConflict,
                    fmt::format("{} is there and is not this network interface's: it has the MAC "
                                "address {}",
                                ifname, link->mac.str()),
                    "ifname");
    }
    return {};
}

Status stand_in(const InterfaceWish& wish, const std::string& waiting) {
    auto inside = datapath::Netlink::open_in(wish.netns);
    if (!inside) {
        return std::unexpected(std::move(inside.error()));
    }
    const auto coming = (*inside)->link(waiting);
    const auto former = (*inside)->link(wish.ifname);
    if (!coming && coming.error().code == Code::kNotFound && former) {
        return equip(**inside, wish, former->ifindex);  // it stands in already
    }
    if (!coming) {
        return std::unexpected(coming.error());
    }
    auto done = replace(**inside, wish, coming->ifindex, former ? former->ifindex : 0);
    if (!done && former) {
        static_cast<void>((*inside)->set_down(coming->ifindex));
        static_cast<void>((*inside)->rename(coming->ifindex, waiting));
        static_cast<void>((*inside)->rename(former->ifindex, wish.ifname));
        static_cast<void>((*inside)->set_up(former->ifindex));
        static_cast<void>((*inside)->add_default_route(former->ifindex, wish.gateway));
    }
    return done;
}

Status stand_back(const InterfaceWish& wish, const std::string& waiting) {
    auto inside = datapath::Netlink::open_in(wish.netns);
    if (!inside) {
        return std::unexpected(std::move(inside.error()));
    }
    const auto former = (*inside)->link(former_ifname(wish.index));
    const auto gone = (*inside)->link(wish.ifname);
    if (!former || (gone && (*inside)->link(waiting))) {
        return {};  // there was none, or it has not stepped aside
    }
    if (gone) {
        CULVERT_TRY_STATUS((*inside)->set_down(gone->ifindex));
        CULVERT_TRY_STATUS((*inside)->rename(gone->ifindex, waiting));
    }
    CULVERT_TRY_STATUS((*inside)->rename(former->ifindex, wish.ifname));
    CULVERT_TRY_STATUS((*inside)->set_up(former->ifindex));
    if (wish.six) {  // the kernel takes it away with the link
        CULVERT_TRY_STATUS((*inside)->add_address(former->ifindex, *wish.six, kSixLength));
        CULVERT_TRY_STATUS((*inside)->add_default_route(former->ifindex, kSixRouter));
    }
    return (*inside)->add_default_route(former->ifindex, wish.gateway);
}

bool is_ifname(std::string_view name) {
    return !name.empty() && name.size() <= kIfnameChars && name != "." && name != ".." &&
           std::all_of(name.begin(), name.end(), [](char letter) {
               return letter > ' ' && letter < 0x7f && letter != '/' && letter != ':';
           });
}

bool is_tap_name(std::string_view name) {
    return is_ifname(name) && !name.contains('%') && !name.contains(',');
}

Result<std::unique_ptr<Plumber>> Plumber::open(const datapath::Datapath& datapath,
                                               bool force_clsact, std::string owner) {
    auto netlink = datapath::Netlink::open();
    if (!netlink) {
        return std::unexpected(std::move(netlink.error()));
    }
    auto out = std::unique_ptr<Plumber>(new Plumber);
    out->netlink_ = std::move(*netlink);
    out->attacher_ = datapath::Attacher::make(datapath, force_clsact);
    out->owner_ = std::move(owner);
    return out;
}

Result<datapath::AttachMode> Plumber::attach(std::uint32_t ifindex, datapath::Hook hook) {
    return attacher_->attach(ifindex, hook);
}

Status Plumber::make_inside(const InterfaceWish& wish) {
    auto inside = datapath::Netlink::open_in(wish.netns);
    if (!inside) {
        return std::unexpected(std::move(inside.error()));
    }
    const auto link = (*inside)->link(wish.ifname);
    if (!link) {
        return std::unexpected(link.error());
    }
    CULVERT_TRY_STATUS((*inside)->disable_feature(wish.ifname, kUdpSegmentation));
    return wish.waiting ? Status() : equip(**inside, wish, link->ifindex);
}

Result<std::uint32_t> Plumber::make_host(const std::string& name) {
    if (auto quiet = datapath::disable_ipv6(name); !quiet) {
        spdlog::warn("agent: {}", quiet.error().message);  // noise, no danger: it is dropped
    }
    const auto link = netlink_->link(name);
    if (!link) {
        return std::unexpected(link.error());
    }
    if (auto attached = attach(link->ifindex, datapath::Hook::kWorkload); !attached) {
        return std::unexpected(std::move(attached.error()));
    }
    if (auto up = netlink_->set_up(link->ifindex); !up) {
        return std::unexpected(std::move(up.error()));
    }
    return link->ifindex;
}

Result<std::uint32_t> Plumber::make(const InterfaceWish& wish) {
    const datapath::VethRequest request{.host_name = host_ifname(wish.index),
                                        .host_alias = owner_,
                                        .host_mac = net::Mac::of_nic(0),
                                        .peer_netns = wish.netns,
                                        .peer_name = wish.ifname,
                                        .peer_mac = net::Mac::of_nic(wish.index),
                                        .mtu = wish.mtu};
    if (auto made = netlink_->make_veth(request); !made) {
        return std::unexpected(std::move(made.error()));
    }
    auto host = make_host(request.host_name);
    if (host) {
        if (auto inside = make_inside(wish); !inside) {
            host = std::unexpected(std::move(inside.error()));
        }
    }
    if (!host) {
        clear_away(request.host_name);
    }
    return host;
}

Result<std::uint32_t> Plumber::make_tap(const std::string& name, std::uint32_t mtu,
                                        std::optional<std::uint32_t> user) {
    const datapath::TapRequest request{
        .name = name, .alias = owner_, .mac = net::Mac::of_nic(0), .mtu = mtu, .user = user};
    if (auto made = datapath::make_tap(*netlink_, request); !made) {
        return std::unexpected(std::move(made.error()));
    }
    auto host = make_host(name);
    if (!host) {
        clear_away(name);
    }
    return host;
}

void Plumber::clear_away(const std::string& name) {
    if (const auto left = netlink_->link(name)) {
        static_cast<void>(remove(left->ifindex));
    }
}

Status Plumber::remove(std::uint32_t ifindex) {
    if (auto detached = attacher_->detach(ifindex); !detached) {
        spdlog::warn("agent: {}", detached.error().message);  // goes with the interface
    }
    auto removed = netlink_->remove_link(ifindex);
    if (!removed && removed.error().code != Code::kNotFound) {
        return removed;
    }
    return {};
}

std::uint32_t Plumber::find(const std::string& host_ifname) {
    const auto link = netlink_->link(host_ifname);
    return link && link->alias == owner_ ? link->ifindex : 0;
}

void Plumber::remove_strays(const Bindings& bindings) {
    const auto links = netlink_->links();
    if (!links) {
        spdlog::warn("agent: {}", links.error().message);
        return;
    }
    for (const auto& link : *links) {
        const bool bound = std::any_of(bindings.begin(), bindings.end(), [&](const auto& each) {
            return each.second.host_ifname == link.name;
        });
        if (link.alias != owner_ || bound) {
            continue;
        }
        spdlog::info("agent: removing interface without a NIC host_ifname={}", link.name);
        if (auto removed = remove(link.ifindex); !removed) {
            spdlog::warn("agent: {}", removed.error().message);
        }
    }
}

Result<Backbone> Plumber::backbone(const std::string& name, const datapath::OuterAddress& outer) {
    const auto link = netlink_->link(name);
    if (!link) {
        return std::unexpected(link.error());
    }
    return Backbone{.ifindex = link->ifindex, .mtu = link->mtu, .outer = outer};
}

}  // namespace culvert::agent
