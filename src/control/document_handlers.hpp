// SPDX-License-Identifier: Apache-2.0
// The handlers that every type of document has, and what those have that live inside a document.
#pragma once

#include "control/removal.hpp"
#include "control/views.hpp"
#include "control/write.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::control {

// A handler that is called with the services.
template <typename Handler>
CallHandler with(Services& services, Handler handler) {
    return [&services, handler](const Call& call, ReplyFn reply) {
        handler(services, call, std::move(reply));
    };
}

// put_document(), if the caller may refer to what `next` refers to.
template <typename T>
Outcome<Written<T>> put_linked(Services& services, const Call& call, const http::Request* request,
                               const T& next, const PutSteps<T>& steps) {
    if (auto joined = check_references(services, call.caller, detail::references(next)); !joined) {
        return refuse(std::move(joined.error()));
    }
    return put_document(services, request, next, steps);
}

// PUT, GET, DELETE, PATCH (tags) and LIST of documents of a type. `steps(services, call)` is what
// its PUT adds, `remove` its deletion.
template <typename T>
void add_document_handlers(Registry& registry, Services& services, std::string_view type,
                           PutSteps<T> (*steps)(Services&, const Call&), RemoveFn remove) {
    const std::string name(type);
    registry.add(name, "PUT", name + "/write", [&services, steps](const Call& call, ReplyFn reply) {
        auto body = wire::read<T>(call.body, call.id);
        answer_written<T>(
            services, call, std::move(reply),
            body ? put_linked(services, call, call.request, *body, steps(services, call))
                 : refuse(std::move(body.error())));
    });
    registry.add(name, "GET", name + "/read", with(services, get_document<T>));
    registry.add(name, "DELETE", name + "/delete",
                 [&services, remove](const Call& call, ReplyFn reply) {
                     answer_removed(services, call, std::move(reply),
                                    remove(services, call.request, call.id));
                 });
    registry.add(name, "PATCH", name + "/write", [&services](const Call& call, ReplyFn reply) {
        answer_written(services, call, std::move(reply), patch_tags<T>(services, call));
    });
    registry.add(name, "LIST", name + "/read",
                 [&services, name](const Call& call, const ReplyFn& reply) {
                     list_documents<T>(services, call, name, reply);
                 });
}

// GET and LIST of what lives inside documents of type T.
template <typename T>
void add_child_handlers(Registry& registry, Services& services, std::string_view type) {
    const std::string name(type);
    registry.add(name, "GET", name + "/read", with(services, get_child<T>));
    registry.add(name, "LIST", name + "/read",
                 [&services, last = name.substr(name.rfind('/') + 1)](const Call& call,
                                                                      const ReplyFn& reply) {
                     list_children<T>(services, call, last, reply);
                 });
}

// The element of that name, in any case; end() when there is none.
template <typename List>
auto find_named(List& list, std::string_view name) {
    return std::ranges::find_if(
        list, [&](const auto& each) { return model::same_name(each.name, name); });
}

template <typename List>
bool has_named(const List& list, std::string_view name) {
    return find_named(list, name) != list.end();
}

// Puts `value` in the place of the element of its name, whose case it keeps, or behind the last.
template <typename T>
void put_named(std::vector<T>& list, const T& value) {
    const auto place = find_named(list, value.name);
    if (place == list.end()) {
        list.push_back(value);
        return;
    }
    std::string name = place->name;
    *place = value;
    place->name = std::move(name);
}

// The answer to a PUT of what lives inside a document: out of the document as it was written.
template <typename T>
void answer_child(Services& services, const Call& call, ReplyFn reply,
                  Outcome<Written<T>> outcome) {
    if (!outcome) {
        reply(errors_reply(outcome.error()));
        return;
    }
    auto body = view(services, outcome->value, outcome->revision);
    auto child = body ? wire::child(*body, call.id.segments.back().first, call.id.name())
                      : std::optional<boost::json::object>();
    if (!child) {
        reply(error_reply(body ? not_found(call.id) : body.error()));
        return;
    }
    answer_put(services, call, std::move(reply), outcome->revision,
               shown(outcome->created ? 201 : 200, std::move(*child), outcome->revision));
}

}  // namespace culvert::control
