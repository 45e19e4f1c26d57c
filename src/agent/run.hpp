// SPDX-License-Identifier: Apache-2.0
// The agent's life: wires node, stream, local socket and metrics, and waits for a signal.
#pragma once

#include "abi/alias.h"
#include "abi/limits.h"
#include "agent/liveness.hpp"
#include "base/limits.hpp"
#include "base/log_control.hpp"
#include "base/result.hpp"
#include "datapath/loader.hpp"
#include "net/address.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace culvert::agent {

struct RunOptions {
    std::filesystem::path data_dir;
    std::filesystem::path pin_dir;
    std::string backbone;  // interface name or "none"
    std::uint16_t udp_port = 0;
    bool force_clsact = false;
    std::uint32_t flows = CV_FLOWS_DEFAULT;
    LivenessTimes liveness;
    std::chrono::milliseconds probe_interval{0};  // goes before the probes' own; 0: none
    net::Ipv4 alias_base{CV_ALIAS_BASE};
    datapath::Quotas quotas;
    std::chrono::seconds nat_drain = limits::kNatDrain;
    std::chrono::nanoseconds idle_unit = std::chrono::seconds(1);
    std::string metrics;  // ADDRESS:PORT, empty: none
    std::string build;
    const LogCounts* log = nullptr;
};

// Until SIGTERM or SIGINT, which the caller has blocked. Programs, maps and interfaces stay.
Status run(const RunOptions& options);

struct PurgeOptions {
    std::filesystem::path data_dir;
    std::filesystem::path pin_dir;  // empty: where the last run pinned
};

// Removes every interface, pin and mount an agent with this data directory made, and what it keeps
// there but the node's identity. Errors: kConflict while the agent runs.
Status purge(const PurgeOptions& options);

}  // namespace culvert::agent
