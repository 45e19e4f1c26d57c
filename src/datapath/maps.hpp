// SPDX-License-Identifier: Apache-2.0
// The kernel maps as values: typed setters, counters and clean-up. Each setter is one or a few map
// updates in an order that never shows a packet a half-made thing: what is named exists before
// what names it.
// Thread safety: strand-bound, but the readers (drops, counters, flows) may be called from any
// thread.
#pragma once

#include "abi/dhcp.h"
#include "abi/quota.h"
#include "base/result.hpp"
#include "datapath/loader.hpp"
#include "datapath/outer.hpp"
#include "net/address.hpp"
#include "net/ipv6.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

namespace culvert::datapath {

struct ConfigImage {
    std::uint32_t node = 0;              // this node's index
    std::uint32_t backbone_ifindex = 0;  // 0: no backbone
    OuterAddress outer{};
    std::uint16_t udp_port = 0;      // VXLAN destination port
    std::uint32_t backbone_mtu = 0;  // bytes of the outer IP packet
    bool fenced = false;             // echoes are answered with: no new connections yet
};

struct PortImage {
    std::uint32_t ifindex = 0;
    std::uint32_t nic = 0;
    std::uint32_t flags = 0;  // CV_PORT_*
};

struct NicImage {
    std::uint32_t index = 0;
    net::Ipv4 address{};
    std::uint32_t vnet = 0;
    std::uint32_t node = 0;
    std::uint32_t ifindex = 0;  // 0: not attached here, or not plumbed
    std::uint32_t port_flags = 0;
    std::uint32_t generation = 0;
    std::uint32_t other = 0;    // while it moves: its other node
    std::uint32_t until_s = 0;  // of CLOCK_MONOTONIC: how long that one counts
};

// What a workload is told that asks by DHCP.
struct LeaseImage {
    std::uint32_t nic = 0;
    net::Ipv4 gateway{};
    std::uint8_t length = 0;       // of the subnet's prefix, bits
    std::uint32_t mtu = 0;         // bytes
    std::vector<net::Ipv4> dns{};  // at most CV_LEASE_DNS_MAX
};

struct NodeImage {
    std::uint32_t index = 0;
    OuterAddress outer{};
    OuterAddress next_hop{};
    std::uint8_t state = 0;  // enum cv_node_state
    bool operator==(const NodeImage&) const = default;
};

struct AddressImage {
    std::uint32_t vnet = 0;
    net::Ipv4 address{};
    std::uint32_t kind = 0;  // enum cv_address_kind
    std::uint32_t id = 0;
};

// An IPv6 address of a VNet and what it is called inside (abi/six.h).
struct SixImage {
    std::uint32_t vnet = 0;
    net::Ipv4 name{};
    net::Ipv6 address{};
    bool reached = false;  // workloads send to it
    bool operator==(const SixImage&) const = default;
};

struct LinkImage {
    std::uint32_t id = 0;
    std::uint32_t generation = 0;
    std::uint32_t state = 0;  // enum cv_link_state
    std::uint32_t service = 0;
    std::uint32_t consumer_vnet = 0;
    std::uint32_t provider_vnet = 0;
    net::Ipv4 endpoint{};
    std::uint64_t owner = 0;  // whose its totals are (totals.hpp)
    net::Ipv4 nat{};          // the one NAT address to use; zero: any of the service's
};

struct RuleImage {
    std::uint8_t protocol = 0;
    std::uint16_t port = 0;
    std::uint32_t pool = 0;
    std::uint16_t backend_port = 0;
    std::uint8_t affinity = 5;
    std::uint32_t idle_s = 0;
    bool reset = false;  // both ends, when a connection was idle for too long
    bool six = false;    // backends are reached by IPv6
};

struct ServiceImage {
    std::uint32_t id = 0;
    std::uint32_t provider_vnet = 0;
    std::vector<net::Ipv4> nat{};  // 1..CV_NAT_ADDRESSES_MAX
    std::vector<RuleImage> rules{};
};

// What of a hash map an intent names; everything else in it is removed by retain().
struct Retained {
    std::function<bool(std::uint32_t nic)> nic;
    std::function<bool(std::uint32_t node)> node;
    std::function<bool(std::uint32_t link)> link;
    std::function<bool(std::uint32_t service)> service;
    std::function<bool(std::uint32_t pool)> pool;
    std::function<bool(std::uint32_t pool, std::uint32_t nic)> member;
    std::function<bool(std::uint32_t vnet, net::Ipv4 address)> address;
    std::function<bool(std::uint32_t vnet, const net::Ipv6& address)> six;
    std::function<bool(std::uint32_t vnet, net::Ipv4 name)> six_name;
    std::function<bool(std::uint32_t vnet, net::Ipv4Prefix prefix)> prefix;
    std::function<bool(std::uint32_t service, std::uint8_t protocol, std::uint16_t port)> rule;
    std::function<bool(std::uint32_t ifindex)> port;
    std::function<bool(std::uint32_t nic)> lease;
};

class Maps {
  public:
    // Errors: kInternal when the programs lack a map.
    static Result<std::unique_ptr<Maps>> open(const Datapath& datapath);
    virtual ~Maps() = default;

    virtual Status set_config(const ConfigImage& config) = 0;
    virtual Status set_port(const PortImage& port) = 0;
    virtual Status clear_port(std::uint32_t ifindex) = 0;
    virtual Status set_nic(const NicImage& nic) = 0;
    virtual Status clear_nic(std::uint32_t index) = 0;
    virtual Status set_lease(const LeaseImage& lease) = 0;
    virtual Status clear_lease(std::uint32_t nic) = 0;
    virtual Status set_node(const NodeImage& node) = 0;
    virtual Status clear_node(std::uint32_t index) = 0;
    virtual Status set_address(const AddressImage& address) = 0;
    virtual Status clear_address(std::uint32_t vnet, net::Ipv4 address) = 0;
    // The NAT addresses of services that are there, also those of an earlier life.
    virtual Result<std::vector<AddressImage>> nat_addresses() const = 0;
    virtual Status set_six(const SixImage& six) = 0;
    virtual Status clear_six(const SixImage& six) = 0;
    // Makes the VNet's prefixes `after`, given that they were `before`.
    virtual Status set_prefixes(std::uint32_t vnet, std::span<const net::Ipv4Prefix> before,
                                std::span<const net::Ipv4Prefix> after) = 0;
    virtual Status set_link(const LinkImage& link) = 0;
    virtual Status clear_link(std::uint32_t id) = 0;
    // The service and its rules, given its rules before (null: it is new).
    virtual Status set_service(const ServiceImage* before, const ServiceImage& after) = 0;
    virtual Status clear_service(const ServiceImage& before) = 0;
    // Members first, then the whole Maglev table of those that serve at once, then who left.
    virtual Status set_pool(std::uint32_t pool, std::span<const std::uint32_t> before,
                            std::span<const std::uint32_t> after,
                            std::span<const std::uint32_t> serving) = 0;
    // The Maglev table alone: other members are to get new connections.
    virtual Status set_table(std::uint32_t pool, std::span<const std::uint32_t> serving) = 0;
    virtual Status clear_pool(std::uint32_t pool, std::span<const std::uint32_t> before) = 0;

    // Removes whatever maps that were taken over hold beyond the intent.
    virtual Status retain(const Retained& retained) = 0;

    // By number (abi/drop_reasons.def, abi/counters.def), summed over the CPUs.
    virtual Result<std::vector<std::uint64_t>> drops() const = 0;
    virtual Result<std::vector<std::uint64_t>> counters() const = 0;
    // Entries of all layouts: those found at open() and made since, less those that ended. Walking
    // the tables each time would cost a second a million.
    virtual Result<std::uint64_t> flows() const = 0;
    // Connections to backends on this node, by a walk over the whole table of each layout.
    // Stopped, it has counted some of them.
    virtual Result<std::uint64_t> delivered_flows(const std::stop_token& stop = {}) const = 0;
    // What a consumer's NIC holds of the flow table; index 0: what all together hold.
    virtual Result<cv_held> held(std::uint32_t nic) const = 0;
};

}  // namespace culvert::datapath
