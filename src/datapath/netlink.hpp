// SPDX-License-Identifier: Apache-2.0
// What the data plane asks of the kernel's network configuration: veth pairs, addresses, routes,
// facts about interfaces. No thread ever stays in another namespace: a socket opened in it is
// enough.
// Thread safety: strand-bound.
#pragma once

#include "base/result.hpp"
#include "datapath/outer.hpp"
#include "net/address.hpp"
#include "net/ipv6.hpp"
#include "runtime/fd.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::datapath {

struct LinkFacts {
    std::uint32_t ifindex = 0;
    std::string name;
    std::string kind;   // veth, vxlan, ...; empty for hardware
    std::string alias;  // IFLA_IFALIAS
    std::uint32_t mtu = 0;
    bool up = false;
    net::Mac mac;
};

// A veth pair between this socket's namespace and another one.
struct VethRequest {
    std::string host_name;   // at most 15 characters
    std::string host_alias;  // says whose it is
    net::Mac host_mac;
    int peer_netns = -1;  // descriptor of the namespace
    std::string peer_name;
    net::Mac peer_mac;
    std::uint32_t mtu = 0;  // bytes; the peer's
};

struct RouteFacts {
    std::uint32_t ifindex = 0;
    OuterAddress next_hop;  // the destination itself when it is on-link
};

class Netlink {
  public:
    // In the calling thread's namespace.
    static Result<std::unique_ptr<Netlink>> open();
    // In another one, given by a descriptor of its file.
    static Result<std::unique_ptr<Netlink>> open_in(int netns);
    virtual ~Netlink() = default;

    // Errors: kNotFound.
    virtual Result<LinkFacts> link(const std::string& name) = 0;
    virtual Result<std::vector<LinkFacts>> links() = 0;
    // Errors: kConflict when either name is taken. The pair is down and complete, or absent.
    virtual Status make_veth(const VethRequest& request) = 0;
    // Alias, MAC address and MTU of an interface.
    virtual Status describe(std::uint32_t ifindex, const std::string& alias, const net::Mac& mac,
                            std::uint32_t mtu) = 0;
    virtual Status set_up(std::uint32_t ifindex) = 0;
    // Up, and taken for a link on which every address is its one neighbour.
    virtual Status set_up_without_arp(std::uint32_t ifindex) = 0;
    virtual Status set_down(std::uint32_t ifindex) = 0;
    // The interface must be down. Errors: kConflict when the name is taken.
    virtual Status rename(std::uint32_t ifindex, const std::string& name) = 0;
    // Turns a feature off, by the name that ethtool -k shows; one that the kernel does not know is
    // off. Errors: kNotFound.
    virtual Status disable_feature(const std::string& ifname, std::string_view feature) = 0;
    // Errors: kNotFound.
    virtual Status remove_link(std::uint32_t ifindex) = 0;
    virtual Status add_address(std::uint32_t ifindex, net::Ipv4 address, std::uint8_t length) = 0;
    // A default route; where the namespace has one already it is added behind it (higher metric).
    virtual Status add_default_route(std::uint32_t ifindex, net::Ipv4 gateway) = 0;
    // IPv6: an address that is good at once (RFC 4862 5.4: nobody else can have it), and a default
    // route. Errors: kConflict when it is there; kUnavailable where the namespace has no IPv6.
    virtual Status add_address(std::uint32_t ifindex, const net::Ipv6& address,
                               std::uint8_t length) = 0;
    virtual Status add_default_route(std::uint32_t ifindex, const net::Ipv6& gateway) = 0;
    // To a prefix, by a gateway or (none) on the link. Errors: kConflict when there is one.
    virtual Status add_route(std::uint32_t ifindex, const net::Ipv4Prefix& to,
                             std::optional<net::Ipv4> gateway) = 0;
    // Where the kernel sends a packet for `destination`. Errors: kUnavailable (no route).
    virtual Result<RouteFacts> route_to(const OuterAddress& destination) = 0;
    virtual Result<std::vector<OuterAddress>> addresses(std::uint32_t ifindex) = 0;
};

// A namespace file opened and its identity: the same namespace has the same device and inode
// whatever path names it.
struct NetnsFile {
    runtime::Fd fd;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
};
// Errors: kNotFound; kInvalidArgument when it is no network namespace.
Result<NetnsFile> open_netns(const std::string& path);

// Keeps the kernel from sending IPv6 of its own on an interface of this namespace.
Status disable_ipv6(const std::string& ifname);

}  // namespace culvert::datapath
