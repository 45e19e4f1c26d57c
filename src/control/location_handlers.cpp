// SPDX-License-Identifier: Apache-2.0
// What Microsoft.Network answers per location: visibility of services, types that endpoints can
// link to, usage.
#include "base/limits.hpp"
#include "control/approval_index.hpp"
#include "control/removal.hpp"
#include "control/resources.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

namespace culvert::control {
namespace {

using model::PrivateLinkService;
namespace types = model::types;

Reply items_reply(boost::json::array items) {
    return Reply{
        .status = 200, .body = boost::json::object{{"value", std::move(items)}}, .headers = {}};
}

// POST {"privateLinkServiceAlias": "..."} -> {"visible": true}
void check_visibility(Services& services, const Call& call, const ReplyFn& reply) {
    const auto* object = call.body.if_object();
    const auto* alias =
        object != nullptr ? object->if_contains("privateLinkServiceAlias") : nullptr;
    if (alias == nullptr || !alias->is_string()) {
        reply(error_reply(Error{Code::kInvalidArgument,
                                "privateLinkServiceAlias is missing: give the alias of a private "
                                "link service as a string",
                                "privateLinkServiceAlias",
                                "InvalidRequestContent",
                                {}}));
        return;
    }
    auto row = services.store.get(keys::alias(model::lower(alias->get_string())));
    if (!row) {
        reply(error_reply(row.error()));
        return;
    }
    bool visible = false;
    if (*row) {
        auto id = model::ResourceId::parse((*row)->value);
        auto service =
            id ? load<PrivateLinkService>(services.store, *id)
               : Result<std::optional<Stored<PrivateLinkService>>>(std::unexpected(id.error()));
        if (!service) {
            reply(error_reply(service.error()));
            return;
        }
        visible = *service && rules::visible((*service)->value, call.id.subscription, true, false);
    }
    reply(Reply{.status = 200, .body = boost::json::object{{"visible", visible}}, .headers = {}});
}

// The services that would approve the subscription's endpoints by their lists.
void list_auto_approved(ApprovalIndex& approvals, const Call& call, const ReplyFn& reply) {
    auto services = approvals.services_for(call.id.subscription);
    if (!services) {
        reply(error_reply(services.error()));
        return;
    }
    boost::json::array items;
    for (const std::string& id : *services) {
        items.push_back(boost::json::object{{"privateLinkService", id}});
    }
    reply(items_reply(std::move(items)));
}

void list_endpoint_types(Services&, const Call& call, const ReplyFn& reply) {
    constexpr std::string_view kName = "Microsoft.Network.privateLinkServices";
    reply(items_reply(
        {boost::json::object{{"name", kName},
                             {"id", fmt::format("/subscriptions/{}/providers/Microsoft.Network/"
                                                "AvailablePrivateEndpointTypes/{}",
                                                call.id.subscription, kName)},
                             {"type", "Microsoft.Network/AvailablePrivateEndpointTypes"},
                             {"resourceName", types::kPrivateLinkService},
                             {"displayName", "Private link service"}}}));
}

// How many documents of a type a subscription has.
Result<std::size_t> count_of(Services& services, std::string_view subscription,
                             std::string_view type) {
    const std::string below =
        keys::resource("/subscriptions/" + model::lower(subscription)) + "/resourcegroups/";
    const std::string marker = "/providers/" + model::lower(type) + "/";
    auto rows = services.store.range(
        store::Range{.key = below, .range_end = store::prefix_end(below), .keys_only = true});
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::size_t count = 0;
    for (const store::KeyValue& row : rows->kvs) {
        const std::size_t at = row.key.find(marker, below.size());
        count +=
            at != std::string::npos && row.key.find('/', at + marker.size()) == std::string::npos
                ? 1
                : 0;
    }
    return count;
}

void list_usages(Services& services, const Call& call, const ReplyFn& reply) {
    const struct {
        std::string_view type;
        const char* name;
        const char* shown;
        std::int64_t limit;
    } kinds[] = {
        {types::kVirtualNetwork, "VirtualNetworks", "Virtual Networks", (1 << 23) - 1},
        {types::kNetworkInterface, "NetworkInterfaces", "Network Interfaces",
         services.nic_limit - 1},
        {types::kPrivateEndpoint, "PrivateEndpoints", "Private Endpoints", services.link_limit - 1},
    };
    boost::json::array items;
    for (const auto& kind : kinds) {
        auto count = count_of(services, call.id.subscription, kind.type);
        if (!count) {
            reply(error_reply(count.error()));
            return;
        }
        items.push_back(
            boost::json::object{{"id", fmt::format("{}/usages/{}", call.id.str(), kind.name)},
                                {"unit", "Count"},
                                {"currentValue", *count},
                                {"limit", kind.limit},
                                {"name", {{"value", kind.name}, {"localizedValue", kind.shown}}}});
    }
    reply(items_reply(std::move(items)));
}

}  // namespace

void add_location_handlers(Registry& registry, Services& services) {
    const std::string locations = "Microsoft.Network/locations";
    const auto add = [&](const std::string& type, const char* verb, const char* permission,
                         auto handler, std::size_t cost = 1) {
        registry.add(
            type, verb, permission,
            [&services, handler](const Call& c, ReplyFn reply) {
                handler(services, c, std::move(reply));
            },
            cost);
    };
    add(locations, "POST:checkPrivateLinkServiceVisibility",
        "Microsoft.Network/locations/checkPrivateLinkServiceVisibility/action", check_visibility);
    const auto approvals = std::make_shared<ApprovalIndex>(services.store);
    add(
        locations + "/autoApprovedPrivateLinkServices", "LIST",
        "Microsoft.Network/locations/autoApprovedPrivateLinkServices/read",
        [approvals](Services&, const Call& call, const ReplyFn& reply) {
            list_auto_approved(*approvals, call, reply);
        },
        kScanCost);
    add(locations + "/availablePrivateEndpointTypes", "LIST",
        "Microsoft.Network/locations/availablePrivateEndpointTypes/read", list_endpoint_types);
    add(locations + "/usages", "LIST", "Microsoft.Network/locations/usages/read", list_usages,
        kScanCost);
}

}  // namespace culvert::control
