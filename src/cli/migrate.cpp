// SPDX-License-Identifier: Apache-2.0
#include "cli/migrate.hpp"

#include "cli/local.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <chrono>
#include <thread>

namespace culvert::cli {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto kPatience = 45s;  // longer than the control plane's own
constexpr auto kPause = 20ms;

std::string text(const json::value& from, std::string_view name) {
    const auto* found = from.is_object() ? from.as_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_string() ? std::string(found->as_string()) : std::string();
}

// Until the NIC is attached here, or the move is over without that.
Result<Migration> wait_here(LocalAgent& agent, const std::string& nic) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (true) {
        auto now = agent.migration(nic);
        if (!now || now->where == Migration::Where::kDone) {
            return now;
        }
        if (now->where == Migration::Where::kNowhere) {
            return fail(Code::kConflict,
                        fmt::format("migrate: the move was called off{}{}; the network interface "
                                    "is where it was (the log of culvertd says why)",
                                    now->error.empty() ? "" : ": ", now->error),
                        nic);
        }
        if (std::chrono::steady_clock::now() > deadline) {
            return fail(Code::kTimeout,
                        "migrate: the move has not ended in time; run the command again", nic);
        }
        std::this_thread::sleep_for(kPause);
    }
}

void print_moved(const Settings& settings, const MigrateOptions& options, const std::string& from,
                 const std::string& to, const Migration& moved) {
    const double gap_ms = static_cast<double>(moved.gap_us) / 1000.0;
    if (settings.json) {
        print_json({{"nic", options.nic},
                    {"from", from},
                    {"to", to},
                    {"netns", options.netns},
                    {"ifname", options.ifname},
                    {"gapMilliseconds", gap_ms},
                    {"connections", moved.flows},
                    {"refusedConnections", moved.refused}});
        return;
    }
    fmt::print(
        "moved from node {} to {}: {} connections came along, out of service for {:.1f} ms\n", from,
        to, moved.flows, gap_ms);
    if (moved.refused != 0) {
        fmt::print("{} connections did not: the links or rules that they were made by are gone\n",
                   moved.refused);
    }
}

// An earlier run has done it.
void print_there(const Settings& settings, const MigrateOptions& options, const std::string& node) {
    if (settings.json) {
        print_json({{"nic", options.nic},
                    {"from", node},
                    {"to", node},
                    {"netns", options.netns},
                    {"ifname", options.ifname}});
        return;
    }
    fmt::print("the network interface is on node {} already\n", node);
}

}  // namespace

Result<int> run_migrate(const Settings& settings, const MigrateOptions& options) {
    CULVERT_TRY_STATUS(check_nic(options.nic));
    auto socket = connect_agent(agent_socket(settings.data_dir));
    auto agent =
        socket ? (*socket)->status() : Result<AgentStatus>(std::unexpected(socket.error()));
    if (!agent) {
        return std::unexpected(agent.error());
    }
    if (!options.to.empty() && options.to != agent->node) {
        return fail(Code::kInvalidArgument,
                    fmt::format("migrate: this is node {}; run the command on node {}, where the "
                                "interface will be",
                                agent->node, options.to),
                    "--to");
    }
    const auto path = netns_path("migrate", options.netns);
    if (!path) {
        return std::unexpected(path.error());
    }
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    json::object body;
    body["node"] = agent->node;
    const std::string target = options.nic + "/migrate" + kNicApiVersion;
    auto begun = (*session)->call("POST", target, body);
    if (!begun && begun.error().arm_code == "NetworkInterfaceAlreadyThere" &&
        lists(*agent, options.nic)) {
        print_there(settings, options, agent->node);
        return 0;
    }
    if (!begun) {
        return std::unexpected(begun.error());
    }
    if (text(*begun, "stage") == "preparing") {
        if (auto made = (*socket)->plumb_moving(options.nic, *path, options.ifname); !made) {
            body["callOff"] = true;
            (void)(*session)->call("POST", target, body);
            return std::unexpected(made.error());
        }
    }
    auto moved = wait_here(**socket, options.nic);
    if (!moved) {
        return std::unexpected(moved.error());
    }
    print_moved(settings, options, text(*begun, "from"), agent->node, *moved);
    return 0;
}

}  // namespace culvert::cli
