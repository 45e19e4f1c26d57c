// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/local.hpp"
#include "cli/output.hpp"
#include "cli/process.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

namespace culvert::cli {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto kLongestStart = 60s;
constexpr auto kPollEvery = 50ms;

// The agent's state once it has started anew: another instance than before.
Result<AgentStatus> wait_for_start(const std::filesystem::path& socket, const AgentStatus& before) {
    const auto deadline = std::chrono::steady_clock::now() + kLongestStart;
    std::string last = "it does not answer";
    while (std::chrono::steady_clock::now() < deadline) {
        auto agent = connect_agent(socket);
        auto status =
            agent ? (*agent)->status() : Result<AgentStatus>(std::unexpected(agent.error()));
        if (status && status->instance != before.instance) {
            return status;
        }
        last = status ? "it has not started anew" : status.error().message;
        std::this_thread::sleep_for(kPollEvery);
    }
    return fail(Code::kTimeout,
                fmt::format("upgrade the agent: after {} s: {}; traffic goes on, the agent's log "
                            "says why",
                            kLongestStart.count(), last));
}

std::string said(const AgentStatus& agent) {
    return fmt::format("build {}, map layout {}", agent.build, agent.abi_version);
}

json::object summary(const AgentStatus& agent) {
    return {{"build", agent.build}, {"layout", agent.abi_version}, {"pid", agent.pid}};
}

int report(const Settings& settings, const AgentStatus& before, const AgentStatus& after) {
    if (settings.json) {
        json::array layouts;
        for (const auto& layout : after.layouts) {
            layouts.push_back({{"version", layout.version}, {"flows", layout.flows}});
        }
        print_json(json::object{{"upgraded", !after.upgrade_failed},
                                {"detail", after.upgrade},
                                {"from", summary(before)},
                                {"to", summary(after)},
                                {"layouts", std::move(layouts)}});
        return after.upgrade_failed ? 1 : 0;
    }
    if (after.upgrade_failed) {
        fmt::print(stderr, "culvert: upgrade failed, the agent goes on as {}: {}\n", said(after),
                   after.upgrade);
        return 1;
    }
    fmt::print("upgraded: {} -> {} (process {})\n", said(before), said(after), after.pid);
    if (after.layouts.size() > 1) {
        fmt::print("layout {} serves {} flows until they end; `culvert status` shows how many\n",
                   after.layouts[1].version, grouped(after.layouts[1].flows));
    }
    return 0;
}

}  // namespace

Result<int> run_agent_upgrade(const Settings& settings, const UpgradeOptions& options) {
    if (::geteuid() != 0) {
        return fail(Code::kPermissionDenied,
                    "upgrade the agent: it replaces what runs as root; run it as root");
    }
    const auto socket = agent_socket(settings.data_dir);
    auto agent = connect_agent(socket);
    if (!agent) {
        return std::unexpected(agent.error());
    }
    std::filesystem::path binary = options.binary;
    if (binary.empty()) {
        auto found = find_program("culvert-agent");
        if (!found) {
            return std::unexpected(found.error());
        }
        binary = *found;
    }
    std::error_code bad;
    binary = std::filesystem::absolute(binary, bad);
    const auto before = (*agent)->status();
    if (!before) {
        return std::unexpected(before.error());
    }
    const auto step = [&](const std::string& text) {
        if (!settings.json) {
            fmt::print("{}\n", text);
            std::fflush(stdout);
        }
    };
    CULVERT_TRY_STATUS((*agent)->upgrade(binary, options.dry_run, options.force, step));
    if (options.dry_run) {
        if (settings.json) {
            print_json(
                json::object{{"upgraded", false}, {"dryRun", true}, {"from", summary(*before)}});
        }
        return 0;
    }
    const auto after = wait_for_start(socket, *before);
    if (!after) {
        return std::unexpected(after.error());
    }
    return report(settings, *before, *after);
}

}  // namespace culvert::cli
