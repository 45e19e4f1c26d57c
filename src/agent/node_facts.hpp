// SPDX-License-Identifier: Apache-2.0
// What goes into a node and what it tells of itself: values.
#pragma once

#include "agent/bindings.hpp"
#include "agent/nat_drain.hpp"
#include "base/limits.hpp"
#include "datapath/datapath.hpp"
#include "net/ipv6.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace culvert::agent {

struct NodeOptions {
    std::filesystem::path data_dir;
    std::filesystem::path pin_dir;
    std::string backbone;        // interface name; "none": this node alone
    std::uint16_t udp_port = 0;  // 0: as the intent says
    bool force_clsact = false;
    std::uint32_t flows = CV_FLOWS_DEFAULT;
    datapath::Quotas quotas;
    std::chrono::nanoseconds idle_unit = std::chrono::seconds(1);  // datapath::LoadOptions
    // how long connections go on with a NAT address that their service has no more
    std::chrono::seconds nat_drain = limits::kNatDrain;
};

struct TapWish {
    std::string name;  // empty: host_ifname()
    std::optional<std::uint32_t> user{};
};

struct PlumbWish {
    std::string nic_id;
    std::string netns;
    std::string ifname;
    std::optional<TapWish> tap{};  // then neither netns nor ifname
    bool move = false;  // the NIC is on its way here: it may stand in for one of the same MAC
    std::chrono::milliseconds wait{0};
};

struct Plumbed {
    std::string host_ifname;
    net::Mac mac;
    net::Ipv4 address{};
    std::uint8_t length = 0;
    net::Ipv4 gateway{};
    std::optional<net::Ipv6> six{};  // of a /64
    std::uint32_t mtu = 0;
};

struct Held {  // what Hello says
    std::string epoch;
    std::uint64_t version = 0;
    std::vector<std::string> plumbed;
    std::vector<NatAddress> in_use;  // NAT addresses that were given up
};

using AddressUses = google::protobuf::RepeatedPtrField<api::AddressUse>;
void add_in_use(const Held& held, AddressUses& out);

struct NodeStatus {
    Held held;
    std::string attach_mode;
    std::uint64_t flows = 0;
    std::uint64_t flow_limit = 0;
    // The one that new connections take, then the one that is draining, if any.
    std::vector<datapath::LayoutFacts> layouts;
    std::uint64_t flow_quota = 0;  // most entries of one NIC or one link
    cv_held charged{};             // entries by the quotas' count
    std::uint32_t links = 0;
    std::string backbone;
    std::string outer;
    std::uint32_t workload_mtu = 0;
    bool fenced = false;
    struct Interface {
        Binding binding;
        std::string address;
        bool carrying = false;
        cv_held charged{};
    };
    std::vector<Interface> interfaces;
};

// What liveness must know of the node.
struct Surroundings {
    struct Peer {
        std::string name;
        datapath::OuterAddress outer;
    };
    std::uint32_t node = 0;      // its index
    std::uint16_t udp_port = 0;  // 0: there is no intent yet
    std::string backbone;
    std::uint32_t backbone_ifindex = 0;
    datapath::OuterAddress outer;
    std::map<std::uint32_t, Peer> peers;
};

}  // namespace culvert::agent
