// SPDX-License-Identifier: Apache-2.0
// Private endpoint connections: what the owner of a service sees of the endpoints, approves,
// rejects and removes.
#include "control/document_handlers.hpp"
#include "control/nat_sharing.hpp"
#include "model/types.hpp"

namespace culvert::control {
namespace {

using model::PrivateEndpointConnection;
namespace types = model::types;

using WrittenConnection = Written<PrivateEndpointConnection>;

Outcome<std::optional<WrittenConnection>> update_once(Services& services, const Call& call,
                                                      const model::ConnectionState& asked) {
    auto found = fetch<PrivateEndpointConnection>(services.store, call.id);
    if (!found) {
        return refuse(std::move(found.error()));
    }
    if (auto wanted = check_preconditions(call.request, found->revision); !wanted) {
        return refuse(std::move(wanted.error()));
    }
    auto next = rules::update_connection(found->value, asked);
    if (!next) {
        return refuse(std::move(next.error()));
    }
    if (next->link_generation != found->value.link_generation) {
        next->link_generation = next_generation(services, found->value.link_generation);
    }
    Change change;
    auto service = fetch<model::PrivateLinkService>(services.store, call.id.parent());
    if (!service) {
        return refuse(std::move(service.error()));
    }
    if (service->value.nat_per_connection.value_or(false)) {
        if (auto shared = share_nat(services, service->value, &*next, change); !shared) {
            return std::unexpected(std::move(shared.error()));
        }
    }
    if (*next == found->value) {
        return WrittenConnection{std::move(*next), found->revision, false};
    }
    change.require(still(service->value.id, std::optional(*service)));
    return commit_replaced(services, change, std::move(*next), found->revision);
}

void put_connection(Services& services, const Call& call, ReplyFn reply) {
    auto body = wire::read<PrivateEndpointConnection>(call.body, call.id);
    if (!body) {
        reply(errors_reply(body.error()));
        return;
    }
    auto outcome = retrying<WrittenConnection>(
        call.id, [&] { return update_once(services, call, body->state); });
    if (!outcome) {
        reply(errors_reply(outcome.error()));
        return;
    }
    auto answer = view(services, outcome->value, outcome->revision);
    if (!answer) {
        reply(error_reply(answer.error()));
        return;
    }
    answer_synchronous_put(services, std::move(reply), outcome->revision,
                           shown(200, std::move(*answer), outcome->revision));
}

// The endpoint stays, Disconnected; its link's number is given up.
Outcome<std::optional<Removed>> remove_once(Services& services, const Call& call) {
    auto found = load<PrivateEndpointConnection>(services.store, call.id);
    if (!found) {
        return refuse(std::move(found.error()));
    }
    if (!*found) {
        return Removed{};
    }
    const PrivateEndpointConnection& connection = (*found)->value;
    if (auto wanted = check_preconditions(call.request, (*found)->revision); !wanted) {
        return refuse(std::move(wanted.error()));
    }
    Change change;
    change.require(still(call.id, *found));
    change.erase(keys::resource(call.id.key()));
    release_number(change, Kind::kLink, connection.link_id, connection.link_generation,
                   call.id.key());
    return commit_removed(services, change);
}

void list_connections(Services& services, const Call& call, const ReplyFn& reply) {
    auto service = fetch<model::PrivateLinkService>(services.store, call.id);
    auto connections = service ? connections_of(services.store, call.id)
                               : std::unexpected(std::move(service.error()));
    if (!connections) {
        reply(error_reply(connections.error()));
        return;
    }
    boost::json::array items;
    for (const auto& connection : *connections) {
        items.push_back(wire::show(connection.value,
                                   wire::ConnectionView{.etag = wire::etag(connection.revision)}));
    }
    reply(Reply{
        .status = 200, .body = boost::json::object{{"value", std::move(items)}}, .headers = {}});
}

}  // namespace

void add_connection_handlers(Registry& registry, Services& services) {
    const std::string type(types::kConnection);
    registry.add(type, "PUT", type + "/write", with(services, put_connection));
    registry.add(type, "GET", type + "/read",
                 with(services, get_document<PrivateEndpointConnection>));
    registry.add(type, "DELETE", type + "/delete",
                 with(services, [](Services& s, const Call& call, ReplyFn reply) {
                     answer_removed(s, call, std::move(reply), retrying<Removed>(call.id, [&] {
                                        return remove_once(s, call);
                                    }));
                 }));
    registry.add(type, "LIST", type + "/read", with(services, list_connections));
}

}  // namespace culvert::control
