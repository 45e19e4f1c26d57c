// SPDX-License-Identifier: Apache-2.0
// What the handlers of all resource types share: documents, preconditions, retries, answers.
#pragma once

#include "control/call.hpp"
#include "control/keys.hpp"
#include "rules/rules.hpp"
#include "wire/wire.hpp"

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::control {

using Errors = std::vector<Error>;
template <typename T>
using Outcome = std::expected<T, Errors>;

std::unexpected<Errors> refuse(Error error);
std::unexpected<Errors> refuse(Errors errors);
// What a check came to that returns its objections.
Outcome<void> accepted(Errors errors);

// A document as it stands in the store. The ETag is the revision.
template <typename T>
struct Stored {
    T value;
    std::int64_t revision = 0;
    std::string document;
};

// The resource, or nullopt when there is none. Errors: kCorrupt, and the store's.
template <typename T>
Result<std::optional<Stored<T>>> load(store::Store& store, const model::ResourceId& id) {
    auto row = store.get(keys::resource(id.key()));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return std::optional<Stored<T>>();
    }
    auto value = wire::decode<T>((*row)->value);
    if (!value) {
        return std::unexpected(prefixed(std::move(value.error()), (*row)->key));
    }
    return Stored<T>{std::move(*value), (*row)->mod_revision, std::move((*row)->value)};
}

// "Resource not found", as ARM words and codes it.
Error not_found(const model::ResourceId& id);
Error group_not_found(const model::ResourceId& group);

// As load(), absent is an error.
template <typename T>
Result<Stored<T>> fetch(store::Store& store, const model::ResourceId& id) {
    auto found = load<T>(store, id);
    if (!found) {
        return std::unexpected(std::move(found.error()));
    }
    if (!*found) {
        return std::unexpected(not_found(id));
    }
    return std::move(**found);
}

// The compare that holds while a resource is as it was read (nullopt: absent).
template <typename T>
store::Compare still(const model::ResourceId& id, const std::optional<Stored<T>>& read) {
    std::string key = keys::resource(id.key());
    return read ? store::unchanged(std::move(key), read->revision) : store::absent(std::move(key));
}

// How many keys begin with `prefix`.
Result<std::size_t> count_below(store::Store& store, const std::string& prefix);

// Holds while nothing was added or changed below `prefix` after revision `since`.
store::Compare nothing_new_below(std::string_view prefix, std::int64_t since);

// If-Match and If-None-Match (RFC 9110 13.1) against the revision of what exists (nullopt: absent).
// Error: kPreconditionFailed. `request` may be null.
Status check_preconditions(const http::Request* request, std::optional<std::int64_t> revision);

// Everything that refers to a resource or to what lies below it.
struct Referrer {
    std::string target;  // key of what is referred to
    model::ResourceId source;
};
struct Referrers {
    std::vector<Referrer> all;
    std::int64_t revision = 0;  // the store's when read
};
Result<Referrers> referrers_below(store::Store& store, const model::ResourceId& id);
// By lower-case name of the child of `type` that is referred to.
std::map<std::string, std::vector<model::ResourceId>> by_child(const Referrers& referrers,
                                                               std::string_view type);

// Runs `once` until it has an outcome: nullopt means that its transaction lost a race. Bounded;
// then kConflict AnotherOperationInProgress.
inline constexpr int kAttempts = 200;
Error too_busy(const model::ResourceId& id);
template <typename T, typename F>
Outcome<T> retrying(const model::ResourceId& id, F&& once) {
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        Outcome<std::optional<T>> outcome = once();
        if (!outcome) {
            return std::unexpected(std::move(outcome.error()));
        }
        if (*outcome) {
            return std::move(**outcome);
        }
    }
    return refuse(too_busy(id));
}

// What a PUT came to.
template <typename T>
struct Written {
    T value;
    std::int64_t revision = 0;  // of the document: its ETag
    bool created = false;
};

// What a DELETE came to.
struct Removed {
    bool existed = false;
    std::int64_t revision = 0;
};

// Is the caller allowed `permission` at `scope`? If not: LinkedAuthorizationFailed.
Status check_linked(const Services& services, const Caller& caller, std::string_view permission,
                    const model::ResourceId& scope);

// Answers a write once every node concerned has it: `reply` as given, or, when they do not answer
// in time, with provisioningState Updating and an operation to poll.
void answer_put(Services& services, const Call& call, ReplyFn reply, std::int64_t revision,
                Reply when_settled);
// The same without an operation to poll, for what clients take for synchronous (arm-contract 6).
void answer_synchronous_put(Services& services, ReplyFn reply, std::int64_t revision,
                            Reply when_settled);
// 204 absent, 200 settled, else 202 and an operation.
void answer_delete(Services& services, const Call& call, ReplyFn reply, const Removed& removed);

// A shown resource with its ETag header.
Reply shown(int status, boost::json::object body, std::int64_t revision);

// The page of a list: items of documents of one type in `scope` (a group or a subscription), in key
// order, with a nextLink when there are more. `show` makes an item of (key, row); nullopt skips it.
using ShowItem =
    std::function<Result<std::optional<boost::json::object>>(const store::KeyValue& row)>;
Reply list_page(Services& services, const Call& call, std::string_view type,
                const ShowItem& show_item);

}  // namespace culvert::control
