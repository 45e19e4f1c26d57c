// SPDX-License-Identifier: Apache-2.0
// culvert migrate, and what it shares with attach.
#pragma once

#include "base/result.hpp"
#include "cli/settings.hpp"

#include <string>

namespace culvert::cli {

struct AgentStatus;

struct MigrateOptions {
    std::string nic;
    std::string netns;
    std::string ifname = "eth0";
    std::string to;  // has to be this machine's node; empty: it is
};
Result<int> run_migrate(const Settings& settings, const MigrateOptions& options);

inline constexpr const char* kNicApiVersion = "?api-version=2024-05-01";
// The file of a namespace given by name or path. Errors: kNotFound, prefixed by `doing`.
Result<std::string> netns_path(const std::string& doing, const std::string& name);
// Whether the NIC has an interface on the agent's machine.
bool lists(const AgentStatus& agent, const std::string& nic);
// Errors: kInvalidArgument when it is no id of a network interface.
Status check_nic(const std::string& nic);

}  // namespace culvert::cli
