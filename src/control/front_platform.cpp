// SPDX-License-Identifier: Apache-2.0
// What every scope answers by itself: tenants, subscriptions, locations, resource providers, and
// the list of resources of any type.
#include "control/front_platform.hpp"

#include "control/front_filter.hpp"
#include "control/keys.hpp"
#include "model/types.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>

namespace culvert::control {

namespace json = boost::json;

namespace {

constexpr std::size_t kPage = 500;
constexpr std::size_t kScan = 1000;  // rows read at once
// Newest first: az takes the first that is no preview (arm-contract 8, "resource list/show").
constexpr const char* kNetworkVersions[] = {"2025-05-01", "2024-05-01", "2024-03-01", "2024-01-01",
                                            "2023-11-01", "2023-04-01", "2022-01-01", "2021-05-01"};

json::object tenant_object(const Tenant& tenant) {
    return {{"id", "/tenants/" + tenant.id},
            {"tenantId", tenant.id},
            {"displayName", tenant.name},
            {"tenantCategory", "Home"}};
}

json::object subscription_object(const Subscription& value) {
    return {{"id", "/subscriptions/" + value.id},
            {"subscriptionId", value.id},
            {"tenantId", value.tenant},
            {"displayName", value.name},
            {"state", "Enabled"},
            {"subscriptionPolicies", json::object{{"spendingLimit", "Off"}}},
            {"authorizationSource", "RoleBased"},
            {"managedByTenants", json::array{}}};
}

Reply value_reply(json::array items) {
    return {200, json::object{{"value", std::move(items)}}, {}};
}

// Those of the caller's tenant in which some assignment allows anything at all.
Reply list_subscriptions(const Identity& identity, const Caller& caller) {
    return value_reply(identity.read([&](const Directory& d) {
        json::array out;
        const auto mine = d.by_principal.find(caller.principal);
        for (const auto& [id, value] : d.subscriptions) {
            const std::string scope = "/subscriptions/" + id;
            const bool visible =
                mine != d.by_principal.end() &&
                std::ranges::any_of(mine->second, [&](const auto& a) {
                    return rbac::covers(a.scope, scope) || rbac::covers(scope, a.scope);
                });
            if (value.tenant == caller.tenant && visible) {
                out.push_back(subscription_object(value));
            }
        }
        return out;
    }));
}

json::object provider_object(const Registry& registry, const Services& services,
                             std::string_view subscription, std::string_view name) {
    json::array kinds;
    std::string canonical(name);
    for (const auto& type : registry.types()) {
        const auto slash = type.find('/');
        if (slash == type.npos || !model::same_name(type.substr(0, slash), name)) {
            continue;
        }
        canonical = type.substr(0, slash);
        json::array versions;
        for (const char* version : kNetworkVersions) {
            versions.emplace_back(version);
        }
        kinds.push_back(json::object{{"resourceType", type.substr(slash + 1)},
                                     {"locations", json::array{services.region}},
                                     {"apiVersions", std::move(versions)},
                                     {"capabilities", "SupportsTags, SupportsLocation"}});
    }
    return {{"id", fmt::format("/subscriptions/{}/providers/{}", subscription, canonical)},
            {"namespace", canonical},
            {"registrationState", "Registered"},
            {"registrationPolicy", "RegistrationFree"},
            {"resourceTypes", std::move(kinds)}};
}

bool is_arm(std::string_view provider) { return model::lower(provider).starts_with("microsoft."); }

Reply list_providers(const Registry& registry, const Services& services, const Call& call) {
    std::vector<std::string> names;
    for (const auto& type : registry.types()) {
        names.push_back(type.substr(0, type.find('/')));
    }
    std::ranges::sort(names);
    const auto [first, last] = std::ranges::unique(names);
    names.erase(first, last);
    json::array out;
    for (const auto& name : names) {
        if (is_arm(name)) {
            out.push_back(provider_object(registry, services, call.id.subscription, name));
        }
    }
    return value_reply(std::move(out));
}

Reply get_provider(const Registry& registry, const Services& services, const Call& call) {
    auto out = provider_object(registry, services, call.id.subscription, call.id.provider);
    if (!is_arm(call.id.provider) || out["resourceTypes"].as_array().empty()) {
        return error_reply(
            Error{Code::kNotFound,
                  fmt::format("The resource namespace '{}' is invalid.", call.id.provider),
                  {},
                  "InvalidResourceNamespace",
                  {}});
    }
    return {200, std::move(out), {}};
}

// --- resources of any type -----------------------------------------------------------------------

// One row as lists of mixed types show it; nullopt when it is no top-level resource.
std::optional<json::object> generic(const store::KeyValue& row) {
    json::error_code ec;
    const auto document = json::parse(row.value, ec);
    const auto* object = ec ? nullptr : document.if_object();
    const auto* text = object == nullptr ? nullptr : object->if_contains("id");
    if (text == nullptr || !text->is_string()) {
        return std::nullopt;
    }
    auto id = model::ResourceId::parse(std::string_view(text->as_string()));
    if (!id || id->segments.size() != 1) {
        return std::nullopt;
    }
    *id = model::canonical(std::move(*id));
    json::object out{{"id", id->str()}, {"name", id->name()}, {"type", id->type()}};
    const auto* location = object->if_contains("location");
    const auto* tags = object->if_contains("tags");
    const auto* provisioning = object->if_contains("provisioning");
    out["location"] = location != nullptr ? *location : json::value("");
    out["tags"] = tags != nullptr && tags->is_object() ? *tags : json::value(json::object{});
    if (provisioning != nullptr) {
        out["provisioningState"] = *provisioning;
    }
    return out;
}

std::string_view text_of(const json::object& item, std::string_view name) {
    const auto* found = item.if_contains(name);
    return found != nullptr && found->is_string() ? std::string_view(found->as_string())
                                                  : std::string_view();
}

std::optional<std::string> tag_of(const json::object& item, std::string_view name) {
    for (const auto& [key, value] : item.at("tags").as_object()) {
        if (model::same_name(key, name) && value.is_string()) {
            return std::string(value.as_string());
        }
    }
    return std::nullopt;
}

bool fits(const json::object& item, const std::vector<FilterTerm>& terms) {
    const auto id = model::ResourceId::parse(text_of(item, "id"));
    std::string tag;
    for (const auto& term : terms) {
        if (term.name == "tagname") {
            tag = term.value;
        }
    }
    return std::ranges::all_of(terms, [&](const FilterTerm& term) {
        if (term.name == "tagname") {
            return tag_of(item, tag).has_value();
        }
        if (term.name == "tagvalue") {
            return tag_of(item, tag) == term.value;
        }
        const std::string_view have = term.name == "resourcegroup"
                                          ? std::string_view(id->resource_group)
                                      : term.name == "resourcetype" ? text_of(item, "type")
                                                                    : text_of(item, term.name);
        return model::same_name(have, term.value);
    });
}

Status check_terms(const std::vector<FilterTerm>& terms) {
    static constexpr std::string_view kKnown[] = {"resourcegroup", "resourcetype", "name",
                                                  "location",      "tagname",      "tagvalue"};
    for (const auto& term : terms) {
        if (term.call || std::ranges::find(kKnown, term.name) == std::end(kKnown)) {
            return std::unexpected(unsupported_filter(term));
        }
    }
    return {};
}

Reply list_resources(Services& services, const Call& call) {
    auto terms = parse_filter(call.request->parameter("$filter"));
    if (terms) {
        if (auto known = check_terms(*terms); !known) {
            return error_reply(known.error());
        }
    } else {
        return error_reply(terms.error());
    }
    const std::string below = keys::resource(call.id.key()) + "/";
    store::Range range{.key = below, .range_end = store::prefix_end(below), .limit = kScan};
    if (const auto after = token::base64url_decode(call.request->parameter("$skiptoken"));
        after && after->starts_with(below)) {
        range.key = *after + '\0';
    }
    json::array out;
    while (true) {
        auto rows = services.store.range(range);
        if (!rows) {
            return error_reply(rows.error());
        }
        for (const auto& row : rows->kvs) {
            auto item = generic(row);
            if (!item || !fits(*item, *terms)) {
                continue;
            }
            out.push_back(std::move(*item));
            if (out.size() == kPage) {
                Reply page = value_reply(std::move(out));
                const auto filter = call.request->parameter("$filter");
                page.body.as_object()["nextLink"] =
                    fmt::format("{}{}/resources?api-version={}&$skiptoken={}{}", call.base_url,
                                call.id.str(), call.api_version, token::base64url_encode(row.key),
                                filter.empty() ? "" : "&$filter=" + http::percent_encode(filter));
                return page;
            }
        }
        if (!rows->more) {
            return value_reply(std::move(out));
        }
        range.key = rows->kvs.back().key + '\0';
    }
}

}  // namespace

void add_platform_handlers(Registry& registry, Services& services, Identity& identity) {
    const std::string any;  // what is shown depends on the caller
    registry.add("Microsoft.Resources/tenants", "LIST", any,
                 [&identity](const Call& call, const ReplyFn& reply) {
                     reply(value_reply(identity.read([&](const Directory& d) {
                         const auto mine = d.tenants.find(call.caller.tenant);
                         return mine == d.tenants.end() ? json::array{}
                                                        : json::array{tenant_object(mine->second)};
                     })));
                 });
    registry.add("Microsoft.Resources/subscriptions", "LIST", any,
                 [&identity](const Call& call, const ReplyFn& reply) {
                     reply(list_subscriptions(identity, call.caller));
                 });
    registry.add(
        "Microsoft.Resources/subscriptions", "GET", "Microsoft.Resources/subscriptions/read",
        [&identity](const Call& call, const ReplyFn& reply) {
            const auto found =
                identity.read([&](const Directory& d) -> std::optional<json::object> {
                    const auto at = d.subscriptions.find(model::lower(call.id.subscription));
                    return at == d.subscriptions.end()
                               ? std::nullopt
                               : std::optional(subscription_object(at->second));
                });
            reply(found ? Reply{200, *found, {}}
                        : error_reply(Error{Code::kNotFound,
                                            "The subscription could not be found.",
                                            {},
                                            "SubscriptionNotFound",
                                            {}}));
        });
    registry.add(
        "Microsoft.Resources/subscriptions/locations", "LIST",
        "Microsoft.Resources/subscriptions/locations/read",
        [&services](const Call& call, const ReplyFn& reply) {
            const auto& region = services.region;
            reply(value_reply({json::object{
                {"id", fmt::format("/subscriptions/{}/locations/{}", call.id.subscription, region)},
                {"name", region},
                {"type", "Region"},
                {"displayName", region},
                {"regionalDisplayName", region},
                {"metadata",
                 json::object{{"regionType", "Physical"}, {"regionCategory", "Recommended"}}}}}));
        });
    registry.add("Microsoft.Resources/providers", "LIST", "Microsoft.Resources/providers/read",
                 [&](const Call& call, const ReplyFn& reply) {
                     reply(list_providers(registry, services, call));
                 });
    for (const char* verb : {"GET", "POST:register"}) {
        registry.add("Microsoft.Resources/providers", verb, "Microsoft.Resources/providers/read",
                     [&](const Call& call, const ReplyFn& reply) {
                         reply(get_provider(registry, services, call));
                     });
    }
    registry.add("Microsoft.Resources/resources", "LIST",
                 "Microsoft.Resources/subscriptions/resources/read",
                 [&services](const Call& call, const ReplyFn& reply) {
                     reply(list_resources(services, call));
                 });
}

}  // namespace culvert::control
