// SPDX-License-Identifier: Apache-2.0
// What is asked of the running processes themselves.
#include "cli/commands.hpp"
#include "cli/local.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr const char* kLogPath = "/culvert/log-level";

Result<std::string> control_level(const Settings& settings, const std::string& level) {
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    auto answer = level.empty()
                      ? (*session)->call("GET", kLogPath, nullptr)
                      : (*session)->call("POST", kLogPath, json::object{{"level", level}});
    if (!answer) {
        return std::unexpected(answer.error());
    }
    const auto* said = answer->is_object() ? answer->get_object().if_contains("level") : nullptr;
    if (said == nullptr || !said->is_string()) {
        return fail(Code::kUnavailable, "the control plane says no log level");
    }
    return std::string(said->get_string());
}

Result<std::string> agent_level(const Settings& settings, const std::string& level) {
    auto agent = connect_agent(agent_socket(settings.data_dir));
    return agent ? (*agent)->log_level(level) : std::unexpected(agent.error());
}

}  // namespace

Result<int> run_log_level(const Settings& settings, const LogLevelOptions& options) {
    json::object shown;
    std::vector<Row> rows;
    std::optional<Error> failed;
    using Ask = Result<std::string> (*)(const Settings&, const std::string&);
    for (const auto& [component, ask] :
         {std::pair<const char*, Ask>{"culvertd", control_level}, {"culvert-agent", agent_level}}) {
        if (!options.component.empty() && options.component != component) {
            continue;
        }
        auto level = ask(settings, options.level);
        if (level) {
            shown[component] = *level;
            rows.push_back({component, *level});
        } else {
            failed = prefixed(std::move(level.error()), component);
        }
    }
    // without a component: of whatever runs here
    if (failed && (rows.empty() || !options.component.empty())) {
        return std::unexpected(std::move(*failed));
    }
    if (settings.json) {
        print_json(shown);
    } else {
        print_table({"COMPONENT", "LEVEL"}, rows);
    }
    return 0;
}

}  // namespace culvert::cli
