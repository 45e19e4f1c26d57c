// SPDX-License-Identifier: Apache-2.0
// The one way in which a PUT, a PATCH of tags and a DELETE of a document change the store (STYLE.md
// 15): read, decide, one transaction with compares on everything that was read; a lost race starts
// again.
#pragma once

#include "control/bindings.hpp"
#include "control/resources.hpp"

namespace culvert::control {

// What a handler adds to put_document(). Both may add compares and writes to the change.
template <typename T>
struct PutSteps {
    // Further facts and rules::admit_put().
    std::function<Outcome<void>(const T& next, const std::optional<Stored<T>>& previous,
                                rules::Facts facts, Change& change)>
        admit;
    // Numbers and further documents; addresses have been chosen. May be empty.
    std::function<Outcome<void>(T& next, const std::optional<Stored<T>>& previous, Change& change)>
        complete;
    // Before keep_server_fields(): what the body leaves to what exists. May be empty.
    std::function<void(T& next, const T& previous)> inherit;
    // After it was written. May be empty.
    std::function<void(const T& next)> after{};
};

// Commits what makes `next`; nullopt: it lost a race (retrying()).
template <typename T>
Outcome<std::optional<Written<T>>> commit_written(Services& services, Change& change, T next,
                                                  bool created) {
    auto committed = change.commit(services);
    if (!committed) {
        return refuse(std::move(committed.error()));
    }
    if (!*committed) {
        return std::optional<Written<T>>();
    }
    return Written<T>{std::move(next), (*committed)->revision, created};
}

// The same for `next` in the place of the document of its id that was read at `revision`.
template <typename T>
Outcome<std::optional<Written<T>>> commit_replaced(Services& services, Change& change, T next,
                                                   std::int64_t revision) {
    const std::string key = keys::resource(next.id.key());
    change.require(store::unchanged(key, revision));
    change.put(key, wire::encode(next));
    return commit_written(services, change, std::move(next), false);
}

Outcome<std::optional<Removed>> commit_removed(Services& services, Change& change);

namespace detail {

// The network itself refers to nothing.
inline std::vector<rules::Reference> references(const model::VirtualNetwork&) { return {}; }
inline std::vector<rules::AddressSlot> address_slots(const model::VirtualNetwork&) { return {}; }
template <typename T>
std::vector<rules::Reference> references(const T& value) {
    return rules::references(value);
}
template <typename T>
std::vector<rules::AddressSlot> address_slots(const T& value) {
    return rules::address_slots(value);
}

// How many keys follow from the value, of which it can have many.
template <typename T>
std::size_t keys_of(const T& value) {
    std::size_t count = bindings(value).size();
    if constexpr (!std::is_same_v<T, model::VirtualNetwork>) {
        count += address_keys(value).size();
    }
    if constexpr (std::is_same_v<T, model::LoadBalancer>) {
        count += value.pools.size();
    }
    if constexpr (std::is_same_v<T, model::NetworkInterface>) {
        count += balancers_of(value).size();  // their documents say which ports lead to it
    }
    return count;
}
// INVARIANT: what can be made can be deleted, in one transaction, also what has grown in several.
// Error: kTooLarge when `keys` are more than that, and more than they were.
Status check_removable(const model::ResourceId& id, std::size_t keys, std::size_t before);

// The group must exist now and when the transaction commits.
Status require_group(Services& services, Change& change, const model::ResourceId& id);

template <typename T>
Outcome<std::optional<Written<T>>> put_once(Services& services, const http::Request* request,
                                            const T& body, const PutSteps<T>& steps) {
    Change change;
    if (auto group = require_group(services, change, body.id); !group) {
        return refuse(std::move(group.error()));
    }
    auto previous = load<T>(services.store, body.id);
    if (!previous) {
        return refuse(std::move(previous.error()));
    }
    const auto revision = *previous ? std::optional((*previous)->revision) : std::nullopt;
    if (auto wanted = check_preconditions(request, revision); !wanted) {
        return refuse(std::move(wanted.error()));
    }
    T next = body;
    if (*previous) {
        if (steps.inherit) {
            steps.inherit(next, (*previous)->value);
        }
        rules::keep_server_fields(next, (*previous)->value);
    } else {
        next.resource_guid = services.random.uuid();
    }
    if (auto errors = rules::validate(next); !errors.empty()) {
        return refuse(std::move(errors));
    }
    auto facts = gather(services, change, references(next), address_slots(next));
    if (!facts) {
        return refuse(std::move(facts.error()));
    }
    if (auto admitted = steps.admit(next, *previous, *facts, change); !admitted) {
        return std::unexpected(std::move(admitted.error()));
    }
    if constexpr (!std::is_same_v<T, model::VirtualNetwork>) {
        if (auto chosen = choose_addresses(services, *facts, next); !chosen) {
            return refuse(std::move(chosen.error()));
        }
        if (auto held = hold_addresses(services, change, next.id,
                                       *previous ? address_keys((*previous)->value) : AddressKeys{},
                                       address_keys(next));
            !held) {
            return refuse(std::move(held.error()));
        }
    }
    if (steps.complete) {
        if (auto completed = steps.complete(next, *previous, change); !completed) {
            return std::unexpected(std::move(completed.error()));
        }
    }
    const Bindings now = bindings(next);
    const Bindings before = *previous ? bindings((*previous)->value) : Bindings{};
    if (auto fits = check_removable(next.id, keys_of(next),
                                    *previous ? keys_of((*previous)->value) : std::size_t{0});
        !fits) {
        return refuse(std::move(fits.error()));
    }
    rebind(change, &before, &now);
    std::string document = wire::encode(next);
    if (*previous && (*previous)->document == document && change.empty()) {
        return Written<T>{std::move(next), (*previous)->revision, false};
    }
    change.require(still(next.id, *previous));
    change.put(keys::resource(next.id.key()), std::move(document));
    return commit_written(services, change, std::move(next), !previous->has_value());
}

}  // namespace detail

// Creates or updates `body`. An identical PUT writes nothing. `request` gives the preconditions,
// may be null.
template <typename T>
Outcome<Written<T>> put_document(Services& services, const http::Request* request, const T& body,
                                 const PutSteps<T>& steps) {
    auto written = retrying<Written<T>>(
        body.id, [&] { return detail::put_once(services, request, body, steps); });
    if (written && steps.after) {
        steps.after(written->value);
    }
    return written;
}

// What a handler adds to remove_document(): facts, rules::admit_delete(), numbers to release and
// further documents to erase. May add compares.
template <typename T>
using RemoveStep = std::function<Outcome<void>(const Stored<T>& value, Change& change)>;

// Deletes a document that nothing refers to and that has no documents below it, with its addresses
// and references.
template <typename T>
Outcome<Removed> remove_document(Services& services, const http::Request* request,
                                 const model::ResourceId& id, const RemoveStep<T>& step) {
    return retrying<Removed>(id, [&]() -> Outcome<std::optional<Removed>> {
        auto found = load<T>(services.store, id);
        if (!found) {
            return refuse(std::move(found.error()));
        }
        if (!*found) {
            return Removed{};
        }
        const Stored<T>& stored = **found;
        if (auto wanted = check_preconditions(request, stored.revision); !wanted) {
            return refuse(std::move(wanted.error()));
        }
        Change change;
        if (auto stepped = step(stored, change); !stepped) {
            return std::unexpected(std::move(stepped.error()));
        }
        const std::string key = stored.value.id.key();
        change.require(still(id, *found));
        change.require(store::none_below(keys::refs_to(key)));
        change.require(store::none_below(keys::refs_below(key)));
        if constexpr (!std::is_same_v<T, model::VirtualNetwork>) {
            release_addresses(change, stored.value.id, address_keys(stored.value), {});
        }
        const Bindings before = bindings(stored.value);
        rebind(change, &before, nullptr);
        change.erase(keys::resource(key));
        return commit_removed(services, change);
    });
}

// Replaces the tags.
template <typename T>
Outcome<Written<T>> patch_tags(Services& services, const Call& call) {
    auto tags = wire::read_tags(call.body);
    if (!tags) {
        return refuse(std::move(tags.error()));
    }
    return retrying<Written<T>>(call.id, [&]() -> Outcome<std::optional<Written<T>>> {
        auto found = fetch<T>(services.store, call.id);
        if (!found) {
            return refuse(std::move(found.error()));
        }
        if (auto wanted = check_preconditions(call.request, found->revision); !wanted) {
            return refuse(std::move(wanted.error()));
        }
        T next = found->value;
        next.tags = *tags;
        if (auto errors = rules::validate(next); !errors.empty()) {
            return refuse(std::move(errors));
        }
        if (next.tags == found->value.tags) {
            return Written<T>{std::move(next), found->revision, false};
        }
        Change change;
        return commit_replaced(services, change, std::move(next), found->revision);
    });
}

}  // namespace culvert::control
