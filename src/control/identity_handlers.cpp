// SPDX-License-Identifier: Apache-2.0
// What az has no word for: tenants, subscriptions and principals; and the Graph look-ups that az
// makes when it names a principal (arm-contract 8, "role assignment").
#include "control/audit.hpp"
#include "control/front_platform.hpp"
#include "control/keys.hpp"
#include "model/guid.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>
#include <set>

namespace culvert::control {

namespace json = boost::json;

constexpr std::size_t kIdsAtOnce = 1000;     // that a look-up may name
constexpr std::size_t kRemovedAtOnce = 100;  // of a transaction's operations

namespace {

constexpr std::size_t kNameChars = 128;

json::object principal_object(const Principal& value) {
    json::object out{{"id", value.id},
                     {"tenant", value.tenant},
                     {"kind", kind_name(value.kind)},
                     {"name", value.name}};
    if (value.kind == PrincipalKind::kServicePrincipal) {
        out["clientId"] = value.client;
    }
    return out;
}

std::string member(const json::value& body, std::string_view name) {
    const auto* object = body.if_object();
    const auto* value = object != nullptr ? object->if_contains(name) : nullptr;
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::unexpected<Error> bad(std::string message, std::string target) {
    return fail(Code::kInvalidArgument, std::move(message), std::move(target),
                "InvalidRequestContent");
}

Result<std::string> read_name(const Call& call) {
    auto name = member(call.body, "name");
    const bool plain = std::ranges::all_of(name, [](char c) {
        return static_cast<unsigned char>(c) > 0x20 && c != '/' && c != '|' && c != 0x7f;
    });
    if (name.empty() || name.size() > kNameChars || !plain) {
        return bad("name must be a text of 1 to 128 characters without spaces, '/' or '|'", "name");
    }
    return name;
}

// The tenant that a body names: the caller's own when it names none. Another one only for callers
// of the first tenant.
Result<std::string> read_tenant(const Identity& identity, const Call& call) {
    auto tenant = model::lower(member(call.body, "tenant"));
    if (tenant.empty() || tenant == call.caller.tenant) {
        return call.caller.tenant;
    }
    return identity.read([&](const Directory& d) -> Result<std::string> {
        if (d.home_tenant != call.caller.tenant) {
            return fail(Code::kPermissionDenied,
                        "only owners of the first tenant may write into another tenant", "tenant");
        }
        if (!d.tenants.contains(tenant)) {
            return fail(Code::kNotFound, fmt::format("tenant '{}' does not exist", tenant),
                        "tenant", "TenantNotFound");
        }
        return tenant;
    });
}

void answer(Identity& identity, Result<std::int64_t> revision, json::object shown,
            const ReplyFn& reply) {
    if (!revision) {
        reply(error_reply(revision.error()));
        return;
    }
    identity.when_applied(*revision,
                          [reply, shown = std::move(shown)] { reply({201, shown, {}}); });
}

void post_tenant(Identity& identity, const Call& call, const ReplyFn& reply) {
    auto name = read_name(call);
    if (!name) {
        reply(error_reply(name.error()));
        return;
    }
    const Tenant made{identity.random().uuid(), *name};
    answer(identity, identity.create({{keys::tenant(made.id), encode(made)}}),
           {{"id", made.id}, {"name", made.name}}, reply);
}

void post_subscription(Identity& identity, const Call& call, const ReplyFn& reply) {
    auto name = read_name(call);
    auto tenant = read_tenant(identity, call);
    const auto id = model::lower(member(call.body, "id"));
    if (!name || !tenant || (!id.empty() && !model::is_guid(id))) {
        reply(error_reply(!name     ? name.error()
                          : !tenant ? tenant.error()
                                    : bad("id must be a GUID", "id").error()));
        return;
    }
    // A service's lists name subscriptions by id: who may choose one could take an id that somebody
    // already trusts.
    if (!id.empty() &&
        identity.read([&](const Directory& d) { return d.home_tenant != call.caller.tenant; })) {
        reply(error_reply(Error{Code::kPermissionDenied,
                                "only owners of the first tenant may choose a subscription's id",
                                "id",
                                "AuthorizationFailed",
                                {}}));
        return;
    }
    const Subscription made{id.empty() ? identity.random().uuid() : id, *tenant, *name};
    answer(identity, identity.create({{keys::subscription(made.id), encode(made)}}),
           {{"id", made.id}, {"tenant", made.tenant}, {"name", made.name}}, reply);
}

// The assignment that a new principal starts with, when the body asks for one.
Result<std::optional<RoleAssignment>> first_role(Identity& identity, const Call& call,
                                                 const Principal& who) {
    const auto wanted = member(call.body, "role");
    if (wanted.empty()) {
        return std::nullopt;
    }
    const auto& roles = rbac::built_in_roles();
    const auto role = std::ranges::find_if(roles, [&](const auto& r) {
        return model::same_name(r.name, wanted) || model::same_name(r.id, wanted);
    });
    if (role == roles.end()) {
        return bad(fmt::format("role '{}' does not exist", wanted), "role");
    }
    const auto given = member(call.body, "scope");
    const auto scope = model::ResourceId::parse(given.empty() ? "/" : given);
    if (!scope) {
        return bad(scope.error().message, "scope");
    }
    const bool inside = scope->subscription.empty() || identity.read([&](const Directory& d) {
        const auto found = d.subscriptions.find(model::lower(scope->subscription));
        return found != d.subscriptions.end() && found->second.tenant == who.tenant;
    });
    if (!inside) {
        return bad("scope is not in a subscription of the principal's tenant", "scope");
    }
    return RoleAssignment{
        {identity.random().uuid(), who.id, role->id, rbac::normalize(scope->str())},
        who.tenant,
        std::string(kind_name(who.kind)),
        scope->str(),
        rfc3339(identity.clock().wall()),
        call.caller.principal};
}

// On the slow lane: hashes the secret.
void make_principal(Identity& identity, const Call& call, const ReplyFn& reply) {
    auto name = read_name(call);
    auto tenant = read_tenant(identity, call);
    if (!name || !tenant) {
        reply(error_reply(!name ? name.error() : tenant.error()));
        return;
    }
    const bool user = model::same_name(member(call.body, "kind"), "user");
    auto made = identity.make_principal(
        *tenant, user ? PrincipalKind::kUser : PrincipalKind::kServicePrincipal, *name);
    auto role = made ? first_role(identity, call, made->principal)
                     : Result<std::optional<RoleAssignment>>(std::nullopt);
    if (!made || !role) {
        reply(error_reply(!made ? made.error() : role.error()));
        return;
    }
    auto documents = Identity::documents_of(made->principal);
    if (*role) {
        const auto& what = (*role)->what;
        documents.emplace_back(keys::assignment(what.scope, what.id), encode(**role));
    }
    auto shown = principal_object(made->principal);
    shown[user ? "password" : "clientSecret"] = made->secret;
    answer(identity, identity.create(documents), std::move(shown), reply);
}

void post_principal(Identity& identity, SlowLane& lane, const Call& call, const ReplyFn& reply) {
    Call later = call;
    later.request = nullptr;  // ends with this function
    if (!lane.post([&identity, later = std::move(later), reply, actor = AuditScope::current()] {
            const AuditScope scope(actor);
            make_principal(identity, later, reply);
        })) {
        reply(error_reply(Error{
            Code::kUnavailable, "too many principals are being made; try again", {}, {}, {}}));
    }
}

void list_principals(Identity& identity, const Call& call, const ReplyFn& reply) {
    json::array out;
    identity.read([&](const Directory& d) {
        for (const auto& [id, value] : d.principals) {
            if (value.tenant == call.caller.tenant || d.home_tenant == call.caller.tenant) {
                out.push_back(principal_object(value));
            }
        }
        return 0;
    });
    reply({200, json::object{{"value", std::move(out)}}, {}});
}

// Some keys at a time; the revision of the last.
Result<std::int64_t> remove_all(Identity& identity, const std::vector<std::string>& gone) {
    Result<std::int64_t> revision = 0;
    for (std::size_t at = 0; at < gone.size(); at += kRemovedAtOnce) {
        const auto from = gone.begin() + static_cast<std::ptrdiff_t>(at);
        const auto count = std::min(kRemovedAtOnce, gone.size() - at);
        revision = identity.remove({from, from + static_cast<std::ptrdiff_t>(count)});
        if (!revision) {
            return revision;
        }
    }
    return revision;
}

// With its assignments; its tokens stop counting at once. What an earlier deletion left behind goes
// too.
void delete_principal(Identity& identity, const Call& call, const ReplyFn& reply) {
    const auto id = model::lower(call.id.name());
    std::vector<std::string> gone;
    identity.read([&](const Directory& d) {
        const auto ours = [&](const std::string& tenant) {
            return tenant == call.caller.tenant || d.home_tenant == call.caller.tenant;
        };
        const auto found = d.principals.find(id);
        if (found != d.principals.end() && ours(found->second.tenant)) {
            for (const auto& [key, value] : Identity::documents_of(found->second)) {
                gone.push_back(key);
            }
        }
        for (const auto& [key, value] : d.assignments) {
            if (value.what.principal == id && ours(value.tenant)) {
                gone.push_back(key);
            }
        }
        return 0;
    });
    if (gone.empty()) {
        reply({204, nullptr, {}});
    } else if (id == call.caller.principal) {
        reply(error_reply(Error{Code::kConflict, "a principal cannot delete itself", {}, {}, {}}));
    } else if (auto revision = remove_all(identity, gone); revision) {
        identity.when_applied(*revision, [reply] { reply({200, nullptr, {}}); });
    } else {
        reply(error_reply(revision.error()));
    }
}

// --- Graph ---------------------------------------------------------------------------------------

json::object graph_object(const Principal& value) {
    if (value.kind == PrincipalKind::kUser) {
        return {{"@odata.type", "#microsoft.graph.user"},
                {"id", value.id},
                {"displayName", value.name},
                {"userPrincipalName", value.name}};
    }
    return {{"@odata.type", "#microsoft.graph.servicePrincipal"},
            {"id", value.id},
            {"appId", value.client},
            {"displayName", value.name},
            {"servicePrincipalType", "Application"},
            {"servicePrincipalNames", json::array{value.client}}};
}

// The texts in quotes: az's filters compare one of id, client id or name with one text.
std::set<std::string> quoted(std::string_view filter) {
    std::set<std::string> out;
    for (auto open = filter.find('\''); open != filter.npos; open = filter.find('\'')) {
        const auto close = filter.find('\'', open + 1);
        if (close == filter.npos) {
            break;
        }
        out.insert(model::lower(filter.substr(open + 1, close - open - 1)));
        filter.remove_prefix(close + 1);
    }
    return out;
}

void graph_find(const Identity& identity, const Call& call, const ReplyFn& reply,
                std::optional<PrincipalKind> kind, const std::set<std::string>& wanted) {
    json::array out;
    identity.read([&](const Directory& d) {
        for (const auto& [id, value] : d.principals) {
            if (value.tenant != call.caller.tenant || (kind && value.kind != *kind)) {
                continue;
            }
            const auto names = {value.id, value.client, model::lower(value.name)};
            const bool named = wanted.empty() || std::ranges::any_of(names, [&](const auto& name) {
                                   return !name.empty() && wanted.contains(name);
                               });
            if (named) {
                out.push_back(graph_object(value));
            }
        }
        return 0;
    });
    reply({200, json::object{{"value", std::move(out)}}, {}});
}

std::set<std::string> ids_of(const json::value& body) {
    std::set<std::string> out{std::string()};  // never "all"
    const auto* object = body.if_object();
    const auto* ids = object != nullptr ? object->if_contains("ids") : nullptr;
    if (ids != nullptr && ids->is_array()) {
        for (const auto& id : ids->as_array()) {
            if (id.is_string()) {
                out.insert(model::lower(std::string_view(id.as_string())));
            }
        }
    }
    return out;
}

void add_graph_handlers(Registry& registry, Identity& identity) {
    const auto list = [&](const char* type, PrincipalKind kind) {
        registry.add(
            type, "LIST", "",
            [&identity, kind](const Call& call, const ReplyFn& reply) {
                graph_find(identity, call, reply, kind, quoted(call.request->parameter("$filter")));
            },
            kScanCost);
    };
    list("Graph/servicePrincipals", PrincipalKind::kServicePrincipal);
    list("Graph/users", PrincipalKind::kUser);
    registry.add(
        "Graph/directoryObjects", "POST:getByIds", "",
        [&identity](const Call& call, const ReplyFn& reply) {
            auto wanted = ids_of(call.body);
            if (wanted.size() > kIdsAtOnce) {
                reply(error_reply(
                    bad(fmt::format("at most {} ids at once", kIdsAtOnce), "ids").error()));
                return;
            }
            graph_find(identity, call, reply, std::nullopt, wanted);
        },
        kScanCost);
}

}  // namespace

void add_identity_handlers(Registry& registry, Identity& identity, SlowLane& lane) {
    // Owner, not Contributor, at the root of the caller's tenant
    const std::string owner = "Microsoft.Authorization/roleAssignments/write";
    const auto add = [&](const char* type, const char* verb, const std::string& permission,
                         auto handler) {
        registry.add(type, verb, permission,
                     [&identity, handler](const Call& call, const ReplyFn& reply) {
                         handler(identity, call, reply);
                     });
    };
    add("Culvert/tenants", "POST", std::string(kOperator), post_tenant);
    add("Culvert/tenants", "LIST", std::string(kOperator),
        [](Identity& who, const Call&, const ReplyFn& reply) {
            json::array out;
            who.read([&](const Directory& d) {
                for (const auto& [id, tenant] : d.tenants) {
                    out.push_back(json::object{{"id", id}, {"name", tenant.name}});
                }
                return 0;
            });
            reply({200, json::object{{"value", std::move(out)}}, {}});
        });
    add("Culvert/subscriptions", "POST", owner, post_subscription);
    add("Culvert/principals", "POST", owner,
        [&lane](Identity& who, const Call& call, const ReplyFn& reply) {
            post_principal(who, lane, call, reply);
        });
    add("Culvert/principals", "LIST", owner, list_principals);
    add("Culvert/principals", "DELETE", owner, delete_principal);
    add_graph_handlers(registry, identity);
}

}  // namespace culvert::control
