// SPDX-License-Identifier: Apache-2.0
// LIST Culvert/audit: a tenant's records, those whose resource the caller may read.
#include "base/log.hpp"
#include "control/audit.hpp"
#include "control/identity.hpp"
#include "control/keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace culvert::control {
namespace {

namespace json = boost::json;

constexpr std::size_t kPage = 500;  // rows read at once
constexpr std::size_t kUsual = 100;
constexpr std::size_t kMost = 1000;

std::string member(const json::object& object, std::string_view name) {
    const auto* found = object.if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->get_string())
                                                  : std::string();
}

struct Query {
    std::string resource;   // lower case
    std::string principal;  // lower case: id or name
    std::string from;       // the first key to look at, after the tenant's prefix
    std::size_t limit = kUsual;
};

Result<Query> read_query(const Call& call, WallTime now) {
    Query query;
    query.resource = model::lower(call.request->parameter("resource"));
    query.principal = model::lower(call.request->parameter("principal"));
    WallTime since = now - std::chrono::hours(24);
    if (const auto text = call.request->parameter("since"); !text.empty()) {
        auto given = parse_rfc3339(std::string(text));
        if (!given) {
            given.error().target = "since";
            return std::unexpected(std::move(given.error()));
        }
        since = *given;
    }
    const auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(since.time_since_epoch());
    query.from = fmt::format("{:016}", std::max<std::int64_t>(micros.count(), 0));
    if (const auto after = call.request->parameter("after"); !after.empty()) {
        query.from = std::string(after) + '\0';
    }
    if (const auto text = call.request->parameter("limit"); !text.empty()) {
        const auto [end, bad] =
            std::from_chars(text.data(), text.data() + text.size(), query.limit);
        if (bad != std::errc() || end != text.data() + text.size() || query.limit == 0 ||
            query.limit > kMost) {
            return fail(Code::kInvalidArgument, fmt::format("limit has to be 1 to {}", kMost),
                        "limit");
        }
    }
    return query;
}

// May the caller know of this resource?
bool may_read(const Identity& identity, const Caller& caller, const std::string& resource) {
    const auto id = model::ResourceId::parse(resource);
    if (id && !id->subscription.empty()) {
        return identity.authorize(caller, id->type() + "/read", *id);
    }
    // tenants, nodes, principals, sign-ins: the owner of the tenant
    return identity.authorize(caller, "Microsoft.Authorization/roleAssignments/write", {});
}

bool wanted(const json::object& record, const Query& query) {
    if (!query.principal.empty()) {
        const auto* caller = record.if_contains("caller");
        const json::object none;
        const json::object& who =
            caller != nullptr && caller->is_object() ? caller->get_object() : none;
        if (model::lower(member(who, "id")) != query.principal &&
            model::lower(member(who, "name")) != query.principal) {
            return false;
        }
    }
    if (query.resource.empty() || model::lower(member(record, "resource")) == query.resource) {
        return true;
    }
    const auto* changes = record.if_contains("changes");
    return changes != nullptr && changes->is_array() &&
           std::ranges::any_of(changes->get_array(), [&](const json::value& change) {
               return change.is_object() &&
                      model::lower(member(change.get_object(), "resource")) == query.resource;
           });
}

// The record as the caller may see it; nullopt: not at all.
std::optional<json::object> visible(const Identity& identity, const Caller& caller,
                                    json::object record) {
    if (!may_read(identity, caller, member(record, "resource"))) {
        return std::nullopt;
    }
    if (auto* changes = record.if_contains("changes"); changes != nullptr && changes->is_array()) {
        json::array kept;
        for (json::value& change : changes->get_array()) {
            if (change.is_object() &&
                may_read(identity, caller, member(change.get_object(), "resource"))) {
                kept.push_back(std::move(change));
            }
        }
        *changes = std::move(kept);
    }
    return record;
}

// One record of a row; nullopt: not asked for, not to be seen, or damaged.
std::optional<json::object> record_of(const Identity& identity, const Caller& caller,
                                      const Query& query, const store::KeyValue& row) {
    json::error_code bad;
    json::value record = json::parse(row.value, bad);
    if (bad || !record.is_object()) {
        spdlog::error("audit: {} is damaged", row.key);
        return std::nullopt;
    }
    if (!wanted(record.get_object(), query)) {
        return std::nullopt;
    }
    return visible(identity, caller, std::move(record.get_object()));
}

Reply list_audit(Services& services, const Identity& identity, const Call& call) {
    const auto query = read_query(call, services.clock.wall());
    if (!query) {
        return error_reply(query.error());
    }
    const std::string prefix = fmt::format("{}{}/", keys::kAudit, call.caller.tenant);
    store::Range range{.key = prefix + query->from, .range_end = store::prefix_end(prefix)};
    range.limit = kPage;
    json::array value;
    for (;;) {
        auto rows = services.store.range(range);
        if (!rows) {
            return error_reply(rows.error());
        }
        for (const store::KeyValue& row : rows->kvs) {
            auto record = record_of(identity, call.caller, *query, row);
            if (!record) {
                continue;
            }
            value.push_back(std::move(*record));
            if (value.size() == query->limit) {
                return Reply{.status = 200,
                             .body = json::object{{"value", std::move(value)},
                                                  {"after", row.key.substr(prefix.size())}},
                             .headers = {}};
            }
        }
        if (!rows->more) {
            return Reply{
                .status = 200, .body = json::object{{"value", std::move(value)}}, .headers = {}};
        }
        range.key = rows->kvs.back().key + '\0';
    }
}

}  // namespace

void add_audit_handlers(Registry& registry, Services& services, Identity& identity) {
    // any known caller; each record is asked about
    registry.add("Culvert/audit", "LIST", "",
                 [&services, &identity](const Call& call, const ReplyFn& reply) {
                     reply(list_audit(services, identity, call));
                 });
}

}  // namespace culvert::control
