// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

namespace culvert::cli {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto kLook = 500ms;

bool is_true(const json::value& object, json::string_view name) {
    const auto* member = object.as_object().if_contains(name);
    return member != nullptr && member->is_bool() && member->get_bool();
}

// Until no connection to a backend there is left. Says how many are, on standard error, whenever
// that changes.
Result<int> wait_for_end(Session& session, const NodeDrainOptions& options) {
    const std::chrono::duration<double> patience(options.timeout);
    const auto begun = std::chrono::steady_clock::now();
    std::int64_t said = -1;
    while (true) {
        auto node = session.call("GET", "/culvert/nodes/" + options.name, nullptr);
        if (!node) {
            return std::unexpected(node.error());
        }
        if (!is_true(*node, "draining")) {
            return fail(Code::kConflict,
                        fmt::format("wait for node {}: somebody ended the draining", options.name));
        }
        const auto* remaining = node->as_object().if_contains("remainingFlows");
        const std::int64_t left = remaining == nullptr ? -1 : remaining->to_number<std::int64_t>();
        if (left == 0) {
            return 0;
        }
        if (left > 0 && left != said) {
            fmt::print(stderr, "{} connections left on {}\n",
                       grouped(static_cast<std::uint64_t>(left)), options.name);
            said = left;
        }
        if (std::chrono::steady_clock::now() - begun >= patience) {
            const std::string why =
                left > 0 ? fmt::format("{} connections are left", left)
                : is_true(*node, "connected")
                    ? std::string("the node has not said how many connections are left")
                    : std::string("the node is not connected and cannot say what is left");
            return fail(Code::kTimeout,
                        fmt::format("wait for node {}: {}; it goes on draining, `culvert node "
                                    "undrain {}` ends that",
                                    options.name, why, options.name));
        }
        std::this_thread::sleep_for(kLook);
    }
}

Result<json::value> change(Session& session, const std::string& name, const char* action) {
    return session.call("POST", "/culvert/nodes/" + name + "/" + action, json::object{});
}

}  // namespace

Result<int> run_node_drain(const Settings& settings, const NodeDrainOptions& options) {
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    auto answer = change(**session, options.name, "drain");
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (options.wait) {
        if (auto waited = wait_for_end(**session, options); !waited) {
            return waited;
        }
        answer->as_object()["remainingFlows"] = 0;
    }
    if (settings.json) {
        print_json(*answer);
    } else if (options.wait) {
        fmt::print("node {} is drained: no connection is left on it\n", options.name);
    } else {
        fmt::print(
            "node {0} takes no new connections; `culvert node drain {0} --wait` tells when "
            "the last one has ended\n",
            options.name);
    }
    return 0;
}

Result<int> run_node_undrain(const Settings& settings, const std::string& name) {
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    auto answer = change(**session, name, "undrain");
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (settings.json) {
        print_json(*answer);
    } else {
        fmt::print("node {} takes connections again\n", name);
    }
    return 0;
}

}  // namespace culvert::cli
