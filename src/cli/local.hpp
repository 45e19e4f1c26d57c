// SPDX-License-Identifier: Apache-2.0
// The agent on this machine, over its Unix socket (api/local.proto), as plain values.
// Thread safety: strand-bound.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace culvert::cli {

struct LocalNic {
    std::string nic_id;
    std::uint32_t index = 0;
    std::string netns;
    std::string ifname;
    std::string host_ifname;
    std::string address;
    bool carrying = false;
    std::uint32_t flows = 0;          // entries that its connections hold
    std::uint32_t flows_opening = 0;  // of these, with an unfinished handshake
    bool tap = false;                 // host_ifname is a TAP interface; there is no namespace
};

// Ports of a NAT address towards the backend of this machine that uses most of them.
struct LocalNatPorts {
    std::string service;
    std::string address;
    std::uint64_t used = 0;
    std::uint64_t limit = 0;

    std::uint64_t left() const { return used > limit ? 0 : limit - used; }
};

// A layout of the kernel maps and the flow entries it serves.
struct LocalLayout {
    std::uint32_t version = 0;
    std::uint64_t flows = 0;
    std::uint32_t flow_limit = 0;
};

// What the agent says about a peer, and about all of them.
struct PeerReach {
    std::string name;
    std::uint32_t index = 0;
    std::string outer;
    std::string state;  // new, alive, suspect, fenced, lost
    std::string fault;  // of a lost one: node, path
    std::uint64_t rtt_us = 0;
    double loss = 0;
    std::uint64_t losses = 0;
    std::uint64_t silent_ms = 0;
};
struct AgentReach {
    bool probing = false;
    bool isolated = false;
    bool fenced = false;
    std::uint32_t interval_ms = 0;
    std::uint32_t misses = 0;
    std::string error;
    std::vector<PeerReach> peers;
};

struct AgentStatus {
    std::string node;
    bool connected = false;
    std::string control;
    std::string epoch;
    std::uint64_t version = 0;
    std::string attach_mode;
    std::uint32_t abi_version = 0;
    std::uint64_t flows = 0;
    std::uint64_t flow_limit = 0;
    std::uint64_t flow_quota = 0;  // of one NIC or one link
    std::uint64_t flows_opening = 0;
    std::uint32_t links = 0;
    std::string backbone;
    std::string outer;
    std::uint32_t workload_mtu = 0;
    std::string health_note;
    std::string build;
    std::vector<LocalNic> nics;
    std::vector<LocalLayout> layouts;  // the active one first
    std::vector<LocalNatPorts> nat_ports{};
    AgentReach reach{};
    std::string instance;  // differs from one start to the next
    std::uint32_t pid = 0;
    std::string upgrade;  // how the last upgrade of this process ended; empty: none
    bool upgrade_failed = false;
};

struct Plumbed {
    std::string host_ifname;
    std::string mac;
    std::string address;  // with prefix length
    std::string gateway;
    std::string six;  // the same of IPv6; empty: none
    std::uint32_t mtu = 0;
};

// How far the move of a NIC to this machine has come.
struct Migration {
    enum class Where { kNowhere, kWaiting, kCarrying, kDone };
    Where where = Where::kNowhere;
    std::uint64_t gap_us = 0;   // for how long neither node carried
    std::uint32_t flows = 0;    // connections that came along
    std::uint32_t refused = 0;  // that the intent here does not allow
    std::string error;
};

struct CounterValue {
    std::string name;
    std::uint64_t value = 0;
    std::string sentence;
    std::string severity;  // drops only
};

struct CounterSet {
    std::vector<CounterValue> drops;
    std::vector<CounterValue> counters;
};

struct LocalBackend {
    std::string pool;
    std::string nic;
    std::string node;
    std::string probe;
    std::string target;
    std::string state;  // up, down, unplumbed, unknown
    bool serving = false;
    bool here = false;
    std::string reason;
    std::uint64_t took_us = 0;
    std::uint64_t since_ms = 0;
    // numbers by which nodes call them
    std::uint32_t pool_id = 0;
    std::uint32_t probe_id = 0;
    std::uint32_t index = 0;
};

struct LocalBackends {
    std::vector<LocalBackend> backends;
    std::string error;       // why nothing is probed
    std::string note_error;  // why verdicts are not told
    std::uint64_t probes = 0;
    std::uint64_t failed = 0;
    std::uint64_t late = 0;
    std::uint64_t notes_sent = 0;
    std::uint64_t notes_heard = 0;
    std::uint64_t notes_refused = 0;
    std::uint32_t interval_ms = 0;
};

class LocalAgent {
  public:
    virtual ~LocalAgent() = default;
    // Each takes at most ten seconds, upgrade two minutes. Errors: kUnavailable when no agent
    // answers; else the agent's own.
    virtual Result<AgentStatus> status() = 0;
    virtual Result<CounterSet> counters() = 0;
    virtual Result<LocalBackends> backends() = 0;
    virtual Result<Plumbed> plumb(const std::string& nic_id, const std::string& netns_path,
                                  const std::string& ifname) = 0;
    // The same for a NIC that is on its way here.
    virtual Result<Plumbed> plumb_moving(const std::string& nic_id, const std::string& netns_path,
                                         const std::string& ifname) = 0;
    virtual Result<Migration> migration(const std::string& nic_id) = 0;
    // A TAP interface of this machine; `user`: who may open it besides root.
    virtual Result<Plumbed> plumb_tap(const std::string& nic_id, const std::string& name,
                                      std::optional<std::uint32_t> user) = 0;
    // false: there was nothing to remove
    virtual Result<bool> unplumb(const std::string& nic_id) = 0;
    // Has the agent examine a program and, but for a dry run, become it; `step` hears what it does.
    // The agent is still on its way when this returns.
    virtual Status upgrade(const std::filesystem::path& binary, bool dry_run, bool force,
                           const std::function<void(const std::string&)>& step) = 0;
    // The level now; an empty `level` changes nothing.
    virtual Result<std::string> log_level(const std::string& level) = 0;
};

// Errors: kNotFound when there is no socket, kPermissionDenied when it may not be opened.
Result<std::unique_ptr<LocalAgent>> connect_agent(const std::filesystem::path& socket);

}  // namespace culvert::cli
