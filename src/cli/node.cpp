// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

namespace culvert::cli {
namespace {

namespace json = boost::json;

// A call of the signed-in caller in one step.
Result<json::value> ask(const Settings& settings, const std::string& method,
                        const std::string& target, const json::value& body) {
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    return (*session)->call(method, target, body);
}

std::string cell(const json::object& object, json::string_view name) {
    const auto* found = object.if_contains(name);
    if (found == nullptr || found->is_null()) {
        return "";
    }
    return found->is_string() ? std::string(found->get_string()) : json::serialize(*found);
}

// "all", the one tenant, or how many.
std::string tenants_of(const json::object& node) {
    const auto* tenants = node.if_contains("tenants");
    if (tenants == nullptr || !tenants->is_array()) {
        return "all";
    }
    const auto& named = tenants->get_array();
    return named.size() == 1 && named[0].is_string() ? std::string(named[0].get_string())
                                                     : std::to_string(named.size());
}

// What a node is doing, in a word or two.
std::string state_of(const json::object& node) {
    const bool live = cell(node, "live") == "true";
    if (cell(node, "draining") != "true") {
        return live ? "live" : "AWAY";
    }
    const std::string left = cell(node, "remainingFlows");
    return left.empty() ? "draining" : fmt::format("draining, {} left", left);
}

// Members that are plain values, one a line.
void print_object(const json::value& value) {
    if (!value.is_object()) {
        print_json(value);
        return;
    }
    std::vector<std::pair<std::string, std::string>> fields;
    for (const auto& member : value.get_object()) {
        fields.emplace_back(member.key(), cell(value.get_object(), member.key()));
    }
    print_fields(fields);
}

Result<int> show(const Settings& settings, const Result<json::value>& answer) {
    return print_answer(settings.json, answer, print_object);
}

}  // namespace

Result<int> run_node_token(const Settings& settings, const NodeTokenOptions& options) {
    json::object body;
    if (!options.node.empty()) {
        body["name"] = options.node;
    }
    if (!options.tenants.empty()) {
        body["tenants"] = json::value_from(options.tenants);
    }
    return show(settings, ask(settings, "POST", "/culvert/join-tokens", body));
}

Result<int> run_node_list(const Settings& settings) {
    auto answer = ask(settings, "GET", "/culvert/nodes", nullptr);
    if (!answer) {
        return std::unexpected(answer.error());
    }
    const auto* list = answer->is_object() ? answer->get_object().if_contains("value") : nullptr;
    const json::array empty;
    const auto& nodes = list != nullptr && list->is_array() ? list->get_array() : empty;
    if (settings.json) {
        print_json(nodes);
        return 0;
    }
    std::vector<Row> rows;
    std::vector<std::string> notes;
    for (const auto& node : nodes) {
        if (node.is_object()) {
            const auto& at = node.get_object();
            rows.push_back({cell(at, "name"), cell(at, "index"), cell(at, "outer"),
                            cell(at, "connected"), state_of(at), cell(at, "version"),
                            cell(at, "releasesWaiting"), tenants_of(at), cell(at, "build")});
            if (cell(at, "releasesWaiting") != "0" && cell(at, "connected") == "false") {
                notes.push_back(cell(at, "name"));
            }
        }
    }
    print_table(
        {"NAME", "INDEX", "BACKBONE", "CONNECTED", "STATE", "INTENT", "HOLDS", "TENANTS", "BUILD"},
        rows);
    for (const auto& name : notes) {
        fmt::print(stderr,
                   "node {0} is away and may still know released numbers and addresses (HOLDS), "
                   "which are not used again until it is back; if it will not come back: culvert "
                   "node delete {0}\n",
                   name);
    }
    if (answer->is_object() && cell(answer->get_object(), "numbersKnown") == "false") {
        fmt::print(stderr,
                   "restored from a backup: no new number or address is given out until every "
                   "node has acknowledged the restored state\n");
    }
    return 0;
}

Result<int> run_node_delete(const Settings& settings, const std::string& name, bool force) {
    auto answer =
        ask(settings, "DELETE", "/culvert/nodes/" + name + (force ? "?force=true" : ""), nullptr);
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (settings.json) {
        print_json({{"removed", name}});
    } else {
        fmt::print("removed node {}; its certificate is no longer accepted\n", name);
    }
    return 0;
}

namespace {

Result<int> edit_tenants(const Settings& settings, const NodeTenantOptions& options,
                         const std::string& action) {
    auto answer = ask(settings, "POST", "/culvert/nodes/" + options.node + "/" + action,
                      json::object{{"tenant", options.tenant}});
    if (answer && answer->is_object() && !settings.json) {
        const auto still = cell(answer->get_object(), "stillAttached");
        if (still != "0") {
            fmt::print(stderr,
                       "{} network interfaces of tenants that node {} does not serve stay attached "
                       "there until they are detached\n",
                       still, options.node);
        }
    }
    return show(settings, answer);
}

}  // namespace

Result<int> run_node_allow(const Settings& settings, const NodeTenantOptions& options) {
    return edit_tenants(settings, options, "allow");
}

Result<int> run_node_deny(const Settings& settings, const NodeTenantOptions& options) {
    return edit_tenants(settings, options, "deny");
}

Result<int> run_principal_create(const Settings& settings, const PrincipalOptions& options) {
    json::object body;
    body["name"] = options.name;
    if (!options.role.empty()) {
        body["role"] = options.role;
    }
    if (!options.scope.empty()) {
        body["scope"] = options.scope;
    }
    return show(settings, ask(settings, "POST", "/culvert/principals", body));
}

Result<int> run_subscription_create(const Settings& settings, const SubscriptionOptions& options) {
    json::object body;
    body["name"] = options.name;
    if (!options.tenant.empty()) {
        body["tenant"] = options.tenant;
    }
    return show(settings, ask(settings, "POST", "/culvert/subscriptions", body));
}

}  // namespace culvert::cli
