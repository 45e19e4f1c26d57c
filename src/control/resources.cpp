// SPDX-License-Identifier: Apache-2.0
#include "control/resources.hpp"

#include "control/allocate.hpp"
#include "control/operations.hpp"

#include <fmt/format.h>

#include <charconv>

namespace culvert::control {
namespace {

constexpr std::size_t kPageItems = 1000;
constexpr std::size_t kScanRows = 1000;

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

// Is `revision` among the entity tags of a header? "*" is anything that exists. Weak comparison:
// our tags name the whole document, so that strong and weak do not differ.
bool matches(std::string_view header, std::optional<std::int64_t> revision) {
    if (!revision) {
        return false;
    }
    const std::string weak = wire::etag(*revision);
    const std::string_view strong =
        weak.starts_with("W/") ? std::string_view(weak).substr(2) : std::string_view(weak);
    while (!header.empty()) {
        const std::size_t comma = std::min(header.find(','), header.size());
        std::string_view tag = trim(header.substr(0, comma));
        header.remove_prefix(std::min(comma + 1, header.size()));
        if (tag == "*") {
            return true;
        }
        if (tag.starts_with("W/")) {
            tag.remove_prefix(2);
        }
        // az passes the bare text when the shell has eaten the quotes
        if (tag == strong || (!tag.empty() && fmt::format("\"{}\"", tag) == strong)) {
            return true;
        }
    }
    return false;
}

std::string to_hex(std::string_view bytes) {
    std::string out;
    for (const char byte : bytes) {
        out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    }
    return out;
}

std::optional<std::string> from_hex(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        unsigned value = 0;
        const auto [end, failed] = std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
        if (failed != std::errc() || end != text.data() + i + 2) {
            return std::nullopt;
        }
        out.push_back(static_cast<char>(value));
    }
    return text.size() % 2 == 0 ? std::optional(out) : std::nullopt;
}

std::string next_link(const Call& call, std::string_view last_key) {
    const std::string& target = call.request->target;
    return fmt::format("{}{}?api-version={}&$skiptoken={}", call.base_url,
                       target.substr(0, target.find('?')), call.api_version, to_hex(last_key));
}

}  // namespace

std::unexpected<Errors> refuse(Error error) {
    Errors one;
    one.push_back(std::move(error));
    return std::unexpected(std::move(one));
}

Outcome<void> accepted(Errors errors) {
    if (errors.empty()) {
        return {};
    }
    return refuse(std::move(errors));
}

std::unexpected<Errors> refuse(Errors errors) { return std::unexpected(std::move(errors)); }

Error not_found(const model::ResourceId& id) {
    if (id.segments.empty()) {
        return group_not_found(id);
    }
    // network children have a code of their own (arm-contract 12)
    const bool child = id.segments.size() > 1;
    return Error{Code::kNotFound,
                 fmt::format("the resource '{}' was not found: check its name, group and "
                             "subscription",
                             id.str()),
                 id.str(),
                 child ? "NotFound" : "ResourceNotFound",
                 {}};
}

Error group_not_found(const model::ResourceId& group) {
    return Error{Code::kNotFound,
                 fmt::format("resource group '{}' could not be found: create it first",
                             group.resource_group),
                 group.str(),
                 "ResourceGroupNotFound",
                 {}};
}

Result<std::size_t> count_below(store::Store& store, const std::string& prefix) {
    auto counted = store.range(
        store::Range{.key = prefix, .range_end = store::prefix_end(prefix), .count_only = true});
    if (!counted) {
        return std::unexpected(std::move(counted.error()));
    }
    return counted->count;
}

store::Compare nothing_new_below(std::string_view prefix, std::int64_t since) {
    return store::Compare{.key = std::string(prefix),
                          .range_end = store::prefix_end(prefix),
                          .target = store::Target::kModRevision,
                          .relation = store::Relation::kLess,
                          .number = since + 1};
}

Status check_preconditions(const http::Request* request, std::optional<std::int64_t> revision) {
    if (request == nullptr) {
        return {};
    }
    const std::string_view if_match = http::find_header(request->headers, "If-Match");
    if (!if_match.empty() && !matches(if_match, revision)) {
        return fail(Code::kPreconditionFailed,
                    revision ? fmt::format("If-Match does not match the resource's ETag {}: read "
                                           "it again",
                                           wire::etag(*revision))
                             : std::string("If-Match is given but the resource does not exist"),
                    "If-Match", "PreconditionFailed");
    }
    const std::string_view if_none = http::find_header(request->headers, "If-None-Match");
    if (!if_none.empty() && matches(if_none, revision)) {
        return fail(Code::kPreconditionFailed,
                    "If-None-Match is given and the resource exists with a matching ETag",
                    "If-None-Match", "PreconditionFailed");
    }
    return {};
}

Result<Referrers> referrers_below(store::Store& store, const model::ResourceId& id) {
    Referrers out;
    const std::string key = id.key();
    // first what lies below, then the resource itself: two ranges, the older revision counts
    for (const std::string& prefix : {keys::refs_below(key), keys::refs_to(key)}) {
        auto rows = store.list(prefix);
        if (!rows) {
            return std::unexpected(std::move(rows.error()));
        }
        out.revision = out.revision == 0 ? rows->revision : out.revision;
        for (const store::KeyValue& row : rows->kvs) {
            const std::size_t bar = row.key.find('|');
            if (bar == std::string::npos) {
                return fail(Code::kCorrupt, "reference key without source: " + row.key);
            }
            auto source = model::ResourceId::parse(
                row.value.empty() ? std::string_view(row.key).substr(bar + 1) : row.value);
            if (!source) {
                return std::unexpected(std::move(source.error()));
            }
            out.all.push_back(Referrer{row.key.substr(4, bar - 4), std::move(*source)});
        }
    }
    return out;
}

std::map<std::string, std::vector<model::ResourceId>> by_child(const Referrers& referrers,
                                                               std::string_view type) {
    std::map<std::string, std::vector<model::ResourceId>> out;
    for (const Referrer& referrer : referrers.all) {
        const auto target = model::ResourceId::parse(referrer.target);
        if (target && target->segments.size() > 1 &&
            model::same_name(target->segments[1].first, type)) {
            out[model::lower(target->segments[1].second)].push_back(referrer.source);
        }
    }
    return out;
}

Error too_busy(const model::ResourceId& id) {
    return Error{Code::kConflict,
                 fmt::format("'{}' or what it refers to is being written by others all the time: "
                             "try again",
                             id.str()),
                 id.str(),
                 "AnotherOperationInProgress",
                 {}};
}

Status check_linked(const Services& services, const Caller& caller, std::string_view permission,
                    const model::ResourceId& scope) {
    auto allowed = services.authorize(caller, permission, scope);
    if (!allowed) {
        return std::unexpected(std::move(allowed.error()));
    }
    if (!*allowed) {
        return fail(Code::kPermissionDenied,
                    fmt::format("the client '{}' has permission for the resource itself but not "
                                "for action '{}' on the linked scope '{}': ask its owner for a "
                                "role with that action",
                                caller.principal, permission, scope.str()),
                    scope.str(), "LinkedAuthorizationFailed");
    }
    return {};
}

namespace {

void set_provisioning(boost::json::value& body, std::string_view state) {
    if (auto* object = body.if_object()) {
        if (auto* properties = object->if_contains("properties");
            properties != nullptr && properties->is_object()) {
            properties->get_object()["provisioningState"] = state;
        }
    }
}

}  // namespace

void answer_put(Services& services, const Call& call, ReplyFn reply, std::int64_t revision,
                Reply when_settled) {
    services.settle(revision, [poll = operation_headers(services, call, revision, false),
                               reply = std::move(reply),
                               answer = std::move(when_settled)](bool settled) mutable {
        if (!settled) {
            set_provisioning(answer.body, "Updating");
            answer.headers.insert(answer.headers.end(), poll.begin(), poll.end());
        }
        reply(std::move(answer));
    });
}

void answer_synchronous_put(Services& services, ReplyFn reply, std::int64_t revision,
                            Reply when_settled) {
    services.settle(revision, [reply = std::move(reply),
                               answer = std::move(when_settled)](bool settled) mutable {
        if (!settled) {
            set_provisioning(answer.body, "Updating");
        }
        reply(std::move(answer));
    });
}

void answer_delete(Services& services, const Call& call, ReplyFn reply, const Removed& removed) {
    if (!removed.existed) {
        reply(Reply{.status = 204, .body = nullptr, .headers = {}});
        return;
    }
    services.settle(
        removed.revision, [poll = operation_headers(services, call, removed.revision, true),
                           reply = std::move(reply)](bool settled) mutable {
            reply(settled ? Reply{.status = 200, .body = nullptr, .headers = {}}
                          : Reply{.status = 202, .body = nullptr, .headers = std::move(poll)});
        });
}

Reply shown(int status, boost::json::object body, std::int64_t revision) {
    return Reply{
        .status = status, .body = std::move(body), .headers = {{"ETag", wire::etag(revision)}}};
}

Reply list_page(Services& services, const Call& call, std::string_view type,
                const ShowItem& show_item) {
    const std::string below = keys::resource(call.id.key()) + "/";
    store::Range range{.key = below, .range_end = store::prefix_end(below)};
    range.limit = kScanRows;
    if (const auto token = call.request->parameter("$skiptoken"); !token.empty()) {
        auto last = from_hex(token);
        if (!last || !last->starts_with(below)) {
            return error_reply(Error{Code::kInvalidArgument,
                                     "$skiptoken is not one of this list: start without it",
                                     "$skiptoken",
                                     "InvalidRequestFormat",
                                     {}});
        }
        range.key = *last + '\0';  // the first key after it
    }
    boost::json::array items;
    for (;;) {
        auto rows = services.store.range(range);
        if (!rows) {
            return error_reply(rows.error());
        }
        for (const store::KeyValue& row : rows->kvs) {
            const auto id = model::ResourceId::parse(std::string_view(row.key).substr(2));
            if (!id || !id->is_type(type)) {
                continue;
            }
            auto item = show_item(row);
            if (!item) {
                return error_reply(item.error());
            }
            if (!*item) {
                continue;
            }
            items.push_back(std::move(**item));
            if (items.size() == kPageItems) {
                return Reply{.status = 200,
                             .body = boost::json::object{{"value", std::move(items)},
                                                         {"nextLink", next_link(call, row.key)}},
                             .headers = {}};
            }
        }
        if (!rows->more) {
            return Reply{.status = 200,
                         .body = boost::json::object{{"value", std::move(items)}},
                         .headers = {}};
        }
        range.key = rows->kvs.back().key + '\0';
    }
}

}  // namespace culvert::control
