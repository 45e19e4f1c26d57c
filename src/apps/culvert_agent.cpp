// SPDX-License-Identifier: Apache-2.0
// culvert-agent: flags to options, errors to exit codes. The agent itself is src/agent/.
#include "agent/agent.hpp"
#include "base/log_control.hpp"
#include "base/probe_limits.hpp"
#include "runtime/signals.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>

namespace {

constexpr const char* kBuild = "0.1.0";
constexpr const char* kDataDir = "/var/lib/culvert/agent";
constexpr const char* kPinDir = "/sys/fs/bpf/culvert";
// A connection takes two entries where its backend lives; 120 + 20 + about 50 bytes each.
constexpr std::uint32_t kFlowsLeast = 1024;
constexpr std::uint32_t kFlowsMost = 64 * 1024 * 1024;

void add_quotas(CLI::App& run, culvert::datapath::Quotas& quotas) {
    run.add_option("--flow-quota", quotas.flows,
                   "Most of the flow table that one network interface or one link may hold, in "
                   "percent; 100: all of it")
        ->default_val(CV_QUOTA_FLOWS_PERCENT)
        ->check(CLI::Range(1, 100));
    run.add_option("--opening-quota", quotas.opening,
                   "The same for connections whose handshake is not over")
        ->default_val(CV_QUOTA_OPENING_PERCENT)
        ->check(CLI::Range(1, 100));
    run.add_option("--nat-quota", quotas.nat,
                   "Most of the NAT ports towards one backend that one link may hold, in percent")
        ->default_val(CV_QUOTA_NAT_PERCENT)
        ->check(CLI::Range(1, 100));
}

CLI::App* add_run(CLI::App& app, culvert::agent::RunOptions& options) {
    auto* run = app.add_subcommand(
        "run",
        "Runs in the foreground until SIGTERM or SIGINT.\n"
        "Programs, maps and interfaces stay in place when it ends: traffic goes on.");
    run->add_option("--data-dir", options.data_dir, "Where the node's identity and intent are kept")
        ->default_val(kDataDir);
    run->add_option("--backbone", options.backbone,
                    "Interface to the other nodes; 'none' on a machine that is the only node")
        ->required();
    run->add_option("--pin", options.pin_dir,
                    "Where programs and maps are pinned; a bpffs is mounted where there is none")
        ->default_val(kPinDir);
    run->add_option("--udp-port", options.udp_port,
                    "VXLAN port, when not the one that the control plane says");
    run->add_flag("--force-clsact", options.force_clsact,
                  "Attach by clsact also where the kernel has tcx");
    run->add_option("--flows", options.flows,
                    "Entries of the flow table, about 200 bytes each; a connection takes two where "
                    "its backend lives, one elsewhere")
        ->default_val(CV_FLOWS_DEFAULT)
        ->check(CLI::Range(kFlowsLeast, kFlowsMost));
    add_quotas(*run, options.quotas);
    run->add_option("--metrics", options.metrics, "Serve Prometheus metrics on ADDRESS:PORT");
    return run;
}

constexpr std::int64_t kLongestDrain = 7 * 24 * 3600;

// Milliseconds and seconds as numbers: the flags say the unit.
struct TimeFlags {
    std::int64_t interval_ms = 100;
    std::int64_t nat_drain_s = std::chrono::seconds(culvert::limits::kNatDrain).count();
    std::int64_t reset_s = 60;
    std::int64_t idle_unit_ms = 1000;
};

void add_times(CLI::App& run, culvert::agent::RunOptions& options, TimeFlags& flags) {
    namespace limits = culvert::limits;
    using std::chrono::milliseconds;
    const auto shortest = milliseconds(limits::kShortestEchoInterval).count();
    const auto longest = milliseconds(limits::kLongestEchoInterval).count();
    run.add_option("--liveness-interval-ms", flags.interval_ms,
                   fmt::format("Ask each peer whether it is there so often, {} to {} ms; 0: do not "
                               "ask, count every peer as alive",
                               shortest, longest))
        ->default_val(flags.interval_ms)
        ->check(CLI::Validator(CLI::Range(shortest, longest) | CLI::IsMember({std::string("0")})));
    run.add_option("--liveness-misses", options.liveness.misses,
                   "A peer that is silent for so many intervals is lost: new connections go "
                   "elsewhere")
        ->default_val(options.liveness.misses)
        ->check(CLI::Range(1u, limits::kMostEchoMisses));
    run.add_option("--liveness-reset-s", flags.reset_s,
                   "Reset connections to a peer that is lost for so long, in seconds; 0: never")
        ->default_val(flags.reset_s)
        ->check(CLI::Range(std::int64_t{0}, std::int64_t{86400}));
    run.add_option("--nat-drain-s", flags.nat_drain_s,
                   "How long connections go on with a NAT address that was removed from its "
                   "service, in seconds; then they end")
        ->default_val(flags.nat_drain_s)
        ->check(CLI::Range(std::int64_t{1}, kLongestDrain));
    run.add_option("--idle-unit-ms", flags.idle_unit_ms,
                   "What a second of a rule's idle timeout counts as, in milliseconds: for tests")
        ->default_val(flags.idle_unit_ms)
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000}))
        ->group("");
}

void add_probes(CLI::App& run, culvert::agent::RunOptions& options, std::int64_t& interval_ms) {
    namespace limits = culvert::limits;
    const auto shortest = limits::kShortestProbeInterval.count();
    constexpr std::int64_t kLongest = 60000;
    run.add_option("--probe-interval-ms", interval_ms,
                   fmt::format("Probe the backends of this node so often, {} to {} ms, whatever "
                               "their probes say; 0: as they say",
                               shortest, kLongest))
        ->default_val(interval_ms)
        ->check(CLI::Validator(CLI::Range(std::int64_t{shortest}, kLongest) |
                               CLI::IsMember({std::string("0")})));
    run.add_option_function<std::string>(
           "--alias-base",
           [&options](const std::string& text) {
               const auto base = culvert::net::Ipv4Prefix::parse(text + "/10");
               if (!base) {
                   throw CLI::ValidationError("--alias-base", "not the base of a /10: " + text);
               }
               options.alias_base = base->base;
           },
           "First address of the /10 in which workloads have aliases towards the node's own "
           "services; seen nowhere else")
        ->default_str(options.alias_base.str());
}

void add_join(CLI::App& app, culvert::agent::JoinOptions& options) {
    auto* join = app.add_subcommand(
        "join", "Makes this host a node: a key stays here, a one-time token buys its certificate.");
    join->add_option("--control", options.control, "https://HOST:PORT of culvertd")->required();
    join->add_option("--ca", options.ca_file, "Certificate of culvertd's authority (PEM)")
        ->required()
        ->check(CLI::ExistingFile);
    join->add_option("--token", options.token, "One-time join token")
        ->required()
        ->envname("CULVERT_JOIN_TOKEN");
    join->add_option("--name", options.name, "The node's name")->required();
    join->add_option("--outer", options.outer, "The node's backbone address")->required();
    join->add_option("--data-dir", options.data_dir, "Where to keep key and certificate")
        ->default_val(kDataDir);
}

void add_check(CLI::App& app, culvert::agent::CheckOptions& options) {
    auto* check = app.add_subcommand(
        "check",
        "Asks the kernel whether it takes this build's programs beside those that run; changes "
        "nothing. Prints build and map layout as JSON. 'culvert agent upgrade' runs it.");
    check->add_option("--pin", options.pin_dir, "The pin directory of 'run'")->default_val(kPinDir);
    check->add_option("--flows", options.flows, "As for 'run'")
        ->default_val(CV_FLOWS_DEFAULT)
        ->check(CLI::Range(kFlowsLeast, kFlowsMost));
}

void add_purge(CLI::App& app, culvert::agent::PurgeOptions& options) {
    auto* purge = app.add_subcommand(
        "purge",
        "Removes every interface, program, map and mount that the agent made; cuts its workloads "
        "off. The node's identity stays.");
    purge->add_option("--data-dir", options.data_dir, "The data directory of 'run'")
        ->default_val(kDataDir);
    purge->add_option("--pin", options.pin_dir, "The pin directory, when not the last run's");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"culvert-agent: private link for the workloads of this host"};
    app.require_subcommand(1);
    app.set_version_flag("--version", std::string("culvert-agent ") + kBuild);
    std::string level = "info";
    app.add_option("--log-level", level, "trace, debug, info, warn, error or off");
    app.fallthrough();
    culvert::agent::RunOptions run;
    culvert::agent::JoinOptions join;
    culvert::agent::PurgeOptions purge;
    culvert::agent::CheckOptions check;
    run.build = kBuild;
    check.build = kBuild;
    TimeFlags times;
    std::int64_t probe_interval_ms = 0;
    auto* run_command = add_run(app, run);
    add_times(*run_command, run, times);
    add_probes(*run_command, run, probe_interval_ms);
    add_join(app, join);
    add_check(app, check);
    add_purge(app, purge);
    CLI11_PARSE(app, argc, argv);
    run.liveness.interval = std::chrono::milliseconds(times.interval_ms);
    run.liveness.reset_after = std::chrono::seconds(times.reset_s);
    run.idle_unit = std::chrono::milliseconds(times.idle_unit_ms);
    run.nat_drain = std::chrono::seconds(times.nat_drain_s);
    run.probe_interval = std::chrono::milliseconds(probe_interval_ms);
    culvert::LogCounts log;
    run.log = &log;
    auto done = culvert::set_up_log(level);
    if (done) {
        culvert::count_log(log);
        // before any thread is made, so that only run() sees them
        done = culvert::runtime::block_signals(
            {SIGTERM, SIGINT, SIGPIPE, culvert::agent::kUpgradeSignal});
    }
    if (done && app.got_subcommand("run")) {
        done = culvert::agent::run(run);
    } else if (done && app.got_subcommand("join")) {
        done = culvert::agent::join(join);
    } else if (done && app.got_subcommand("check")) {
        done = culvert::agent::check(check);
    } else if (done) {
        done = culvert::agent::purge(purge);
    }
    if (!done) {
        fmt::print(stderr, "culvert-agent: {}\n", done.error().message);
        return 1;
    }
    return 0;
}
