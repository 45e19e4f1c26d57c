// SPDX-License-Identifier: Apache-2.0
// A resource as a client sees it: the document joined with what is derived from others.
#pragma once

#include "control/resources.hpp"

namespace culvert::control {

Result<boost::json::object> view(Services& services, const model::ResourceGroup& value,
                                 std::int64_t revision);
Result<boost::json::object> view(Services& services, const model::VirtualNetwork& value,
                                 std::int64_t revision);
Result<boost::json::object> view(Services& services, const model::NetworkInterface& value,
                                 std::int64_t revision);
Result<boost::json::object> view(Services& services, const model::LoadBalancer& value,
                                 std::int64_t revision);
Result<boost::json::object> view(Services& services, const model::PrivateLinkService& value,
                                 std::int64_t revision);
Result<boost::json::object> view(Services& services, const model::PrivateEndpointConnection& value,
                                 std::int64_t revision);
Result<boost::json::object> view(Services& services, const model::PrivateEndpoint& value,
                                 std::int64_t revision);

// The connections of a service, by key.
Result<std::vector<Stored<model::PrivateEndpointConnection>>> connections_of(
    store::Store& store, const model::ResourceId& service);
// The prefix of their documents.
std::string connections_prefix(const model::ResourceId& service);

// GET of a document.
template <typename T>
void get_document(Services& services, const Call& call, const ReplyFn& reply) {
    auto found = fetch<T>(services.store, call.id);
    auto body = found ? view(services, found->value, found->revision)
                      : Result<boost::json::object>(std::unexpected(found.error()));
    reply(body ? shown(200, std::move(*body), found->revision) : error_reply(body.error()));
}

// LIST of documents below a group or a subscription.
template <typename T>
void list_documents(Services& services, const Call& call, std::string_view type,
                    const ReplyFn& reply) {
    reply(list_page(services, call, type,
                    [&](const store::KeyValue& row) -> Result<std::optional<boost::json::object>> {
                        auto value = wire::decode<T>(row.value);
                        if (!value) {
                            return std::unexpected(std::move(value.error()));
                        }
                        auto body = view(services, *value, row.mod_revision);
                        if (!body) {
                            return std::unexpected(std::move(body.error()));
                        }
                        return std::optional(std::move(*body));
                    }));
}

// GET of one child, or LIST of all of a type, out of the shown document of type T at the parent.
template <typename T>
void get_child(Services& services, const Call& call, const ReplyFn& reply) {
    auto found = fetch<T>(services.store, call.id.parent());
    auto body = found ? view(services, found->value, found->revision)
                      : Result<boost::json::object>(std::unexpected(found.error()));
    if (!body) {
        reply(error_reply(body.error()));
        return;
    }
    auto child = wire::child(*body, call.id.segments.back().first, call.id.name());
    reply(child ? shown(200, std::move(*child), found->revision) : error_reply(not_found(call.id)));
}

template <typename T>
void list_children(Services& services, const Call& call, std::string_view type,
                   const ReplyFn& reply) {
    auto found = fetch<T>(services.store, call.id);
    auto body = found ? view(services, found->value, found->revision)
                      : Result<boost::json::object>(std::unexpected(found.error()));
    if (!body) {
        reply(error_reply(body.error()));
        return;
    }
    auto items = wire::children(*body, type);
    reply(Reply{
        .status = 200,
        .body = boost::json::object{{"value", items ? std::move(*items) : boost::json::array{}}},
        .headers = {}});
}

// The answer to a PUT or PATCH of a document.
template <typename T>
void answer_written(Services& services, const Call& call, ReplyFn reply,
                    Outcome<Written<T>> outcome) {
    if (!outcome) {
        reply(errors_reply(outcome.error()));
        return;
    }
    auto body = view(services, outcome->value, outcome->revision);
    if (!body) {
        reply(error_reply(body.error()));
        return;
    }
    answer_put(services, call, std::move(reply), outcome->revision,
               shown(outcome->created ? 201 : 200, std::move(*body), outcome->revision));
}

inline void answer_removed(Services& services, const Call& call, ReplyFn reply,
                           Outcome<Removed> outcome) {
    if (!outcome) {
        reply(errors_reply(outcome.error()));
        return;
    }
    answer_delete(services, call, std::move(reply), *outcome);
}

}  // namespace culvert::control
