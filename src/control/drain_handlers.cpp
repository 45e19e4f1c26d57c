// SPDX-License-Identifier: Apache-2.0
// Draining a node: a field of its document, which the intent tells to whoever sends there.
#include "base/log.hpp"
#include "control/allocate.hpp"
#include "control/identity.hpp"
#include "control/node_documents.hpp"
#include "control/node_handlers.hpp"

#include <fmt/format.h>

namespace culvert::control {
namespace {

namespace json = boost::json;

constexpr int kAttempts = 50;

// nullopt: lost a race.
Result<std::optional<std::int64_t>> set_draining_once(Services& services, const std::string& name,
                                                      bool draining) {
    auto row = services.store.get(keys::node(name));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return fail(Code::kNotFound, fmt::format("there is no node '{}'", name), "name",
                    "NodeNotFound");
    }
    auto node = decode_node((*row)->value);
    if (!node) {
        return std::unexpected(std::move(node.error()));
    }
    if (node->draining == draining) {
        return std::optional(services.store.revision());
    }
    node->draining = draining;
    Change change;
    change.require(store::unchanged(keys::node(name), (*row)->mod_revision));
    change.put(keys::node(name), encode(*node));
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    return *done ? std::optional((*done)->revision) : std::nullopt;
}

// Answered when the nodes that send there know it.
void set_draining(Services& services, const std::string& name, bool draining,
                  const ReplyFn& reply) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const auto done = set_draining_once(services, name, draining);
        if (!done) {
            reply(error_reply(done.error()));
            return;
        }
        if (*done) {
            spdlog::info("nodes: {} {}", name, draining ? "drains" : "takes connections again");
            services.settle(**done, [reply, name, draining](bool settled) {
                reply(
                    {.status = 200,
                     .body =
                         json::object{{"name", name}, {"draining", draining}, {"settled", settled}},
                     .headers = {}});
            });
            return;
        }
    }
    reply(error_reply(Error{Code::kConflict,
                            "drain node: it changes all the time, try again",
                            "name",
                            "AnotherOperationInProgress",
                            {}}));
}

}  // namespace

void add_drain_handlers(Registry& registry, Services& services) {
    for (const bool draining : {true, false}) {
        registry.add("Culvert/nodes", draining ? "POST:drain" : "POST:undrain",
                     std::string(kOperator),
                     [&services, draining](const Call& call, const ReplyFn& reply) {
                         set_draining(services, call.id.name(), draining, reply);
                     });
    }
}

}  // namespace culvert::control
