// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"
#include "control/allocate.hpp"
#include "control/certificate_records.hpp"
#include "control/node_documents.hpp"
#include "control/node_handlers.hpp"
#include "net/address.hpp"

#include <fmt/format.h>

namespace culvert::control {
namespace {

constexpr int kAttempts = 50;
constexpr std::size_t kDetachedAtOnce = 40;  // of a transaction's operations
constexpr int kTurns = 100'000;              // more than a node can have interfaces, and lost races

// nullopt: lost a race.
Result<std::optional<Change::Committed>> remove_once(Services& services, const std::string& name) {
    auto row = services.store.get(keys::node(name));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return fail(Code::kNotFound, fmt::format("there is no node '{}'", name), "name",
                    "NodeNotFound");
    }
    auto attached = services.store.list(keys::attached_on(name));
    if (!attached) {
        return std::unexpected(std::move(attached.error()));
    }
    if (!attached->kvs.empty()) {
        return fail(
            Code::kConflict,
            fmt::format("{} network interfaces are attached on node '{}', such as {}: detach "
                        "them first (POST .../detach or `culvert detach`), or, if the node will "
                        "not come back, remove it with what is attached (?force=true, `culvert "
                        "node delete --force`)",
                        attached->kvs.size(), name, attached->kvs.front().value),
            "name", "NodeInUse");
    }
    auto node = decode_node((*row)->value);
    if (!node) {
        return std::unexpected(std::move(node.error()));
    }
    Change change;
    change.require(store::unchanged(keys::node(name), (*row)->mod_revision));
    change.require(store::none_below(keys::attached_on(name)));
    change.erase(keys::node(name));
    change.erase(keys::holds(name));
    change.put_all(revocations(*node, {}, services.clock.wall()));
    change.release(keys::index("node", node->index), {.generation = 0, .owner = name});
    if (const auto outer = net::Ipv4::parse(node->outer)) {
        change.release(keys::index("outer", outer->value), {.generation = 0, .owner = name});
    }
    return change.commit(services);
}

// Takes a NIC off the node.
Status detach_from(Services& services, const store::KeyValue& ref, const std::string& name,
                   Change& change) {
    change.require(store::present(ref.key));
    change.erase(ref.key);
    const auto nic = model::ResourceId::parse(ref.value);
    if (!nic) {
        return std::unexpected(nic.error());
    }
    const std::string key = keys::attachment(nic->key());
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (*row) {
        const auto attachment = decode_attachment((*row)->value);
        if (!attachment || attachment->node == name) {
            change.require(store::unchanged(key, (*row)->mod_revision));
            change.erase(key);
            if (attachment && attachment->moves()) {
                change.erase(keys::ref(keys::node(attachment->other), nic->key()));
            }
        }
    }
    return {};
}

// What is attached on the node is attached nowhere then. False: lost a race.
Result<bool> detach_some(Services& services, const std::string& name) {
    const std::string prefix = keys::attached_on(name);
    auto rows = services.store.range(store::Range{
        .key = prefix, .range_end = store::prefix_end(prefix), .limit = kDetachedAtOnce});
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    Change change;
    for (const store::KeyValue& ref : rows->kvs) {
        CULVERT_TRY_STATUS(detach_from(services, ref, name, change));
    }
    if (change.empty()) {
        return true;
    }
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    spdlog::warn("nodes: {} interfaces were detached from node {}, which is being removed",
                 rows->kvs.size(), name);
    return false;
}

// Attachments go first, some at a time: nothing of a node that is gone may look alive.
Status detach_all(Services& services, const std::string& name) {
    for (int turn = 0; turn < kTurns; ++turn) {
        auto done = detach_some(services, name);
        if (!done) {
            return std::unexpected(std::move(done.error()));
        }
        if (*done) {
            return {};
        }
    }
    return fail(Code::kConflict, "remove node: too much is attached on it, try again", "name",
                "AnotherOperationInProgress");
}

void remove_node(Services& services, const std::string& name, bool force, const ReplyFn& reply) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        if (auto detached = force ? detach_all(services, name) : Status(); !detached) {
            reply(error_reply(detached.error()));
            return;
        }
        auto done = remove_once(services, name);
        if (!done && force && done.error().arm_code == "NodeInUse") {
            continue;  // attached meanwhile
        }
        if (!done) {
            reply(error_reply(done.error()));
            return;
        }
        if (*done) {
            services.settle((*done)->revision, [reply](bool) {
                reply({.status = 204, .body = nullptr, .headers = {}});
            });
            return;
        }
    }
    reply(error_reply(Error{Code::kConflict,
                            "remove node: it changes all the time, try again",
                            "name",
                            "AnotherOperationInProgress",
                            {}}));
}

}  // namespace

void add_node_removal(Registry& registry, Services& services) {
    registry.add("Culvert/nodes", "DELETE", std::string(kOperator),
                 [&services](const Call& call, const ReplyFn& reply) {
                     const bool force =
                         call.request != nullptr && call.request->parameter("force") == "true";
                     remove_node(services, call.id.name(), force, reply);
                 });
}

}  // namespace culvert::control
