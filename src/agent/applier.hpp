// SPDX-License-Identifier: Apache-2.0
// Changes of the intent -> writes to the kernel's maps. Decides nothing: it only adds what the
// control plane cannot know, the interface numbers and next hops of this machine.
// Thread safety: strand-bound.
#pragma once

#include "agent/bindings.hpp"
#include "agent/health.hpp"
#include "agent/state.hpp"
#include "base/result.hpp"
#include "datapath/maps.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

namespace culvert::agent {

// The backbone interface as it is now; ifindex 0: none.
struct Backbone {
    std::uint32_t ifindex = 0;
    std::uint32_t mtu = 0;  // bytes
    datapath::OuterAddress outer;
    bool operator==(const Backbone&) const = default;

    // Largest IP packet of a workload: the backbone's less the outer headers.
    std::uint32_t workload_mtu() const;
};

// The on-link address to reach a peer by.
using NextHop = std::function<datapath::OuterAddress(const datapath::OuterAddress&)>;

// What liveness says: the peers to which no connection is to begin, and whether this node hears
// nobody at all.
struct Reach {
    std::map<std::uint32_t, std::uint8_t> closed;  // node index -> enum cv_node_state
    bool isolated = false;
    bool operator==(const Reach&) const = default;
};

// Who does not serve any more what it did: connections that have to end.
struct EndedService {
    enum class What : std::uint8_t {
        kGone,       // the NIC itself: all of its connections
        kUnruled,    // those that no rule and pool lead to
        kDatagrams,  // those of UDP, by rules with that probe of the pool, unless it serves again
    };
    std::uint32_t nic = 0;
    What what = What::kGone;
    std::uint32_t pool = 0;
    std::uint32_t probe = 0;  // as api::Rule.probe
    bool operator==(const EndedService&) const = default;
};

// Whose a link's totals are: tells the endpoint that has a link id from the one that had it before.
std::uint64_t owner_of(const api::Link& link);

class Applier {
  public:
    // The kernel's table of one pool for rules with one of its probes (0: without).
    struct Table {
        std::uint32_t pool = 0;
        std::uint32_t probe = 0;  // as api::Rule.probe
        std::vector<std::uint32_t> members;
        std::vector<std::uint32_t> serving;
    };
    using Tables = std::unordered_map<std::uint32_t, Table>;  // by its number in the kernel

    Applier(datapath::Maps& maps, const Bindings& bindings, NextHop next_hop)
        : maps_(maps), bindings_(bindings), next_hop_(std::move(next_hop)) {}

    // `udp_port` other than 0 goes before the intent's.
    void set_local(const Backbone& backbone, std::uint16_t udp_port) {
        backbone_ = backbone;
        udp_port_ = udp_port;
    }

    Status apply(const Change& change);
    // This node's configuration again: the backbone has changed.
    Status apply_config(const api::NodeConfig& config);
    // This NIC again: its binding has changed.
    Status apply_nic(const api::Nic& nic);
    // Asks for the next hop of each peer again and writes those that have changed.
    Status refresh_peers();
    // Goes into the configuration with the next apply_config().
    void set_fenced(bool fenced) { fenced_ = fenced; }
    bool fenced() const { return fenced_; }
    // What set_reach() would say of peers that are yet to come.
    void expect_reach(Reach reach) { reach_ = std::move(reach); }
    // Takes the closed peers out at once; the pools' tables follow with refresh_pools().
    Status set_reach(const Reach& reach);
    // Tables are not what they should be: a peer closed, opened, or a NIC moved meanwhile.
    bool pools_stale() const { return pools_stale_; }
    // Makes the tables of those pools anew whose serving members have changed.
    Status refresh_pools(const State& state);
    // What is held true of backends; tables follow with refresh_pools().
    const Health& health() const { return health_; }
    bool set_health(const HealthKey& key, bool up);
    bool hear_of(std::uint32_t node);
    void forget_health(const std::function<bool(const HealthKey&)>& known);
    const Tables& tables() const { return tables_; }
    std::vector<EndedService> take_ended() { return std::exchange(ended_, {}); }
    // Removes what maps that were taken over hold beyond `state` and the bindings.
    Status retain(const State& state);

    // The binding that carries the NIC: plumbed under the attachment that is in force here.
    const Binding* carrying(const api::Nic& nic) const;
    // The attachment under which an interface for the NIC may be made here; empty: none.
    std::string attachment_here(const api::Nic& nic) const;
    std::uint32_t node() const { return node_; }
    bool draining() const { return draining_; }
    std::uint64_t drains() const { return drains_; }  // how often that has begun
    const std::map<std::uint32_t, datapath::NodeImage>& peers() const { return peers_; }

  private:
    // Where the NIC is, with what a move that is half done says.
    std::uint32_t node_of(const api::Nic& nic) const;
    const api::Move* move_of(const api::Nic& nic) const;
    // How long the other node counts: from the time it was first named.
    std::uint32_t until(const api::Nic& nic);
    Status clear_nic(const Change& change);
    // What its workload is told that asks for its address.
    Status apply_lease(const api::Nic& nic);
    Status clear_lease(std::uint32_t nic);
    // The interface that stands for the NIC may send no more.
    Status silence(std::uint32_t index);
    Status apply_peer(const Change& change);
    std::uint8_t state_of(std::uint32_t node) const;
    // The members that get new connections; `probe`: as api::Rule.probe.
    std::vector<std::uint32_t> serving(const api::Pool& pool, std::uint32_t probe) const;
    // Tables that a change of the pool leaves without use go with refresh_pools().
    void retire(const Table& table, std::uint32_t number);
    void note_ended(const Table& table, std::span<const std::uint32_t> serving);
    Status refresh_table(std::uint32_t number, Table& table, const api::Pool& pool);
    void note_rules(const api::Service& before, const api::Service* after);
    // Which of the pools' tables rules for datagrams lead to.
    void count_datagram_rules(std::uint32_t service, const api::Service* now);
    bool is_open(std::uint32_t node) const;
    Status apply_address(const Change& change);
    // IPv6 (six.cpp): what goes with a NIC here, and with an address.
    Status apply_six(std::uint32_t index, const std::optional<datapath::SixImage>& wish);
    Status apply_six(const api::Address* before, const api::Address* wish);
    Status apply_network(const Change& change);
    Status apply_service(const Change& change);
    Status apply_pool(const Change& change);
    Status apply_link(const Change& change);

    datapath::Maps& maps_;
    const Bindings& bindings_;
    NextHop next_hop_;
    Backbone backbone_;
    std::uint16_t udp_port_ = 0;
    std::uint32_t node_ = 0;
    bool draining_ = false;
    std::uint64_t drains_ = 0;
    bool fenced_ = false;
    std::map<std::uint32_t, datapath::NodeImage> peers_;
    std::set<std::uint32_t> drained_;                    // peers
    std::set<std::uint32_t> leased_;                     // NICs
    std::map<std::uint32_t, datapath::SixImage> sixes_;  // of NICs here
    struct Home {
        std::uint32_t node = 0;
        std::uint32_t generation = 0;
        bool plumbed = true;  // of one that is attached here
        bool operator==(const Home&) const = default;
    };
    std::unordered_map<std::uint32_t, Home> homes_;  // by NIC
    Tables tables_;
    Tables retired_;
    Health health_;
    std::vector<EndedService> ended_;
    std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> datagram_rules_;  // by service
    std::unordered_map<std::uint32_t, std::size_t> datagram_tables_;  // tables' numbers: rules
    Reach reach_;
    bool pools_stale_ = false;
    struct Deadline {
        std::uint32_t node = 0;
        std::uint32_t other = 0;
        std::uint32_t until_s = 0;
    };
    std::map<std::uint32_t, api::Move> moves_;     // by NIC
    std::map<std::uint32_t, Deadline> deadlines_;  // by NIC
};

// What the kernel calls the table of a pool for rules with one of its probes.
constexpr std::uint32_t table_number(std::uint32_t pool, std::uint32_t probe) {
    return pool | probe << 24;
}

// True when the NIC is attached on node `node` by an attach that is in force.
bool attached_on(const api::Nic& nic, std::uint32_t node);

}  // namespace culvert::agent
