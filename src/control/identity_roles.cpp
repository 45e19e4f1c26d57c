// SPDX-License-Identifier: Apache-2.0
// Microsoft.Authorization: role definitions (built in) and role assignments at any scope.
#include "control/front_filter.hpp"
#include "control/front_platform.hpp"
#include "control/keys.hpp"
#include "model/guid.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>

namespace culvert::control {

namespace json = boost::json;

namespace {

constexpr std::string_view kAssignmentType = "Microsoft.Authorization/roleAssignments";
constexpr std::string_view kDefinitionType = "Microsoft.Authorization/roleDefinitions";

json::array texts(const std::vector<std::string>& values) {
    json::array out;
    for (const auto& value : values) {
        out.emplace_back(value);
    }
    return out;
}

// Azure shows a definition below the subscription that it was asked for in.
std::string definition_id(std::string_view role, const model::ResourceId& scope) {
    const std::string prefix =
        scope.subscription.empty() ? "" : "/subscriptions/" + scope.subscription;
    return fmt::format("{}/providers/{}/{}", prefix, kDefinitionType, role);
}

json::object definition_object(const rbac::RoleDefinition& role, const model::ResourceId& scope) {
    return {{"id", definition_id(role.id, scope)},
            {"name", role.id},
            {"type", kDefinitionType},
            {"properties", json::object{{"roleName", role.name},
                                        {"type", "BuiltInRole"},
                                        {"description", role.description},
                                        {"assignableScopes", json::array{"/"}},
                                        {"permissions",
                                         json::array{json::object{
                                             {"actions", texts(role.actions)},
                                             {"notActions", texts(role.not_actions)},
                                             {"dataActions", texts(role.data_actions)},
                                             {"notDataActions", texts(role.not_data_actions)}}}}}}};
}

// `asked`: where it was asked for, so that the definition's id is the one that is listed there.
json::object assignment_object(const RoleAssignment& value, const model::ResourceId& asked) {
    const std::string at = value.scope_as_given == "/" ? "" : value.scope_as_given;
    return {{"id", fmt::format("{}/providers/{}/{}", at, kAssignmentType, value.what.id)},
            {"name", value.what.id},
            {"type", kAssignmentType},
            {"properties", json::object{{"roleDefinitionId", definition_id(value.what.role, asked)},
                                        {"principalId", value.what.principal},
                                        {"principalType", value.principal_type},
                                        {"scope", value.scope_as_given},
                                        {"condition", nullptr},
                                        {"conditionVersion", nullptr},
                                        {"createdOn", value.created_on},
                                        {"updatedOn", value.created_on},
                                        {"createdBy", value.created_by},
                                        {"updatedBy", value.created_by}}}};
}

Error bad(std::string code, std::string message, std::string target) {
    return Error{
        Code::kInvalidArgument, std::move(message), std::move(target), std::move(code), {}};
}

std::string property(const json::value& body, std::string_view name) {
    const auto* object = body.if_object();
    const auto* properties = object != nullptr ? object->if_contains("properties") : nullptr;
    const auto* inner = properties != nullptr ? properties->if_object() : object;
    const auto* value = inner != nullptr ? inner->if_contains(name) : nullptr;
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

// What the caller's tenant may see of the assignments: its own, whatever the scope.
template <typename F>
void each_assignment(const Directory& d, const Caller& caller, F&& use) {
    for (const auto& [key, value] : d.assignments) {
        if (value.tenant == caller.tenant) {
            use(key, value);
        }
    }
}

// The body and the path as an assignment, or what is wrong with them.
Result<RoleAssignment> read_assignment(const Identity& identity, const Call& call) {
    RoleAssignment out;
    const auto scope = call.id.parent();
    out.what.id = model::lower(call.id.name());
    out.what.principal = model::lower(property(call.body, "principalId"));
    const std::string role = property(call.body, "roleDefinitionId");
    out.what.role = model::lower(role.substr(role.rfind('/') + 1));
    out.what.scope = rbac::normalize(scope.str());
    out.scope_as_given = scope.str();
    out.tenant = call.caller.tenant;
    out.created_by = call.caller.principal;
    out.created_on = rfc3339(identity.clock().wall());
    if (!model::is_guid(out.what.id)) {
        return std::unexpected(
            bad("InvalidRoleAssignmentId",
                fmt::format("The role assignment ID '{}' is not valid. It must be a GUID.",
                            out.what.id),
                "name"));
    }
    if (out.what.principal.empty() || role.empty()) {
        return std::unexpected(bad(
            "InvalidRequestContent",
            "The request content needs properties.principalId and properties.roleDefinitionId.",
            out.what.principal.empty() ? "properties.principalId" : "properties.roleDefinitionId"));
    }
    if (rbac::find_role(out.what.role) == nullptr) {
        return std::unexpected(
            bad("RoleDefinitionDoesNotExist",
                fmt::format("The specified role definition with ID '{}' does not exist.",
                            out.what.role),
                "properties.roleDefinitionId"));
    }
    const auto kind = identity.read([&](const Directory& d) {
        const auto found = d.principals.find(out.what.principal);
        const bool ours = found != d.principals.end() && found->second.tenant == out.tenant;
        return ours ? std::optional(found->second.kind) : std::nullopt;
    });
    if (!kind) {
        return std::unexpected(bad("PrincipalNotFound",
                                   fmt::format("Principal {} does not exist in the directory {}.",
                                               out.what.principal, out.tenant),
                                   "properties.principalId"));
    }
    out.principal_type = kind_name(*kind);
    return out;
}

// PUT. Synchronous (arm-contract 6); the same again is the same (arm-contract 5.7).
void put_assignment(Identity& identity, const Call& call, const ReplyFn& reply) {
    auto wanted = read_assignment(identity, call);
    if (!wanted) {
        reply(error_reply(wanted.error()));
        return;
    }
    std::optional<RoleAssignment> same_id;
    std::optional<RoleAssignment> same_right;
    identity.read([&](const Directory& d) {
        each_assignment(d, call.caller, [&](const std::string&, const RoleAssignment& a) {
            if (a.what.id == wanted->what.id && a.what.scope == wanted->what.scope) {
                same_id = a;
            } else if (a.what.principal == wanted->what.principal &&
                       a.what.role == wanted->what.role && a.what.scope == wanted->what.scope) {
                same_right = a;
            }
        });
        return 0;
    });
    if (same_id && same_id->what == wanted->what) {
        reply({200, assignment_object(*same_id, call.id), {}});
        return;
    }
    if (same_id) {
        reply(error_reply(bad("RoleAssignmentUpdateNotPermitted",
                              "Tenant ID, application ID, principal ID, and scope are not allowed "
                              "to be updated.",
                              "properties")));
        return;
    }
    if (same_right) {
        reply(error_reply(Error{Code::kConflict,
                                "The role assignment already exists.",
                                same_right->what.id,
                                "RoleAssignmentExists",
                                {}}));
        return;
    }
    auto revision =
        identity.create({{keys::assignment(wanted->what.scope, wanted->what.id), encode(*wanted)}});
    if (!revision) {
        reply(error_reply(revision.error()));
        return;
    }
    identity.when_applied(*revision, [reply, shown = assignment_object(*wanted, call.id)] {
        reply({201, shown, {}});
    });
}

std::optional<RoleAssignment> find_assignment(const Identity& identity, const Call& call,
                                              std::string* key) {
    const std::string wanted =
        keys::assignment(rbac::normalize(call.id.parent().str()), model::lower(call.id.name()));
    if (key != nullptr) {
        *key = wanted;
    }
    return identity.read([&](const Directory& d) {
        const auto found = d.assignments.find(wanted);
        const bool ours =
            found != d.assignments.end() && found->second.tenant == call.caller.tenant;
        return ours ? std::optional(found->second) : std::nullopt;
    });
}

void get_assignment(Identity& identity, const Call& call, const ReplyFn& reply) {
    const auto found = find_assignment(identity, call, nullptr);
    reply(found ? Reply{200, assignment_object(*found, call.id), {}}
                : error_reply(
                      Error{Code::kNotFound,
                            fmt::format("The role assignment '{}' is not found.", call.id.name()),
                            {},
                            "RoleAssignmentNotFound",
                            {}}));
}

void delete_assignment(Identity& identity, const Call& call, const ReplyFn& reply) {
    std::string key;
    const auto found = find_assignment(identity, call, &key);
    if (!found) {
        reply({204, nullptr, {}});
        return;
    }
    auto revision = identity.remove({key});
    if (!revision) {
        reply(error_reply(revision.error()));
        return;
    }
    identity.when_applied(*revision, [reply, shown = assignment_object(*found, call.id)] {
        reply({200, shown, {}});
    });
}

// Without a filter: at the scope, above it and below it. atScope(): not below. principalId eq,
// assignedTo(): of one.
void list_assignments(Identity& identity, const Call& call, const ReplyFn& reply) {
    auto terms = parse_filter(call.request->parameter("$filter"));
    if (!terms) {
        reply(error_reply(terms.error()));
        return;
    }
    bool below = true;
    std::string principal;
    for (const auto& term : *terms) {
        if (term.name == "atscope" && term.call) {
            below = false;
        } else if (term.name == "principalid" || term.name == "assignedto") {
            principal = model::lower(term.value);
        } else {
            reply(error_reply(unsupported_filter(term)));
            return;
        }
    }
    const std::string scope = rbac::normalize(call.id.str());
    json::array out;
    identity.read([&](const Directory& d) {
        each_assignment(d, call.caller, [&](const std::string&, const RoleAssignment& a) {
            const bool here =
                rbac::covers(a.what.scope, scope) || (below && rbac::covers(scope, a.what.scope));
            if (here && (principal.empty() || principal == a.what.principal)) {
                out.push_back(assignment_object(a, call.id));
            }
        });
        return 0;
    });
    reply({200, json::object{{"value", std::move(out)}}, {}});
}

void list_definitions(const Call& call, const ReplyFn& reply) {
    auto terms = parse_filter(call.request->parameter("$filter"));
    if (!terms) {
        reply(error_reply(terms.error()));
        return;
    }
    json::array out;
    for (const auto& role : rbac::built_in_roles()) {
        bool fits = true;
        for (const auto& term : *terms) {
            if (term.name == "rolename") {
                fits = fits && model::same_name(role.name, term.value);
            } else if (term.name == "type") {
                fits = fits && model::same_name("BuiltInRole", term.value);
            } else if (term.name != "atscopeandbelow" && term.name != "atscope") {
                reply(error_reply(unsupported_filter(term)));
                return;
            }
        }
        if (fits) {
            out.push_back(definition_object(role, call.id));
        }
    }
    reply({200, json::object{{"value", std::move(out)}}, {}});
}

void get_definition(const Call& call, const ReplyFn& reply) {
    const auto* role = rbac::find_role(call.id.name());
    reply(role != nullptr
              ? Reply{200, definition_object(*role, call.id), {}}
              : error_reply(
                    Error{Code::kNotFound,
                          fmt::format("The specified role definition with ID '{}' does not exist.",
                                      call.id.name()),
                          {},
                          "RoleDefinitionDoesNotExist",
                          {}}));
}

}  // namespace

void add_role_handlers(Registry& registry, Identity& identity) {
    const auto add = [&](const char* verb, const char* right, auto handler) {
        registry.add(std::string(kAssignmentType), verb, std::string(kAssignmentType) + right,
                     [&identity, handler](const Call& call, const ReplyFn& reply) {
                         handler(identity, call, reply);
                     });
    };
    add("PUT", "/write", put_assignment);
    add("GET", "/read", get_assignment);
    add("DELETE", "/delete", delete_assignment);
    add("LIST", "/read", list_assignments);
    const std::string read = std::string(kDefinitionType) + "/read";
    registry.add(std::string(kDefinitionType), "LIST", read, list_definitions);
    registry.add(std::string(kDefinitionType), "GET", read, get_definition);
}

}  // namespace culvert::control
