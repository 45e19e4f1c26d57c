// SPDX-License-Identifier: Apache-2.0
// Makes and removes the interfaces of workloads and puts the stubs on them.
// Thread safety: strand-bound.
#pragma once

#include "agent/applier.hpp"
#include "agent/bindings.hpp"
#include "base/result.hpp"
#include "datapath/attach.hpp"
#include "datapath/netlink.hpp"
#include "net/address.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace culvert::agent {

// What an interface must be; all of it from the intent but the place.
struct InterfaceWish {
    std::uint32_t index = 0;  // of the NIC
    net::Ipv4 address{};
    std::uint8_t length = 0;  // of the subnet's prefix, bits
    net::Ipv4 gateway{};
    std::optional<net::Ipv6> six{};  // of a /64
    std::uint32_t mtu = 0;           // bytes
    int netns = -1;
    std::string ifname;
    bool waiting = false;  // down inside and without an address, for stand_in() to come
};

class Plumber {
  public:
    // `owner` is written on every interface made (its alias) and tells ours from others'.
    static Result<std::unique_ptr<Plumber>> open(const datapath::Datapath& datapath,
                                                 bool force_clsact, std::string owner);

    // The host's side of the new pair; up on both sides, stub attached. On failure nothing is left.
    // Errors: kConflict when the name is taken there.
    Result<std::uint32_t> make(const InterfaceWish& wish);
    // A TAP interface, up, stub attached. On failure nothing is left. Errors: kConflict when the
    // name is taken.
    Result<std::uint32_t> make_tap(const std::string& name, std::uint32_t mtu,
                                   std::optional<std::uint32_t> user);
    // Fine when it is gone.
    Status remove(std::uint32_t ifindex);
    // The interface of that name if it is there and ours, else 0.
    std::uint32_t find(const std::string& host_ifname);
    // Interfaces of ours that no binding names: left by an agent that was killed half way.
    void remove_strays(const Bindings& bindings);

    Result<datapath::AttachMode> attach(std::uint32_t ifindex, datapath::Hook hook);
    Status detach(std::uint32_t ifindex) { return attacher_->detach(ifindex); }
    void sweep() { attacher_->sweep(); }
    datapath::AttachMode mode() const { return attacher_->mode(); }

    // The interface that carries the backbone, with `outer` as this node's address on it.
    Result<Backbone> backbone(const std::string& name, const datapath::OuterAddress& outer);
    datapath::Netlink& netlink() { return *netlink_; }

  private:
    Plumber() = default;
    Status make_inside(const InterfaceWish& wish);
    Result<std::uint32_t> make_host(const std::string& name);
    // After a failure.
    void clear_away(const std::string& name);

    std::unique_ptr<datapath::Netlink> netlink_;
    std::unique_ptr<datapath::Attacher> attacher_;
    std::string owner_;
};

// What an agent with this data directory writes on its interfaces.
std::string owner_of(const std::filesystem::path& data_dir);

// Inside a namespace: the name of an interface that waits for its NIC, and of the one that it then
// stands in for.
std::string waiting_ifname(std::uint32_t index);
std::string former_ifname(std::uint32_t index);

// Whether `ifname` is free there, or an interface with the NIC's own MAC address.
// Errors: kConflict.
Status may_stand_in(int netns, const std::string& ifname, std::uint32_t index);
// Gives the waiting interface the name, the address and the routes; who has the name now steps
// aside.
Status stand_in(const InterfaceWish& wish, const std::string& waiting);
// Undoes it: the former interface is what it was.
Status stand_back(const InterfaceWish& wish, const std::string& waiting);

// "cv" and the NIC's index in hexadecimal.
std::string host_ifname(std::uint32_t index);

// At most 15 characters, no blank, slash or colon (dev_valid_name of the kernel).
bool is_ifname(std::string_view name);
// Without '%' (the kernel would put a number in its place) and ',' (which ends it in the options of
// an emulator).
bool is_tap_name(std::string_view name);

}  // namespace culvert::agent
