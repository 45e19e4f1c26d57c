// SPDX-License-Identifier: Apache-2.0
#include "control/installation_handlers.hpp"

#include "base/log_control.hpp"

#include <boost/json.hpp>

namespace culvert::control {
namespace {

namespace json = boost::json;

Reply show_level() {
    return {.status = 200, .body = json::object{{"level", log_level()}}, .headers = {}};
}

Reply change_level(const Call& call) {
    const auto* object = call.body.if_object();
    const auto* level = object == nullptr ? nullptr : object->if_contains("level");
    if (level == nullptr || !level->is_string()) {
        return error_reply(Error{Code::kInvalidArgument,
                                 "'level' has to be one of trace, debug, info, warn, error, off",
                                 "level",
                                 "InvalidParameter",
                                 {}});
    }
    const std::string before = log_level();
    if (auto set = set_log_level(std::string_view(level->as_string())); !set) {
        return error_reply(set.error());
    }
    spdlog::warn("culvertd: log level {} is now {}, by {}", before, log_level(), call.caller.name);
    return show_level();
}

}  // namespace

void add_log_handlers(Registry& registry) {
    registry.add("Culvert/log-level", "LIST", std::string(kOperator),
                 [](const Call&, const ReplyFn& reply) { reply(show_level()); });
    registry.add("Culvert/log-level", "POST", std::string(kOperator),
                 [](const Call& call, const ReplyFn& reply) { reply(change_level(call)); });
}

}  // namespace culvert::control
