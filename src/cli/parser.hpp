// SPDX-License-Identifier: Apache-2.0
// Every command, option and help text, once: parsing, --help, completion and the manual page come
// from here.
#pragma once

#include "cli/commands.hpp"
#include "cli/migrate.hpp"

#include <functional>
#include <memory>

namespace CLI {
class App;
}

namespace culvert::cli {

// Where the parser puts what it read, and the command that was named.
struct Parsed {
    Settings settings;
    std::function<Result<int>()> command;

    UpOptions up;
    DownOptions down;
    DoctorOptions doctor;
    AttachOptions attach;
    DetachOptions detach;
    MigrateOptions migrate;
    CounterOptions counters;
    AzSetupOptions az_setup;
    LoginOptions login;
    NodeDrainOptions node_drain;
    UpgradeOptions upgrade;
    NodeTokenOptions node_token;
    std::string node_name;
    bool node_force = false;
    NodeTenantOptions node_tenant;
    PrincipalOptions principal;
    SubscriptionOptions subscription;
    BackupOptions backup;
    RestoreOptions restore;
    VerifyOptions verify;
    AuditOptions audit;
    MetricsOptions metrics;
    LogLevelOptions log_level;
    CaOptions ca;
    RestOptions rest;
    std::string shell;
};

// The parser writes into `into`, which must outlive it.
std::shared_ptr<CLI::App> make_parser(Parsed& into);

// A completion script for "bash" or "zsh".
Result<std::string> completion_script(const CLI::App& app, const std::string& shell);
// The manual page culvert(1) in man(7) macros.
std::string manual_page(const CLI::App& app);

}  // namespace culvert::cli
