// SPDX-License-Identifier: Apache-2.0
#include "control/authority_handlers.hpp"

#include "control/hub_streams.hpp"
#include "control/identity.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace culvert::control {
namespace {

namespace json = boost::json;
using Nodes = std::vector<NodeStatus>;

// Would the next step leave the node without a way back?
bool cut_off(const NodeStatus& node, Rotation rotation, const std::vector<std::string>& names) {
    switch (rotation) {
        case Rotation::kNone: return false;
        case Rotation::kTrusting: return !node.trusts && node.authority != names.back();
        case Rotation::kIssuing: return node.authority != names.front();
    }
    return true;
}

std::vector<std::string> waiting_for(const AuthorityControl& control, const Nodes& nodes) {
    const auto names = authorities_of(control.authority.trust_pem());
    const auto rotation = control.authority.rotation();
    std::vector<std::string> out;
    for (const NodeStatus& node : nodes) {
        if (cut_off(node, rotation, names)) {
            out.push_back(node.name);
        }
    }
    return out;
}

Reply shown(const AuthorityControl& control, const Nodes& nodes) {
    const auto names = authorities_of(control.authority.trust_pem());
    const auto rotation = control.authority.rotation();
    json::array authorities;
    for (std::size_t i = 0; i < names.size(); ++i) {
        authorities.push_back(json::object{{"name", names[i]}, {"signs", i == 0}});
    }
    json::array each;
    json::array waiting;
    for (const NodeStatus& node : nodes) {
        const bool waits = cut_off(node, rotation, names);
        each.push_back(json::object{{"name", node.name},
                                    {"connected", node.connected},
                                    {"trusts", node.trusts},
                                    {"authority", node.authority},
                                    {"ready", !waits}});
        if (waits) {
            waiting.emplace_back(node.name);
        }
    }
    return {.status = 200,
            .body = json::object{{"rotation", to_string(rotation)},
                                 {"authorities", std::move(authorities)},
                                 {"nodes", std::move(each)},
                                 {"waitingFor", std::move(waiting)}},
            .headers = {}};
}

Status take_step(const AuthorityControl& control, const Nodes& nodes, bool force) {
    const auto waiting = waiting_for(control, nodes);
    if (!waiting.empty() && !force) {
        return fail(Code::kConflict,
                    fmt::format("these nodes would be cut off and have to join again: {}; wait for "
                                "them, or use force",
                                fmt::join(waiting, ", ")),
                    "force", "NodesWouldBeCutOff");
    }
    switch (control.authority.rotation()) {
        case Rotation::kNone: return control.authority.begin_rotation(control.clock.wall());
        case Rotation::kTrusting: return control.authority.issue_from_next();
        case Rotation::kIssuing: return control.authority.finish_rotation();
    }
    return fail(Code::kInternal, "no such state");
}

void act(const AuthorityControl& control, const std::string& action, bool force,
         const std::string& who, const ReplyFn& reply) {
    control.hub.status([&control, action, force, who, reply](const Nodes& nodes) {
        auto done = action == "abort" ? control.authority.abort_rotation()
                                      : take_step(control, nodes, force);
        if (done) {
            spdlog::warn("culvertd: rotation of the authority is '{}' by {}{}",
                         to_string(control.authority.rotation()), who, force ? ", by force" : "");
            done = control.apply();
        }
        if (!done) {
            reply(error_reply(done.error()));
            return;
        }
        control.hub.status([&control, reply](const Nodes& now) { reply(shown(control, now)); });
    });
}

}  // namespace

void add_authority_handlers(Registry& registry, AuthorityControl control) {
    const auto shared = std::make_shared<const AuthorityControl>(std::move(control));
    registry.add("Culvert/ca", "LIST", std::string(kOperator),
                 [shared](const Call&, const ReplyFn& reply) {
                     shared->hub.status(
                         [shared, reply](const Nodes& nodes) { reply(shown(*shared, nodes)); });
                 });
    registry.add(
        "Culvert/ca", "POST", std::string(kOperator),
        [shared](const Call& call, const ReplyFn& reply) {
            const auto* body = call.body.if_object();
            const auto* action = body == nullptr ? nullptr : body->if_contains("action");
            const auto* force = body == nullptr ? nullptr : body->if_contains("force");
            const std::string wanted = action != nullptr && action->is_string()
                                           ? std::string(action->as_string())
                                           : std::string();
            if ((wanted != "rotate" && wanted != "abort") ||
                (force != nullptr && !force->is_bool())) {
                reply(error_reply(Error{Code::kInvalidArgument,
                                        "'action' has to be rotate or abort, 'force' true or false",
                                        "action",
                                        "InvalidParameter",
                                        {}}));
                return;
            }
            act(*shared, wanted, force != nullptr && force->as_bool(), call.caller.name, reply);
        });
}

}  // namespace culvert::control
