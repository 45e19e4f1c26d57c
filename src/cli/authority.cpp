// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>

#include <chrono>
#include <thread>

namespace culvert::cli {
namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kPath = "/culvert/ca";
constexpr auto kLookEvery = std::chrono::milliseconds(250);

const json::array& list_in(const json::value& state, json::string_view name) {
    static const json::array kNone;
    const auto* found = state.is_object() ? state.get_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_array() ? found->get_array() : kNone;
}

std::string text_in(const json::value& state, json::string_view name) {
    const auto* found = state.is_object() ? state.get_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

bool flag_in(const json::value& state, json::string_view name) {
    const auto* found = state.is_object() ? state.get_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_bool() && found->get_bool();
}

std::vector<std::string> waiting_in(const json::value& state) {
    std::vector<std::string> out;
    for (const auto& name : list_in(state, "waitingFor")) {
        out.emplace_back(name.is_string() ? std::string(name.get_string()) : "?");
    }
    return out;
}

void print_state(const json::value& state) {
    std::vector<Row> authorities;
    for (const auto& each : list_in(state, "authorities")) {
        authorities.push_back(
            {text_in(each, "name"), flag_in(each, "signs") ? "signs" : "trusted"});
    }
    print_table({"AUTHORITY", "STATE"}, authorities);
    fmt::print("\n");
    std::vector<Row> nodes;
    for (const auto& each : list_in(state, "nodes")) {
        nodes.push_back({text_in(each, "name"), flag_in(each, "connected") ? "yes" : "no",
                         flag_in(each, "trusts") ? "yes" : "no", text_in(each, "authority"),
                         flag_in(each, "ready") ? "yes" : "no"});
    }
    print_table({"NODE", "CONNECTED", "TRUSTS ALL", "CERTIFICATE OF", "READY"}, nodes);
}

// The state once no node is waited for, or when the time is over.
Result<json::value> wait_for_nodes(Session& session, double seconds) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    while (true) {
        auto state = session.call("GET", kPath, nullptr);
        if (!state || list_in(*state, "waitingFor").empty() || Clock::now() >= end) {
            return state;
        }
        std::this_thread::sleep_for(kLookEvery);
    }
}

Result<json::value> step(Session& session, const char* action, bool force) {
    return session.call("POST", kPath, json::object{{"action", action}, {"force", force}});
}

// From wherever an earlier rotation stopped to the end.
Result<json::value> rotate(Session& session, const CaOptions& options) {
    bool begun = false;
    while (true) {
        auto state = wait_for_nodes(session, options.wait);
        if (!state) {
            return state;
        }
        const auto rotation = text_in(*state, "rotation");
        if (rotation == "none" && begun) {
            return state;
        }
        const auto waiting = waiting_in(*state);
        if (!waiting.empty() && !options.force) {
            return fail(Code::kTimeout,
                        fmt::format("rotation is at '{}' and waits for {}: run it again when they "
                                    "are back, or with --force, which cuts them off",
                                    rotation, fmt::join(waiting, ", ")),
                        "--wait");
        }
        auto done = step(session, "rotate", options.force);
        if (!done) {
            return done;
        }
        begun = true;
        fmt::print(stderr, "culvert: rotation: {}\n",
                   text_in(*done, "rotation") == "trusting" ? "the new authority is trusted"
                   : text_in(*done, "rotation") == "issuing"
                       ? "certificates come from the new authority"
                       : "the old authority is forgotten");
    }
}

Result<int> show(const Settings& settings, const Result<json::value>& state) {
    return print_answer(settings.json, state, print_state);
}

}  // namespace

Result<int> run_ca_status(const Settings& settings) {
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    return show(settings, (*session)->call("GET", kPath, nullptr));
}

Result<int> run_ca_rotate(const Settings& settings, const CaOptions& options) {
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    return show(settings,
                options.abort ? step(**session, "abort", false) : rotate(**session, options));
}

}  // namespace culvert::cli
