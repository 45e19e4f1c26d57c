// SPDX-License-Identifier: Apache-2.0
// Private endpoint connections: what the owner of a service sees of the endpoints, approves,
// rejects and removes.
#include "control/removal.hpp"
#include "control/views.hpp"
#include "control/write.hpp"
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
    if (*next == found->value) {
        return WrittenConnection{std::move(*next), found->revision, false};
    }
    Change change;
    change.require(store::unchanged(keys::resource(call.id.key()), found->revision));
    change.put(keys::resource(call.id.key()), wire::encode(*next));
    auto committed = change.commit(services);
    if (!committed) {
        return refuse(std::move(committed.error()));
    }
    if (!*committed) {
        return std::optional<WrittenConnection>();
    }
    return WrittenConnection{std::move(*next), (*committed)->revision, false};
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
    auto committed = change.commit(services);
    if (!committed) {
        return refuse(std::move(committed.error()));
    }
    if (!*committed) {
        return std::optional<Removed>();
    }
    return Removed{true, (*committed)->revision};
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
    const auto add = [&](const char* verb, const char* right, auto handler) {
        registry.add(type, verb, type + right, [&services, handler](const Call& c, ReplyFn reply) {
            handler(services, c, std::move(reply));
        });
    };
    add("PUT", "/write", put_connection);
    add("GET", "/read", get_document<PrivateEndpointConnection>);
    add("DELETE", "/delete", [](Services& s, const Call& call, ReplyFn reply) {
        answer_removed(s, call, std::move(reply),
                       retrying<Removed>(call.id, [&] { return remove_once(s, call); }));
    });
    add("LIST", "/read", list_connections);
}

}  // namespace culvert::control
