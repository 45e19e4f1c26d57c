// SPDX-License-Identifier: Apache-2.0
#include "control/node_handlers.hpp"

#include "base/limits.hpp"
#include "base/log.hpp"
#include "control/allocate.hpp"
#include "control/certificate_records.hpp"
#include "control/certificates.hpp"
#include "control/hub_streams.hpp"
#include "control/identity.hpp"
#include "control/node_documents.hpp"
#include "control/serving.hpp"
#include "net/address.hpp"
#include "token/token.hpp"

#include <fmt/format.h>

#include <set>

namespace culvert::control {
namespace {

namespace json = boost::json;

constexpr std::size_t kTokens = 1000;  // outstanding
constexpr std::size_t kTokenBytes = 32;
constexpr std::size_t kTokenChars = 256;
constexpr std::size_t kRequestChars = 16 * 1024;
constexpr std::int64_t kShortestToken = 30;
constexpr std::int64_t kLongestToken = 24 * 3600;
constexpr int kAttempts = 50;
constexpr std::string_view kTokenPrefix = "/join/";

std::string join_key(std::string_view token) {
    return std::string(kTokenPrefix) + token::sha256_hex(token);
}

Error bad(std::string field, std::string message) {
    return Error{
        Code::kInvalidArgument, std::move(message), std::move(field), "InvalidParameter", {}};
}

// A string member of the body; "" when absent. Error: not a string, or too long.
Result<std::string> text_in(const json::value& body, std::string_view name, std::size_t longest) {
    const json::object* object = body.if_object();
    const json::value* member = object == nullptr ? nullptr : object->if_contains(name);
    if (member == nullptr || member->is_null()) {
        return std::string();
    }
    if (!member->is_string() || member->as_string().size() > longest) {
        return std::unexpected(
            bad(std::string(name),
                fmt::format("'{}' has to be a string of at most {} characters", name, longest)));
    }
    return std::string(member->as_string());
}

Result<std::int64_t> seconds_in(const json::value& body) {
    const json::object* object = body.if_object();
    const json::value* member = object == nullptr ? nullptr : object->if_contains("ttl_s");
    const auto usual = std::chrono::seconds(limits::kJoinTokenLife).count();
    if (member == nullptr || member->is_null()) {
        return usual;
    }
    if (!member->is_int64() || member->as_int64() < kShortestToken ||
        member->as_int64() > kLongestToken) {
        return std::unexpected(
            bad("ttl_s", fmt::format("'ttl_s' has to be a whole number from {} to {}",
                                     kShortestToken, kLongestToken)));
    }
    return member->as_int64();
}

Status check_name(const std::string& name) {
    if (!is_node_name(name)) {
        return std::unexpected(
            bad("name",
                "'name' has to be 1 to 63 of a-z, 0-9, '.' and '-', with a letter or digit at "
                "both ends"));
    }
    return {};
}

Result<net::Ipv4> check_outer(const std::string& outer) {
    auto address = net::Ipv4::parse(outer);
    const std::uint32_t value = address ? address->value : 0;
    constexpr std::uint32_t kMulticast = 0xe0000000;  // RFC 5771; reserved addresses lie above
    if (value >> 24 == 0 || value >= kMulticast) {
        return std::unexpected(bad("outer", fmt::format("'outer' has to be the IPv4 address of the "
                                                        "node on the backbone, '{}' is none",
                                                        outer.substr(0, 64))));
    }
    return address;
}

// --- tokens ---

// Expired tokens go; an error when too many are left.
Status make_room(Services& services) {
    auto rows = services.store.list(kTokenPrefix);
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::size_t left = rows->kvs.size();
    Change change;
    std::size_t erased = 0;
    for (const store::KeyValue& row : rows->kvs) {
        const auto token = decode_join_token(row.value);
        if ((!token || token->expires <= services.clock.wall()) &&
            erased < limits::kTxnOperations / 2) {
            change.erase(row.key);
            ++erased;
            --left;
        }
    }
    if (erased > 0) {
        if (auto done = change.commit(services); !done) {
            return std::unexpected(std::move(done.error()));
        }
    }
    if (left >= kTokens) {
        return fail(
            Code::kThrottled,
            fmt::format("{} join tokens are outstanding, use them or let them expire", left), {},
            "TooManyJoinTokens");
    }
    return {};
}

Result<Reply> make_token(Services& services, const Call& call) {
    auto name = text_in(call.body, "name", kTokenChars);
    if (name && name->empty()) {
        name = text_in(call.body, "node", kTokenChars);
    }
    auto seconds = seconds_in(call.body);
    if (!name || !seconds) {
        return std::unexpected(!name ? name.error() : seconds.error());
    }
    if (!name->empty()) {
        CULVERT_TRY_STATUS(check_name(*name));
    }
    auto tenants = read_tenants(services.store, call.body);
    if (!tenants) {
        return std::unexpected(std::move(tenants.error()));
    }
    CULVERT_TRY_STATUS(make_room(services));
    const std::string token = "cvj-" + services.random.hex(kTokenBytes);
    const JoinToken document{.node = *name,
                             .expires = services.clock.wall() + std::chrono::seconds(*seconds),
                             .created_by = call.caller.principal,
                             .tenants = std::move(*tenants)};
    Change change;
    change.require(store::absent(join_key(token)));
    change.put(join_key(token), encode(document));
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    if (!*done) {
        return fail(Code::kConflict, "make join token: lost a race, try again");
    }
    return Reply{
        .status = 200,
        .body =
            json::object{{"token", token}, {"name", *name}, {"expires", rfc3339(document.expires)}},
        .headers = {}};
}

// --- joining ---

struct JoinRequest {
    std::string token;
    std::string name;
    std::string outer;
    net::Ipv4 address;
    std::string csr;
};

Result<JoinRequest> read_join(const json::value& body) {
    JoinRequest out;
    for (const auto& [field, to, longest] :
         {std::tuple{"token", &out.token, kTokenChars}, std::tuple{"name", &out.name, kTokenChars},
          std::tuple{"outer", &out.outer, kTokenChars},
          std::tuple{"csr", &out.csr, kRequestChars}}) {
        auto text = text_in(body, field, longest);
        if (!text) {
            return std::unexpected(std::move(text.error()));
        }
        if (text->empty()) {
            return std::unexpected(bad(field, fmt::format("'{}' is missing", field)));
        }
        *to = std::move(*text);
    }
    CULVERT_TRY_STATUS(check_name(out.name));
    auto address = check_outer(out.outer);
    if (!address) {
        return std::unexpected(std::move(address.error()));
    }
    out.address = *address;
    return out;
}

Error token_refused() {
    return Error{Code::kPermissionDenied,
                 "the join token is unknown, used, expired, or for another node: make a new one "
                 "(`culvert node token`)",
                 "token",
                 "InvalidJoinToken",
                 {}};
}

// The token is valid for this name; the change uses it up.
Result<JoinToken> use_token(Services& services, const JoinRequest& join, Change& change) {
    const std::string key = join_key(join.token);
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return std::unexpected(token_refused());
    }
    auto token = decode_join_token((*row)->value);
    if (!token || token->expires <= services.clock.wall() ||
        (!token->node.empty() && token->node != join.name)) {
        return std::unexpected(token_refused());
    }
    change.require(store::unchanged(key, (*row)->mod_revision));
    change.erase(key);
    return token;
}

Status take_node_index(Services& services, const std::string& name, Change& change,
                       std::uint32_t* index) {
    CULVERT_TRY_STATUS(may_allocate(services));
    constexpr std::string_view kPrefix = "/idx/node/";
    auto rows = services.store.list(kPrefix);
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::set<std::string, std::less<>> taken;
    for (const store::KeyValue& row : rows->kvs) {
        taken.insert(row.key);
    }
    constexpr std::uint32_t kIndices = limits::kNodes - 1;  // 1..kIndices
    const auto start = static_cast<std::uint32_t>(services.random.below(kIndices));
    for (std::uint32_t i = 0; i < kIndices; ++i) {
        *index = 1 + (start + i) % kIndices;
        const std::string key = keys::index("node", *index);
        if (!taken.contains(key)) {
            change.require(store::absent(key));
            change.put(key, Reservation{.generation = 0, .owner = name}.str());
            return {};
        }
    }
    return fail(Code::kUnavailable, fmt::format("all {} node indices are taken", kIndices), {},
                "TooManyNodes");
}

Status take_outer(Services& services, const JoinRequest& join, Change& change) {
    CULVERT_TRY_STATUS(may_allocate(services));
    const std::string key = keys::index("outer", join.address.value);
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (*row) {
        const auto held = Reservation::parse((*row)->value);
        return fail(Code::kConflict,
                    fmt::format("the backbone address {} belongs to node {}", join.outer,
                                held ? held->owner : "?"),
                    "outer", "BackboneAddressInUse");
    }
    change.require(store::absent(key));
    change.put(key, Reservation{.generation = 0, .owner = join.name}.str());
    return {};
}

// Fills the node in and adds what it takes to the change.
Status place_node(Services& services, const JoinRequest& join, bool named, Change& change,
                  model::Node& node) {
    const std::string key = keys::node(join.name);
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        change.require(store::absent(key));
        CULVERT_TRY_STATUS(take_node_index(services, join.name, change, &node.index));
        return take_outer(services, join, change);
    }
    if (!named) {
        return fail(Code::kConflict,
                    fmt::format("a node named {0} exists: choose another name, or make a token for "
                                "it (`culvert node token --node {0}`) to replace its certificate",
                                join.name),
                    "name", "NodeExists");
    }
    auto previous = decode_node((*row)->value);
    if (!previous) {
        return std::unexpected(std::move(previous.error()));
    }
    change.require(store::unchanged(key, (*row)->mod_revision));
    change.put_all(revocations(*previous, {}, services.clock.wall()));
    change.erase(keys::holds(join.name));
    node.index = previous->index;
    node.tenants = previous->tenants;
    node.draining = previous->draining;
    if (previous->outer != join.outer) {
        CULVERT_TRY_STATUS(take_outer(services, join, change));
        if (const auto old = net::Ipv4::parse(previous->outer)) {
            change.release(keys::index("outer", old->value), {.generation = 0, .owner = join.name});
        }
    }
    return {};
}

std::string intent_address(const Enrolment& enrolment, const Call& call) {
    std::string host = enrolment.intent_host;
    if (host.empty()) {
        host = call.base_url.substr(std::min(call.base_url.find("//"), call.base_url.size()));
        host = host.substr(std::min<std::size_t>(2, host.size()));
        host = host.substr(0, host.find('/'));
        const std::size_t colon = host.rfind(':');
        if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
            host.resize(colon);
        }
    }
    return fmt::format("{}:{}", host, enrolment.intent_port);
}

// nullopt: lost a race.
Result<std::optional<Reply>> join_once(Services& services, const Enrolment& enrolment,
                                       const Call& call, const JoinRequest& join) {
    Change change;
    const auto token = use_token(services, join, change);
    if (!token) {
        return std::unexpected(token.error());
    }
    const bool named = !token->node.empty();
    model::Node node;
    node.name = join.name;
    node.outer = join.outer;
    CULVERT_TRY_STATUS(place_node(services, join, named, change, node));
    if (token->tenants) {
        node.tenants = token->tenants;
    }
    auto certificate = enrolment.issue(join.csr, join.name);
    if (!certificate) {
        return std::unexpected(std::move(certificate.error()));
    }
    auto identity = identity_of(*certificate);
    if (!identity) {
        return std::unexpected(std::move(identity.error()));
    }
    node.certificate_serial = identity->serial;
    node.authority = identity->authority;
    node.certificate_from = identity->from;
    node.certificate_until = identity->until;
    change.put(keys::node(node.name), encode(node));
    auto done = change.commit(services);
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    if (!*done) {
        return std::optional<Reply>();
    }
    spdlog::info("nodes: {} joined index={} outer={}", node.name, node.index, node.outer);
    return Reply{.status = 200,
                 .body = json::object{{"certificate", *certificate},
                                      {"ca", enrolment.ca_pem()},
                                      {"intent", intent_address(enrolment, call)},
                                      {"node", node.index},
                                      {"name", node.name}},
                 .headers = {}};
}

Result<Reply> join_node(Services& services, const Enrolment& enrolment, const Call& call) {
    const auto join = read_join(call.body);
    if (!join) {
        return std::unexpected(join.error());
    }
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        auto outcome = join_once(services, enrolment, call, *join);
        if (!outcome) {
            return std::unexpected(std::move(outcome.error()));
        }
        if (*outcome) {
            return std::move(**outcome);
        }
    }
    return fail(Code::kConflict, "join: too many nodes join at once, try again");
}

// --- list and removal ---

json::object node_object(const NodeStatus& node, std::size_t attached) {
    json::object out{{"name", node.name},
                     {"index", node.index},
                     {"outer", node.outer},
                     {"connected", node.connected},
                     {"live", node.live},
                     {"version", node.version},
                     {"acknowledged", node.acked},
                     {"waiting", node.waiting},
                     {"attached", attached},
                     {"build", node.build},
                     {"releasesWaiting", node.holds},
                     {"tenants", show_tenants(node.tenants)},
                     {"draining", node.draining}};
    if (node.remaining) {
        out["remainingFlows"] = *node.remaining;
    }
    if (node.last_seen) {
        out["lastSeen"] = rfc3339(*node.last_seen);
    }
    if (!node.error.empty()) {
        out["error"] = node.error;
    }
    return out;
}

// How many NICs are attached on each node.
Result<std::map<std::string, std::size_t>> attached_counts(store::Store& store) {
    const std::string prefix = "/ref" + keys::node("");
    auto rows = store.list(prefix);
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::map<std::string, std::size_t> counts;
    for (const store::KeyValue& row : rows->kvs) {
        ++counts[row.key.substr(prefix.size(), row.key.find('|') - prefix.size())];
    }
    return counts;
}

json::object counters_object(const HubCounters& counters) {
    return {{"deltas", counters.deltas.load()},
            {"snapshots", counters.snapshots.load()},
            {"resumed", counters.resumed.load()},
            {"garbage", counters.garbage.load()},
            {"refused", counters.refused.load()},
            {"replaced", counters.replaced.load()},
            {"ackErrors", counters.ack_errors.load()},
            {"settleTimeouts", counters.timeouts.load()},
            {"undecodable", counters.undecodable.load()},
            {"renewals", counters.renewals.load()},
            {"renewalsRefused", counters.renewals_refused.load()},
            {"refusedTotals", counters.totals_refused.load()}};
}

// `name` empty: all of them.
void show_nodes(Services& services, Hub& hub, const std::string& name, ReplyFn reply) {
    auto counts = attached_counts(services.store);
    if (!counts) {
        reply(error_reply(counts.error()));
        return;
    }
    hub.status([&hub, name, counts = std::move(*counts),
                reply = std::move(reply)](const std::vector<NodeStatus>& nodes) mutable {
        json::array value;
        for (const NodeStatus& node : nodes) {
            if (name.empty() || node.name == name) {
                value.push_back(node_object(node, counts[node.name]));
            }
        }
        if (name.empty()) {
            reply({.status = 200,
                   .body = json::object{{"value", std::move(value)},
                                        {"counters", counters_object(hub.counters())},
                                        {"restoreNumber", hub.restore_number()},
                                        {"numbersKnown", hub.numbers_are_known()}},
                   .headers = {}});
        } else if (value.empty()) {
            reply(error_reply(Error{Code::kNotFound,
                                    fmt::format("there is no node '{}'", name),
                                    "name",
                                    "NodeNotFound",
                                    {}}));
        } else {
            reply({.status = 200, .body = std::move(value[0]), .headers = {}});
        }
    });
}

Reply answer(Result<Reply> outcome) {
    return outcome ? std::move(*outcome) : error_reply(outcome.error());
}

}  // namespace

void add_node_handlers(Registry& registry, Services& services, Hub& hub, Enrolment enrolment) {
    registry.add("Culvert/join-tokens", "POST", std::string(kOperator),
                 [&services](const Call& call, const ReplyFn& reply) {
                     reply(answer(make_token(services, call)));
                 });
    registry.add(
        "Culvert/join", "POST", std::string(kAnonymous),
        [&services, enrolment = std::move(enrolment)](const Call& call, const ReplyFn& reply) {
            reply(answer(join_node(services, enrolment, call)));
        });
    registry.add("Culvert/nodes", "LIST", std::string(kOperator),
                 [&services, &hub](const Call&, ReplyFn reply) {
                     show_nodes(services, hub, {}, std::move(reply));
                 });
    registry.add("Culvert/nodes", "GET", std::string(kOperator),
                 [&services, &hub](const Call& call, ReplyFn reply) {
                     show_nodes(services, hub, call.id.name(), std::move(reply));
                 });
    add_node_removal(registry, services);
    add_serving_handlers(registry, services);
    add_drain_handlers(registry, services);
}

}  // namespace culvert::control
