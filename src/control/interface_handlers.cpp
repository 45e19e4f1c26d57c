// SPDX-License-Identifier: Apache-2.0
// Network interfaces.
#include "control/node_documents.hpp"
#include "control/removal.hpp"
#include "control/views.hpp"
#include "control/write.hpp"
#include "model/types.hpp"

namespace culvert::control {
namespace {

using model::NetworkInterface;
namespace types = model::types;

// Is the interface attached? The change requires that it stays as it is.
Result<std::string> attached_to(Services& services, Change& change, const model::ResourceId& id) {
    const std::string key = keys::attachment(id.key());
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        change.require(store::absent(key));
        return std::string();
    }
    change.require(store::unchanged(key, (*row)->mod_revision));
    auto attachment = decode_attachment((*row)->value);
    if (!attachment) {
        return std::unexpected(std::move(attachment.error()));
    }
    return std::move(attachment->node);
}

PutSteps<NetworkInterface> interface_steps(Services& services) {
    PutSteps<NetworkInterface> steps;
    steps.admit = [&services](const NetworkInterface& next,
                              const std::optional<Stored<NetworkInterface>>& previous,
                              rules::Facts facts, Change& change) -> Outcome<void> {
        rules::NicFacts all{.facts = std::move(facts), .attached_to = {}};
        if (previous) {
            auto node = attached_to(services, change, next.id);
            if (!node) {
                return refuse(std::move(node.error()));
            }
            all.attached_to = std::move(*node);
        }
        if (auto errors = rules::admit_put(next, previous ? &previous->value : nullptr, all);
            !errors.empty()) {
            return refuse(std::move(errors));
        }
        return {};
    };
    steps.complete = [&services](NetworkInterface& next,
                                 const std::optional<Stored<NetworkInterface>>& previous,
                                 Change& change) -> Outcome<void> {
        if (previous) {
            return {};
        }
        auto number = take_number(services, change, Kind::kNic, next.id.key());
        if (!number) {
            return refuse(std::move(number.error()));
        }
        next.nic_index = number->number;
        next.nic_generation = number->generation;
        return {};
    };
    return steps;
}

void put_interface(Services& services, const Call& call, ReplyFn reply) {
    auto body = wire::read<NetworkInterface>(call.body, call.id);
    if (!body) {
        reply(errors_reply(body.error()));
        return;
    }
    if (auto joined = check_references(services, call.caller, rules::references(*body)); !joined) {
        reply(error_reply(joined.error()));
        return;
    }
    answer_written(services, call, std::move(reply),
                   put_document(services, call.request, *body, interface_steps(services)));
}

}  // namespace

Outcome<Removed> remove_interface(Services& services, const http::Request* request,
                                  const model::ResourceId& id) {
    return remove_document<NetworkInterface>(
        services, request, id,
        [&](const Stored<NetworkInterface>& stored, Change& change) -> Outcome<void> {
            auto node = attached_to(services, change, id);
            if (!node) {
                return refuse(std::move(node.error()));
            }
            const rules::NicFacts facts{.facts = {}, .attached_to = std::move(*node)};
            if (auto errors = rules::admit_delete(stored.value, facts); !errors.empty()) {
                return refuse(std::move(errors));
            }
            release_number(change, Kind::kNic, stored.value.nic_index, stored.value.nic_generation,
                           id.key());
            return {};
        });
}

void add_interface_handlers(Registry& registry, Services& services) {
    const std::string type(types::kNetworkInterface);
    const auto add = [&](const char* verb, const char* right, auto handler) {
        registry.add(type, verb, type + right, [&services, handler](const Call& c, ReplyFn reply) {
            handler(services, c, std::move(reply));
        });
    };
    add("PUT", "/write", put_interface);
    add("GET", "/read", get_document<NetworkInterface>);
    add("DELETE", "/delete", [](Services& s, const Call& call, ReplyFn reply) {
        answer_removed(s, call, std::move(reply), remove_interface(s, call.request, call.id));
    });
    add("PATCH", "/write", [](Services& s, const Call& call, ReplyFn reply) {
        answer_written(s, call, std::move(reply), patch_tags<NetworkInterface>(s, call));
    });
    add("LIST", "/read", [](Services& s, const Call& call, const ReplyFn& reply) {
        list_documents<NetworkInterface>(s, call, types::kNetworkInterface, reply);
    });
}

}  // namespace culvert::control
