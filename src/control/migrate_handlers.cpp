// SPDX-License-Identifier: Apache-2.0
// Moving an attached NIC to another node with its connections (docs/decisions/0010). As with
// attaching, the caller's right to write the NIC is what authorises it. The request begins the move
// or calls it off; the nodes and the hub do the rest.
#include "control/migrate_handlers.hpp"

#include "control/allocate.hpp"
#include "control/migration.hpp"
#include "control/resources.hpp"
#include "control/serving.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

namespace culvert::control {
namespace {

namespace json = boost::json;
using model::MoveStage;

constexpr std::size_t kNodeNameChars = 63;

struct Wanted {
    std::string node;
    bool call_off = false;
};

Result<Wanted> wanted_in(const json::value& body) {
    const json::object* object = body.if_object();
    const json::value* node = object == nullptr ? nullptr : object->if_contains("node");
    const json::value* off = object == nullptr ? nullptr : object->if_contains("callOff");
    if (node == nullptr || !node->is_string() || node->as_string().empty() ||
        node->as_string().size() > kNodeNameChars) {
        return fail(Code::kInvalidArgument, "'node' has to be the name of a node", "node",
                    "InvalidParameter");
    }
    if (off != nullptr && !off->is_bool()) {
        return fail(Code::kInvalidArgument, "'callOff' has to be true or false", "callOff",
                    "InvalidParameter");
    }
    return Wanted{std::string(node->as_string()), off != nullptr && off->as_bool()};
}

struct Begun {
    model::Attachment attachment;
    std::int64_t revision = 0;
};

std::unexpected<Error> conflict(const model::ResourceId& nic, std::string message,
                                std::string code) {
    return fail(Code::kConflict, std::move(message), nic.str(), std::move(code));
}

// Whether a move of `before` to the node may begin; a move there that is under way is fine.
Status check_begin(const model::Attachment& before, const std::string& node) {
    const bool settling = before.stage == MoveStage::kSettling;
    if (before.moves() && (settling ? before.node : before.other) != node) {
        return conflict(before.nic,
                        fmt::format("the network interface is moving from node '{}' to '{}' "
                                    "already: try again when that is over",
                                    settling ? before.other : before.node,
                                    settling ? before.node : before.other),
                        "NetworkInterfaceMoving");
    }
    if (!before.moves() && before.node == node) {
        return conflict(before.nic,
                        fmt::format("the network interface is on node '{}' already", node),
                        "NetworkInterfaceAlreadyThere");
    }
    return {};
}

// nullopt: lost a race.
Result<std::optional<Begun>> begin_once(Services& services, const model::ResourceId& id,
                                        const std::string& node) {
    auto nic = fetch<model::NetworkInterface>(services.store, id);
    if (!nic) {
        return std::unexpected(std::move(nic.error()));
    }
    const std::string key = keys::attachment(id.key());
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return conflict(nic->value.id,
                        "the network interface is not attached: attach it first (POST .../attach "
                        "or `culvert attach`)",
                        "NetworkInterfaceNotAttached");
    }
    auto before = decode_attachment((*row)->value);
    if (!before) {
        return std::unexpected(std::move(before.error()));
    }
    CULVERT_TRY_STATUS(check_begin(*before, node));
    if (before->moves()) {
        return Begun{std::move(*before), services.store.revision()};
    }
    auto host = node_for(services.store, node, id);
    if (!host) {
        return std::unexpected(std::move(host.error()));
    }
    Begun begun{.attachment = *before};
    begun.attachment.stage = MoveStage::kPreparing;
    begun.attachment.other = node;
    begun.attachment.other_id = services.random.uuid();
    Change change;
    change.require(store::unchanged(key, (*row)->mod_revision));
    change.require(store::unchanged(keys::node(node), host->mod_revision));
    change.put(key, encode(begun.attachment));
    change.put(keys::ref(keys::node(node), id.key()), nic->value.id.str());
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    if (!*done) {
        return std::optional<Begun>();
    }
    begun.revision = (*done)->revision;
    return begun;
}

void answer(Services& services, const Begun& begun, const ReplyFn& reply) {
    const model::Attachment& at = begun.attachment;
    const bool settling = at.stage == MoveStage::kSettling;
    json::object body{{"nic", at.nic.str()},
                      {"from", settling ? at.other : at.node},
                      {"to", settling ? at.node : at.other},
                      {"move", move_id(at)},
                      {"stage", std::string(stage_name(at.stage))}};
    services.settle(begun.revision, [reply, body = std::move(body)](bool settled) mutable {
        body["settled"] = settled;
        reply({.status = 200, .body = std::move(body), .headers = {}});
    });
}

void call_off(Services& services, const Call& call, const std::string& node, const ReplyFn& reply) {
    const auto row = services.store.get(keys::attachment(call.id.key()));
    const auto before = row && *row ? decode_attachment((*row)->value)
                                    : Result<model::Attachment>(model::Attachment{});
    if (!row || !before) {
        reply(error_reply(row ? before.error() : row.error()));
        return;
    }
    Result<std::optional<std::int64_t>> done = std::optional<std::int64_t>();
    if (before->moves() && before->other == node) {
        done = take_step(services.store, call.id, move_id(*before), MoveStep::kCallOff);
    }
    if (!done) {
        reply(error_reply(done.error()));
        return;
    }
    const bool existed = done->has_value();
    services.settle(done->value_or(services.store.revision()), [reply, existed](bool settled) {
        reply({.status = 200,
               .body = json::object{{"calledOff", existed}, {"settled", settled}},
               .headers = {}});
    });
}

void migrate(Services& services, const Call& call, const ReplyFn& reply) {
    const auto wanted = wanted_in(call.body);
    if (!wanted) {
        reply(error_reply(wanted.error()));
        return;
    }
    if (wanted->call_off) {
        call_off(services, call, wanted->node, reply);
        return;
    }
    const auto begun = retrying<Begun>(call.id, [&]() -> Outcome<std::optional<Begun>> {
        auto once = begin_once(services, call.id, wanted->node);
        if (!once) {
            return refuse(std::move(once.error()));
        }
        return std::move(*once);
    });
    if (!begun) {
        reply(errors_reply(begun.error()));
        return;
    }
    answer(services, *begun, reply);
}

}  // namespace

void add_migrate_handlers(Registry& registry, Services& services) {
    const std::string type(model::types::kNetworkInterface);
    registry.add(
        type, "POST:migrate", type + "/write",
        [&services](const Call& call, const ReplyFn& reply) { migrate(services, call, reply); });
}

}  // namespace culvert::control
