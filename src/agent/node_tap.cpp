// SPDX-License-Identifier: Apache-2.0
// The interfaces of virtual machines: a TAP interface of this machine stands for the NIC.
#include "agent/node.hpp"
#include "base/log.hpp"

#include <fmt/format.h>

#include <utility>

namespace culvert::agent {

Result<Plumbed> Node::plumb_tap(Plumber& plumber, const PlumbWish& wish, const api::Nic& nic) {
    if (wish.move) {
        return fail(Code::kInvalidArgument,
                    "plumb: a network interface moves between namespaces alone: stop the virtual "
                    "machine, detach, and attach it on the other node",
                    wish.nic_id);
    }
    const std::string name = wish.tap->name.empty() ? host_ifname(nic.index()) : wish.tap->name;
    if (!is_tap_name(name)) {
        return fail(Code::kInvalidArgument,
                    fmt::format("plumb: '{}' is not a name for a TAP interface", name), "tap");
    }
    const auto done = settled(plumber, nic, [&](const Binding& binding) {
        return binding.is_tap() && binding.host_ifname == name &&
               binding.tap_user == wish.tap->user;
    });
    if (!done) {
        return std::unexpected(done.error());
    }
    Plumbed out = facts_of(nic);
    out.host_ifname = name;
    if (*done) {
        return out;
    }
    const auto ifindex = plumber.make_tap(name, out.mtu, wish.tap->user);
    if (!ifindex) {
        return std::unexpected(prefixed(ifindex.error(), "plumb"));
    }
    auto bound = bind(plumber, {.nic_id = nic.id(),
                                .attachment = nic.attachment(),
                                .index = nic.index(),
                                .netns = {},
                                .ifname = name,
                                .host_ifname = name,
                                .ifindex = *ifindex,
                                .tap_user = wish.tap->user});
    if (!bound) {
        return std::unexpected(prefixed(std::move(bound.error()), "plumb"));
    }
    spdlog::info("agent: plumbed nic={} tap={}", nic.index(), name);
    return out;
}

}  // namespace culvert::agent
