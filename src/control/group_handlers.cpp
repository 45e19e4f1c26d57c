// SPDX-License-Identifier: Apache-2.0
// Resource groups. Deleting one deletes its members, those first that others of the group stand on
// last.
#include "control/allocate.hpp"
#include "control/document_handlers.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

#include <array>

namespace culvert::control {
namespace {

using model::ResourceGroup;
namespace types = model::types;

struct Order {
    std::string_view type;
    RemoveFn remove;
};
// users before what they use; an endpoint's and a service's own interface goes with it
constexpr std::array<Order, 5> kOrder{{{types::kPrivateEndpoint, remove_endpoint},
                                       {types::kPrivateLinkService, remove_service},
                                       {types::kNetworkInterface, remove_interface},
                                       {types::kLoadBalancer, remove_balancer},
                                       {types::kVirtualNetwork, remove_network}}};

Outcome<std::optional<Written<ResourceGroup>>> put_once(Services& services, const Call& call,
                                                        const ResourceGroup& body) {
    auto previous = load<ResourceGroup>(services.store, body.id);
    if (!previous) {
        return refuse(std::move(previous.error()));
    }
    const auto revision = *previous ? std::optional((*previous)->revision) : std::nullopt;
    if (auto wanted = check_preconditions(call.request, revision); !wanted) {
        return refuse(std::move(wanted.error()));
    }
    ResourceGroup next = body;
    if (*previous) {
        rules::keep_server_fields(next, (*previous)->value);
    } else {
        next.resource_guid = services.random.uuid();
    }
    auto errors = rules::validate(next);
    if (errors.empty()) {
        errors = rules::admit_put(next, *previous ? &(*previous)->value : nullptr);
    }
    if (!errors.empty()) {
        return refuse(std::move(errors));
    }
    std::string document = wire::encode(next);
    if (*previous && (*previous)->document == document) {
        return Written<ResourceGroup>{std::move(next), *revision, false};
    }
    Change change;
    change.require(still(next.id, *previous));
    change.put(keys::resource(next.id.key()), std::move(document));
    return commit_written(services, change, std::move(next), !previous->has_value());
}

void put_group(Services& services, const Call& call, ReplyFn reply) {
    auto body = wire::read<ResourceGroup>(call.body, call.id);
    if (!body) {
        reply(errors_reply(body.error()));
        return;
    }
    answer_written(services, call, std::move(reply), retrying<Written<ResourceGroup>>(call.id, [&] {
                       return put_once(services, call, *body);
                   }));
}

void head_group(Services& services, const Call& call, const ReplyFn& reply) {
    auto row = services.store.get(keys::resource(call.id.key()));
    if (!row) {
        reply(error_reply(row.error()));
        return;
    }
    reply(Reply{.status = *row ? 204 : 404, .body = nullptr, .headers = {}});
}

// The groups of a subscription without looking at what is in them.
void list_groups(Services& services, const Call& call, const ReplyFn& reply) {
    const std::string below = keys::resource(call.id.key()) + "/resourcegroups/";
    store::Range next{.key = below, .range_end = store::prefix_end(below)};
    next.limit = 1;
    boost::json::array items;
    for (;;) {
        auto found = services.store.range(next);
        if (!found) {
            reply(error_reply(found.error()));
            return;
        }
        if (found->kvs.empty()) {
            break;
        }
        const store::KeyValue& row = found->kvs.front();
        const std::size_t slash = row.key.find('/', below.size());
        if (slash != std::string::npos) {
            next.key = store::prefix_end(row.key.substr(0, slash + 1));
            continue;
        }
        auto value = wire::decode<ResourceGroup>(row.value);
        if (!value) {
            reply(error_reply(value.error()));
            return;
        }
        items.push_back(wire::show(*value));
        next.key = row.key + '\0';
    }
    reply(Reply{
        .status = 200, .body = boost::json::object{{"value", std::move(items)}}, .headers = {}});
}

struct Cascade {
    std::int64_t revision = 0;
    Errors refused;
};

Status remove_members(Services& services, const model::ResourceId& group, const Order& order,
                      Cascade& cascade) {
    auto rows = services.store.list(keys::resource(group.key()) + "/providers/" +
                                    model::lower(order.type) + "/");
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    for (const store::KeyValue& row : rows->kvs) {
        auto id = model::ResourceId::parse(std::string_view(row.key).substr(2));
        if (!id || !id->is_type(order.type)) {
            continue;  // a document below one of them
        }
        auto removed = order.remove(services, nullptr, *id);
        if (!removed) {
            cascade.refused.insert(cascade.refused.end(), removed.error().begin(),
                                   removed.error().end());
        } else if (removed->existed) {
            cascade.revision = removed->revision;
        }
    }
    return {};
}

Error group_not_empty(const model::ResourceId& group, Errors refused) {
    return Error{Code::kConflict,
                 fmt::format("resource group '{}' was not deleted, {} of its resources cannot be: "
                             "see the details, resolve them and delete it again",
                             group.resource_group, refused.size()),
                 group.str(), "ResourceGroupDeletionBlocked", std::move(refused)};
}

Outcome<Removed> remove_group(Services& services, const model::ResourceId& id, Cascade& cascade) {
    return retrying<Removed>(id, [&]() -> Outcome<std::optional<Removed>> {
        auto found = load<ResourceGroup>(services.store, id);
        if (!found) {
            return refuse(std::move(found.error()));
        }
        if (!*found) {
            return Removed{cascade.revision != 0, cascade.revision};
        }
        for (const Order& order : kOrder) {
            if (auto removed = remove_members(services, id, order, cascade); !removed) {
                return refuse(std::move(removed.error()));
            }
        }
        if (!cascade.refused.empty()) {
            return refuse(group_not_empty(id, std::move(cascade.refused)));
        }
        Change change;
        change.require(still(id, *found));
        change.require(store::none_below(keys::resource(id.key()) + "/"));
        change.erase(keys::resource(id.key()));
        return commit_removed(services, change);
    });
}

void delete_group(Services& services, const Call& call, ReplyFn reply) {
    Cascade cascade;
    auto found = load<ResourceGroup>(services.store, call.id);
    if (found && *found) {
        if (auto wanted = check_preconditions(call.request, (*found)->revision); !wanted) {
            reply(error_reply(wanted.error()));
            return;
        }
    }
    auto outcome = remove_group(services, call.id, cascade);
    answer_removed(services, call, std::move(reply), std::move(outcome));
}

}  // namespace

void add_group_handlers(Registry& registry, Services& services) {
    const std::string type(types::kResourceGroup);
    const std::string right = "Microsoft.Resources/subscriptions/resourceGroups";
    registry.add(type, "PUT", right + "/write", with(services, put_group));
    registry.add(type, "GET", right + "/read", with(services, get_document<ResourceGroup>));
    registry.add(type, "HEAD", right + "/read", with(services, head_group));
    registry.add(type, "DELETE", right + "/delete", with(services, delete_group));
    registry.add(type, "PATCH", right + "/write",
                 with(services, [](Services& s, const Call& call, ReplyFn reply) {
                     answer_written(s, call, std::move(reply), patch_tags<ResourceGroup>(s, call));
                 }));
    registry.add(type, "LIST", right + "/read", with(services, list_groups));
}

}  // namespace culvert::control
