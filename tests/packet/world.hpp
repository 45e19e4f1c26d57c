// SPDX-License-Identifier: Apache-2.0
// One node's maps and programs, loaded for one test: filled by hand, fed with packets, read back.
#pragma once

#include "tests/packet/packet.hpp"

#include "abi/alias.h"
#include "abi/dhcp.h"
#include "abi/echo.h"
#include "abi/ended.h"
#include "abi/fragment.h"
#include "abi/limits.h"
#include "abi/maps.h"
#include "abi/names.h"
#include "abi/quota.h"
#include "abi/six.h"
#include "abi/totals.h"
#include "abi/transfer.h"
#include "abi/wire.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

struct datapath;  // the skeleton

namespace culvert::packet {

enum class Hook { Workload, Backbone, Services };

// Verdicts of tc.
enum class Verdict { Pass = -1, Dropped = 2, Redirected = 7 };

// What moved: names as the .def files spell them, drops as "drop.NAME".
using Moved = std::map<std::string, std::uint64_t>;

struct Outcome {
    Verdict verdict;
    Bytes out;
    std::uint32_t ns = 0;  // of the program, and of the kernel's harness around it
};

// Loaded in the current namespace with small maps. NAT ports are taken from kFirstNatPort upwards.
inline constexpr std::uint16_t kFirstNatPort = CV_NAT_PORT_MIN + 1;

// In entries (bpf/quota.h); as they stand there is no quota.
struct Quotas {
    std::uint32_t table = ~0u, nic = ~0u, link = ~0u, opening_nic = ~0u, opening_link = ~0u;
    std::uint32_t nat_256 = 256;
};

class World {
  public:
    // `flows`: entries of the flow map; `opening`: how long a connection may stay unanswered, 0: as
    // usual; `other`: beside another layout's flows, with entries longer than ours; `endpoints`:
    // entries of the maps that have one or two each.
    explicit World(std::uint32_t flows = 256, std::chrono::nanoseconds opening = {},
                   bool other = false, const Quotas& quotas = {}, std::uint32_t endpoints = 64);
    World(std::uint32_t flows, std::chrono::nanoseconds opening, const Quotas& quotas);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    // Empties the maps, as if loaded anew.
    void reset();
    void config(const cv_config& value);
    void port(std::uint32_t ifindex, std::uint32_t nic, std::uint32_t flags = 0);
    void nic(std::uint32_t index, const cv_nic& value);
    void node(std::uint32_t index, const cv_node& value);
    void address(std::uint32_t vnet, std::uint32_t address, std::uint32_t kind, std::uint32_t id);
    // An IPv6 address and what it is called inside: that workloads send to, and that they hear from
    // or have themselves. The first of an endpoint.
    void six(std::uint32_t vnet, const Ipv6& address, std::uint32_t name);
    void six_name(std::uint32_t vnet, std::uint32_t name, const Ipv6& address);
    void forget_six_name(std::uint32_t vnet, std::uint32_t name);
    void six_endpoint(std::uint32_t vnet, const Ipv6& address, std::uint32_t link);
    void prefix(std::uint32_t vnet, std::uint32_t base, std::uint32_t length);
    void link(std::uint32_t id, const cv_link& value);
    void service(std::uint32_t id, std::uint32_t provider_vnet,
                 const std::vector<std::uint32_t>& nat);
    void rule(std::uint32_t service, std::uint16_t port, std::uint32_t pool,
              std::uint16_t backend_port, std::uint32_t idle_s = 300, std::uint8_t affinity = 5,
              std::uint8_t protocol = 6, std::uint8_t flags = 0);
    // Fine when there is none.
    void remove_rule(std::uint32_t service, std::uint16_t port, std::uint8_t protocol);
    // Every slot of the pool's table names one of `backends` in turn; none: no backend. They become
    // members.
    void pool(std::uint32_t id, const std::vector<std::uint32_t>& backends);
    void member(std::uint32_t pool, std::uint32_t nic);
    void remove_member(std::uint32_t pool, std::uint32_t nic);  // fine when it is none
    void cursor(std::uint32_t value);

    void echo(std::uint32_t index, const cv_echo& value);
    void alias(const cv_alias& value);
    void lease(std::uint32_t nic, const cv_lease& value);

    cv_config config() const;
    cv_nic nic(std::uint32_t index) const;
    cv_node node(std::uint32_t index) const;
    cv_echo echo(std::uint32_t index) const;
    cv_link link(std::uint32_t id) const;
    std::vector<std::pair<cv_flow_key, cv_flow>> flows() const;
    std::optional<cv_flow> flow(const cv_flow_key& key) const;
    void flow(const cv_flow_key& key, const cv_flow& value);
    // Every flow and slot becomes the other layout's.
    void hand_over();
    std::vector<std::pair<cv_flow_key, cv_flow>> other_flows() const;
    std::vector<cv_slot> other_slots() const;
    void forget_flows();
    // What a NIC (0: all) or a link holds, and a link of a backend's NAT ports.
    cv_held nic_held(std::uint32_t index) const;
    cv_held link_held(std::uint32_t id) const;
    std::uint32_t nat_held(std::uint32_t link, std::uint32_t backend) const;
    // What is counted of a link, or of a NIC (link 0); begin_totals() makes it from nothing, and
    // walk() adds what open connections have counted.
    cv_totals totals(std::uint32_t link, std::uint32_t nic = 0) const;
    void begin_totals(std::uint32_t link, std::uint32_t nic = 0, std::uint32_t generation = 0);
    void walk();
    std::uint32_t nat_used(std::uint32_t backend, std::uint32_t address,
                           std::uint32_t proto = 6) const;
    // Writes entries as the agent does (abi/transfer.h): how many were written.
    std::uint32_t write_flows(const std::vector<cv_transfer>& entries);
    // What the sweep has told of since the last call.
    std::vector<cv_ended> ended();

    // Sends a packet through a program as if it came in by interface `ifindex`; `gso_size` makes it
    // a super-packet.
    Outcome send(Hook hook, std::uint32_t ifindex, const Bytes& frame, std::uint32_t gso_size = 0);

    Moved counters() const;
    // What moved since the last call (or since loading).
    Moved moved();
    // The reason of the one drop since the last call, "" when there was none, several with "+".
    std::string dropped();

    const ::datapath& skeleton() const { return *skeleton_; }
    int program(Hook hook) const;

  private:
    void fill(int table, const std::vector<std::uint32_t>& backends);
    void run_alone(int program);

    ::datapath* skeleton_;
    std::uint32_t walks_ = 0;
    std::map<std::uint32_t, int> tables_;  // of pools: they stay, for replacing one takes long
    Moved last_;
    std::vector<std::uint64_t> last_drops_;
};

}  // namespace culvert::packet
