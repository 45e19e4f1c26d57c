// SPDX-License-Identifier: Apache-2.0
// `culvert backends`.
#include "cli/commands.hpp"
#include "cli/local.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>
#include <cctype>

namespace culvert::cli {
namespace {

namespace json = boost::json;

std::string last_name(const std::string& id) { return id.substr(id.rfind('/') + 1); }

// What is not as it should be catches the eye.
std::string loud(std::string state) {
    if (state != "up") {
        std::ranges::transform(state, state.begin(), [](unsigned char letter) {
            return static_cast<char>(std::toupper(letter));
        });
    }
    return state;
}

json::object to_json(const LocalBackend& one) {
    json::object out{{"pool", one.pool},      {"nic", one.nic},         {"node", one.node},
                     {"state", one.state},    {"serving", one.serving}, {"here", one.here},
                     {"poolId", one.pool_id}, {"index", one.index}};
    if (!one.probe.empty()) {
        out["probe"] = one.probe;
        out["target"] = one.target;
        out["probeId"] = one.probe_id;
    }
    if (!one.reason.empty()) {
        out["reason"] = one.reason;
        out["tookMicroseconds"] = one.took_us;
        out["sinceMilliseconds"] = one.since_ms;
    }
    return out;
}

void show_json(const LocalBackends& all) {
    json::array backends;
    for (const auto& one : all.backends) {
        backends.push_back(to_json(one));
    }
    print_json(json::object{{"backends", std::move(backends)},
                            {"error", all.error},
                            {"noteError", all.note_error},
                            {"probes", all.probes},
                            {"probesFailed", all.failed},
                            {"probesLate", all.late},
                            {"notesSent", all.notes_sent},
                            {"notesHeard", all.notes_heard},
                            {"notesRefused", all.notes_refused},
                            {"intervalMs", all.interval_ms}});
}

void show_table(const LocalBackends& all) {
    if (!all.error.empty()) {
        fmt::print("NOTHING IS PROBED: {}\n\n", all.error);
    }
    if (!all.note_error.empty()) {
        fmt::print("OTHER NODES ARE NOT TOLD: {}\n\n", all.note_error);
    }
    if (all.backends.empty()) {
        fmt::print("this node knows no backend\n");
        return;
    }
    std::vector<Row> rows;
    rows.reserve(all.backends.size());
    for (const auto& one : all.backends) {
        rows.push_back({last_name(one.pool), last_name(one.nic), one.node,
                        one.probe.empty() ? "-" : one.probe, one.target.empty() ? "-" : one.target,
                        loud(one.state), one.serving ? "yes" : "NO",
                        one.here ? one.reason : "told by " + one.node});
    }
    print_table({"POOL", "NIC", "NODE", "PROBE", "TARGET", "STATE", "SERVES", "WHY"}, rows);
}

}  // namespace

Result<int> run_backends(const Settings& settings) {
    auto agent = connect_agent(agent_socket(settings.data_dir));
    if (!agent) {
        return std::unexpected(agent.error());
    }
    const auto all = (*agent)->backends();
    if (!all) {
        return std::unexpected(all.error());
    }
    if (settings.json) {
        show_json(*all);
    } else {
        show_table(*all);
    }
    return 0;
}

}  // namespace culvert::cli
