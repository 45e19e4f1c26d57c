// SPDX-License-Identifier: Apache-2.0
// One function a command: options in, exit status out. Parsing and help are in parser.cpp.
#pragma once

#include "base/result.hpp"
#include "cli/settings.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace culvert::cli {

struct UpOptions {
    bool detach = false;
    std::string listen = "127.0.0.1:8443";
    std::string intent_listen = "127.0.0.1:8444";
    std::string advertise;
    std::string region;
    std::string node;  // empty: the host's name
    std::string backbone = "none";
    std::string outer;
    std::string
        pin;  // empty: /sys/fs/bpf/culvert, or below a data directory that is not the usual one
    bool force_clsact = false;
    std::uint64_t flows = 0;  // 0: the agent's default
    std::string metrics;
    std::string log_level;
    std::map<std::string, std::string> agent;  // other options of `culvert-agent run`, where given
};
Result<int> run_up(const Settings& settings, const UpOptions& options);

struct DownOptions {
    bool purge = false;
};
Result<int> run_down(const Settings& settings, const DownOptions& options);

Result<int> run_status(const Settings& settings);

struct UpgradeOptions {
    std::string binary;  // empty: the culvert-agent beside this program, else the first in PATH
    bool dry_run = false;
    bool force = false;  // also when flows of a third layout end by it
};
Result<int> run_agent_upgrade(const Settings& settings, const UpgradeOptions& options);

struct DoctorOptions {
    std::string backbone = "none";
    std::uint16_t udp_port = 4789;
};
Result<int> run_doctor(const Settings& settings, const DoctorOptions& options);

struct AttachOptions {
    std::string nic;
    std::string netns;
    std::string ifname = "eth0";
    std::string node;      // empty: this machine's
    bool tap = false;      // a TAP interface rather than one in a namespace
    std::string tap_name;  // empty: the agent's choice
    std::string tap_user;  // name or number; empty: root alone
};
Result<int> run_attach(const Settings& settings, const AttachOptions& options);

struct DetachOptions {
    std::string nic;
};
Result<int> run_detach(const Settings& settings, const DetachOptions& options);

struct CounterOptions {
    bool watch = false;
    bool all = false;       // zeros too
    double interval = 1.0;  // seconds
};
Result<int> run_drops(const Settings& settings, const CounterOptions& options);
Result<int> run_counters(const Settings& settings, const CounterOptions& options);
// The backends that this node knows and what is known of their health.
Result<int> run_backends(const Settings& settings);

struct AzSetupOptions {
    bool apply = false;
    std::string az = "az";
    std::string cloud = "Culvert";
    std::string ca_out;  // empty: culvert-ca.pem in the configuration directory
};
Result<int> run_az_setup(const Settings& settings, const AzSetupOptions& options);

struct LoginOptions {
    bool service_principal = false;
    std::string user;
    std::string password;  // "-": read from standard input
    std::string tenant;
};
Result<int> run_login(const Settings& settings, const LoginOptions& options);
Result<int> run_logout(const Settings& settings);

struct NodeTokenOptions {
    std::string node;                  // empty: for any name
    std::vector<std::string> tenants;  // the only ones the node will serve; empty: all
};
Result<int> run_node_token(const Settings& settings, const NodeTokenOptions& options);
Result<int> run_node_list(const Settings& settings);
Result<int> run_node_delete(const Settings& settings, const std::string& name, bool force);

struct NodeTenantOptions {
    std::string node;
    std::string tenant;  // an id, or "all"
};
Result<int> run_node_allow(const Settings& settings, const NodeTenantOptions& options);
Result<int> run_node_deny(const Settings& settings, const NodeTenantOptions& options);

struct NodeDrainOptions {
    std::string name;
    bool wait = false;
    double timeout = 600;  // seconds to wait
};
Result<int> run_node_drain(const Settings& settings, const NodeDrainOptions& options);
Result<int> run_node_undrain(const Settings& settings, const std::string& name);

struct PrincipalOptions {
    std::string name;
    std::string role;  // empty: no assignment
    std::string scope;
};
Result<int> run_principal_create(const Settings& settings, const PrincipalOptions& options);

struct SubscriptionOptions {
    std::string name;
    std::string tenant;  // empty: the caller's
};
Result<int> run_subscription_create(const Settings& settings, const SubscriptionOptions& options);

struct BackupOptions {
    std::string to;
    bool force = false;
};
Result<int> run_backup(const Settings& settings, const BackupOptions& options);

struct RestoreOptions {
    std::string from;
    std::string data;  // culvertd's own directory; empty: below --data-dir
    std::optional<std::int64_t> to_revision;
    std::string to_time;
    bool force = false;
};
Result<int> run_restore(const Settings& settings, const RestoreOptions& options);

struct VerifyOptions {
    std::string data;  // empty: ask the control plane
};
// 1 when there are findings.
Result<int> run_store_verify(const Settings& settings, const VerifyOptions& options);

struct AuditOptions {
    std::string resource;
    std::string principal;
    std::string since;  // a time, or "12h"
    std::size_t limit = 100;
};
Result<int> run_audit_list(const Settings& settings, const AuditOptions& options);

struct MetricsOptions {
    std::string resource;  // ARM id
    std::string metric;    // names, comma-separated; empty: all
    std::string timespan = "PT1H";
    std::string interval = "PT1M";
    std::string filter;
};
Result<int> run_metrics(const Settings& settings, const MetricsOptions& options);

struct LogLevelOptions {
    std::string component;  // culvertd, culvert-agent; empty: both, as far as they run
    std::string level;      // empty: show it
};
Result<int> run_log_level(const Settings& settings, const LogLevelOptions& options);

struct CaOptions {
    bool abort = false;
    bool force = false;
    double wait = 120;  // seconds, for the nodes
};
Result<int> run_ca_status(const Settings& settings);
Result<int> run_ca_rotate(const Settings& settings, const CaOptions& options);

struct RestOptions {
    std::string method;
    std::string target;
    std::string body;  // JSON, "@FILE" or "-"
    std::string api_version;
    bool status_line = false;
};
Result<int> run_rest(const Settings& settings, const RestOptions& options);

}  // namespace culvert::cli
