// SPDX-License-Identifier: Apache-2.0
#include "control/serving.hpp"

#include "control/allocate.hpp"
#include "control/identity_documents.hpp"
#include "control/node_documents.hpp"
#include "control/node_handlers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::control {
namespace {

namespace json = boost::json;

constexpr std::size_t kTenants = 256;  // that one node can be limited to
constexpr std::string_view kAll = "all";
constexpr int kAttempts = 50;

Error bad(std::string field, std::string message) {
    return Error{
        Code::kInvalidArgument, std::move(message), std::move(field), "InvalidParameter", {}};
}

// The id of a tenant that exists, as the store writes it.
Result<std::string> known_tenant(store::Store& store, const json::value& given,
                                 const std::string& field) {
    std::string id = given.is_string() ? model::lower(given.get_string()) : std::string();
    auto row = store.get(keys::tenant(id));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (id.empty() || !*row) {
        return std::unexpected(
            bad(field, fmt::format("'{}' has to be the id of a tenant, {} is none", field,
                                   json::serialize(given).substr(0, 64))));
    }
    return id;
}

// The tenant that a subscription belongs to; empty: there is no such subscription.
Result<std::string> tenant_of(store::Store& store, const model::ResourceId& resource) {
    auto row = store.get(keys::subscription(model::lower(resource.subscription)));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return std::string();
    }
    auto subscription = decode_subscription((*row)->value);
    if (!subscription) {
        return std::unexpected(std::move(subscription.error()));
    }
    return std::move(subscription->tenant);
}

bool serves(const Tenants& tenants, const std::string& tenant) {
    return !tenants || std::ranges::find(*tenants, tenant) != tenants->end();
}

// How many interfaces of tenants that it does not serve are attached on the node.
Result<std::size_t> foreign_interfaces(store::Store& store, const model::Node& node) {
    auto refs = store.list(keys::attached_on(node.name));
    if (!refs) {
        return std::unexpected(std::move(refs.error()));
    }
    std::map<std::string, bool> known;  // by subscription
    std::size_t count = 0;
    for (const store::KeyValue& ref : refs->kvs) {
        const auto nic = model::ResourceId::parse(ref.value);
        if (!nic) {
            return std::unexpected(nic.error());
        }
        const std::string subscription = model::lower(nic->subscription);
        if (!known.contains(subscription)) {
            auto tenant = tenant_of(store, *nic);
            if (!tenant) {
                return std::unexpected(std::move(tenant.error()));
            }
            known[subscription] = serves(node.tenants, *tenant);
        }
        count += known.at(subscription) ? 0 : 1;
    }
    return count;
}

Error not_found(const std::string& name) {
    return Error{
        Code::kNotFound, fmt::format("there is no node '{}'", name), "name", "NodeNotFound", {}};
}

// What the tenants become. Error: it would say nothing.
Status allow(Tenants& tenants, const std::string& tenant) {
    if (tenant == kAll) {
        tenants.reset();
        return {};
    }
    if (!tenants) {
        tenants.emplace();  // from here on only those that are named
    }
    if (!serves(tenants, tenant)) {
        tenants->push_back(tenant);
    }
    if (tenants->size() > kTenants) {
        return fail(Code::kTooLarge,
                    fmt::format("a node can be limited to at most {} tenants", kTenants), "tenant",
                    "TooManyTenants");
    }
    return {};
}

Status deny(Tenants& tenants, const std::string& tenant) {
    if (tenant == kAll) {
        tenants.emplace();
        return {};
    }
    if (!tenants) {
        return fail(Code::kConflict,
                    "the node serves all tenants: name those that it is to serve with `allow` "
                    "(from then on it serves no other), or `deny` all first",
                    "tenant", "NodeServesAllTenants");
    }
    std::erase(*tenants, tenant);
    return {};
}

using Edit = Status (*)(Tenants& tenants, const std::string& tenant);

// nullopt: lost a race.
Result<std::optional<model::Node>> edit_once(Services& services, const std::string& name,
                                             const std::string& tenant, Edit edit) {
    const std::string key = keys::node(name);
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return std::unexpected(not_found(name));
    }
    auto node = decode_node((*row)->value);
    if (!node) {
        return std::unexpected(std::move(node.error()));
    }
    CULVERT_TRY_STATUS(edit(node->tenants, tenant));
    std::string document = encode(*node);
    if (document == (*row)->value) {
        return std::optional(std::move(*node));
    }
    Change change;
    change.require(store::unchanged(key, (*row)->mod_revision));
    change.put(key, std::move(document));
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    return *done ? std::optional(std::move(*node)) : std::nullopt;
}

Result<Reply> edit_tenants(Services& services, const Call& call, Edit edit) {
    const json::object* body = call.body.if_object();
    const json::value* given = body == nullptr ? nullptr : body->if_contains("tenant");
    if (given == nullptr) {
        return std::unexpected(
            bad("tenant", "'tenant' is missing: the id of a tenant, or \"all\""));
    }
    std::string tenant(kAll);
    if (!given->is_string() || given->get_string() != kAll) {
        auto known = known_tenant(services.store, *given, "tenant");
        if (!known) {
            return std::unexpected(std::move(known.error()));
        }
        tenant = std::move(*known);
    }
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        auto edited = edit_once(services, call.id.name(), tenant, edit);
        if (!edited) {
            return std::unexpected(std::move(edited.error()));
        }
        if (!*edited) {
            continue;
        }
        auto foreign = foreign_interfaces(services.store, **edited);
        if (!foreign) {
            return std::unexpected(std::move(foreign.error()));
        }
        return Reply{.status = 200,
                     .body = json::object{{"name", (*edited)->name},
                                          {"tenants", show_tenants((*edited)->tenants)},
                                          {"stillAttached", *foreign}},
                     .headers = {}};
    }
    return fail(Code::kConflict, "the node changes all the time, try again", "name",
                "AnotherOperationInProgress");
}

}  // namespace

Result<Tenants> read_tenants(store::Store& store, const json::value& body) {
    const json::object* object = body.if_object();
    const json::value* given = object == nullptr ? nullptr : object->if_contains("tenants");
    if (given == nullptr || given->is_null()) {
        return Tenants();
    }
    if (!given->is_array() || given->get_array().size() > kTenants) {
        return std::unexpected(bad(
            "tenants",
            fmt::format("'tenants' has to be an array of at most {} ids of tenants", kTenants)));
    }
    std::vector<std::string> tenants;
    for (const json::value& each : given->get_array()) {
        auto known = known_tenant(store, each, "tenants");
        if (!known) {
            return std::unexpected(std::move(known.error()));
        }
        tenants.push_back(std::move(*known));
    }
    return Tenants(std::move(tenants));
}

json::value show_tenants(const Tenants& tenants) {
    if (!tenants) {
        return json::value(kAll);
    }
    return json::value_from(*tenants);
}

Result<store::KeyValue> node_for(store::Store& store, const std::string& name,
                                 const model::ResourceId& resource) {
    auto row = store.get(keys::node(name));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    bool good = row->has_value();
    if (good) {
        auto node = decode_node((*row)->value);
        if (!node) {
            return std::unexpected(std::move(node.error()));
        }
        if (node->tenants) {
            auto tenant = tenant_of(store, resource);
            if (!tenant) {
                return std::unexpected(std::move(tenant.error()));
            }
            good = serves(node->tenants, *tenant);
        }
    }
    if (!good) {
        return fail(Code::kNotFound,
                    fmt::format("there is no node '{}' that serves this subscription: ask who runs "
                                "the installation (`culvert node list`)",
                                name),
                    "node", "NodeNotFound");
    }
    return std::move(**row);
}

void add_serving_handlers(Registry& registry, Services& services) {
    const auto add = [&](const char* verb, Edit edit) {
        registry.add("Culvert/nodes", verb, std::string(kOperator),
                     [&services, edit](const Call& call, const ReplyFn& reply) {
                         auto done = edit_tenants(services, call, edit);
                         reply(done ? std::move(*done) : error_reply(done.error()));
                     });
    };
    add("POST:allow", allow);
    add("POST:deny", deny);
}

}  // namespace culvert::control
