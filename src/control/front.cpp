// SPDX-License-Identifier: Apache-2.0
#include "control/front.hpp"

#include "base/limits.hpp"
#include "control/audit.hpp"
#include "control/keys.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/json.hpp>

#include <algorithm>

namespace culvert::control {

namespace json = boost::json;

namespace {

constexpr std::size_t kCorrelationChars = 64;

// A client's own id is echoed only if it cannot harm a log or a header.
std::string correlation_id(const http::Request& request, Random& random) {
    const auto given = http::find_header(request.headers, "x-ms-correlation-request-id");
    const bool plain = std::ranges::all_of(given, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '-';
    });
    return given.empty() || given.size() > kCorrelationChars || !plain ? random.uuid()
                                                                       : std::string(given);
}

bool is_read(std::string_view method) { return method == "GET" || method == "HEAD"; }

// Text for a log line: one line, no more than a line.
std::string loggable(std::string_view text) {
    std::string out(text.substr(0, 300));
    std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < 0x21; }, '_');
    return out;
}

// "line 3, column 7"
std::string position(std::string_view text, std::size_t at) {
    const auto before = text.substr(0, at);
    const auto line = std::ranges::count(before, '\n') + 1;
    const auto start = before.rfind('\n');
    return fmt::format("line {}, column {}", line, at - (start == before.npos ? 0 : start + 1) + 1);
}

}  // namespace

// Result<json::value> with the place of the first error (arm-contract 12: InvalidRequestContent).
Result<json::value> parse_body(std::string_view text) {
    json::parse_options options;
    options.max_depth = limits::kJsonDepth;
    json::stream_parser parser({}, options);
    json::error_code ec;
    std::size_t at = parser.write_some(text.data(), text.size(), ec);
    if (!ec && at < text.size()) {
        ec = json::error::extra_data;
    }
    if (!ec) {
        parser.finish(ec);
    }
    if (ec) {
        return fail(Code::kInvalidArgument,
                    fmt::format("The request content was invalid and could not be deserialized: "
                                "{} at {}.",
                                ec.message(), position(text, at)),
                    {}, "InvalidRequestContent");
    }
    return parser.release();
}

double RateLimit::Bucket::refilled(SteadyTime now) const {
    const std::chrono::duration<double> passed = now - at;
    return std::min(kBurst, tokens + passed.count() * kPerSecond);
}

std::int64_t RateLimit::take(const std::string& key, SteadyTime now, std::size_t cost) {
    const auto wanted = static_cast<double>(cost);
    return buckets_.with([&](auto& buckets) {
        if (buckets.size() >= kKeys && !buckets.contains(key)) {
            std::erase_if(buckets, [&](const auto& b) { return b.second.refilled(now) >= kBurst; });
        }
        Bucket& bucket = buckets.try_emplace(key, Bucket{kBurst, now}).first->second;
        bucket = {bucket.refilled(now), now};
        if (bucket.tokens < wanted) {
            return std::int64_t{-1};
        }
        bucket.tokens -= wanted;
        return static_cast<std::int64_t>(bucket.tokens);
    });
}

// One request on its way: what the answer and the log line need once the request itself is gone.
struct Front::Exchange {
    Call call;
    http::Respond respond;
    Result<Route> route = fail(Code::kInternal, "not routed");
    std::string method;
    std::string path;
    std::string correlation;
    std::string client_request;  // echoed when the client asks for it
    std::int64_t remaining = -1;
    SteadyTime start;
    std::string kind = std::string(kOtherKind);  // for the counters
    bool secret = false;
};

Front::Front(const Registry& registry, Services& services, Identity& identity, SignIn& sign_in,
             std::function<std::string()> unready)
    : registry_(registry),
      services_(services),
      identity_(identity),
      sign_in_(sign_in),
      unready_(std::move(unready)) {}

void Front::handle(const http::Request& request, const http::Respond& respond) {
    auto x = std::make_shared<Exchange>();
    x->start = services_.clock.steady();
    x->method = request.method;
    x->path = request.path;
    x->respond = respond;
    x->correlation = correlation_id(request, services_.random);
    x->call.request_id = services_.random.uuid();
    x->call.request = &request;
    x->call.base_url = base_url(request);
    x->call.api_version = request.parameter("api-version");
    if (http::same_text(http::find_header(request.headers, "x-ms-return-client-request-id"),
                        "true")) {
        x->client_request = http::find_header(request.headers, "x-ms-client-request-id");
    }
    if (unauthenticated(request, x)) {
        return;
    }
    const Registry::Entry* entry = nullptr;
    if (auto admitted = admit(*x, &entry); !admitted) {
        Reply refused = error_reply(admitted.error());
        if (admitted.error().arm_code == "MethodNotAllowed") {
            refused.status = 405;
        }
        note_denied(*x, admitted.error());
        finish(*x, std::move(refused));
        return;
    }
    const AuditScope scope(is_read(x->method) ? std::nullopt : std::optional(actor_of(*x)));
    try {
        entry->handler(x->call, [this, x](Reply reply) { finish(*x, std::move(reply)); });
    } catch (const std::exception& e) {
        spdlog::error("front: {} handler of {} failed: {}", x->call.request_id, x->route->type,
                      e.what());
        finish(*x,
               error_reply(Error{Code::kInternal, "the request could not be handled", {}, {}, {}}));
    }
}

Actor Front::actor_of(const Exchange& x) {
    const Route& r = *x.route;
    const std::string_view what = x.method == "DELETE" ? "delete"
                                  : !r.action.empty()  ? "action"
                                                       : "write";
    return Actor{.caller = x.call.caller,
                 .from = x.call.request->peer,
                 .request_id = x.call.request_id,
                 .correlation = x.correlation,
                 .operation = r.action.empty() ? fmt::format("{}/{}", r.type, what)
                                               : fmt::format("{}/{}/action", r.type, r.action),
                 .resource = r.arm ? x.call.id.str() : loggable(x.path)};
}

// A write that a known caller has no right to.
void Front::note_denied(const Exchange& x, const Error& error) const {
    if (error.code != Code::kPermissionDenied || is_read(x.method) || !services_.note || !x.route) {
        return;
    }
    const Actor actor = actor_of(x);
    services_.note(actor.caller.tenant, json::object{{"operation", actor.operation},
                                                     {"resource", actor.resource},
                                                     {"status", "Failed"},
                                                     {"code", error.arm_code},
                                                     {"caller", caller_object(actor.caller)},
                                                     {"from", actor.from},
                                                     {"requestId", actor.request_id},
                                                     {"correlationId", actor.correlation}});
}

void Front::refused(http::Response& response) const {
    Exchange x;
    x.start = services_.clock.steady();
    x.method = "-";
    x.path = "-";
    x.correlation = services_.random.uuid();
    x.call.request_id = services_.random.uuid();
    add_headers(x, response);
    log(x, response.status);
}

// Health and sign-in, which are asked before anyone can be known.
bool Front::unauthenticated(const http::Request& request, const ExchangePtr& x) {
    if (request.path == "/healthz" || request.path == "/readyz") {
        const std::string why = request.path == "/healthz" ? std::string() : unready_();
        const bool good = why.empty();
        // RFC 9110 6.6.1: `culvert doctor` compares the clocks
        x->respond(
            {good ? 200 : 503,
             {{"Content-Type", "text/plain"},
              {"Date",
               fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT",
                           fmt::gmtime(WallTime::clock::to_time_t(services_.clock.wall())))}},
             good ? "ok\n" : why + "\n"});
        return true;
    }
    x->secret = request.path.ends_with("/token");
    return sign_in_.handle(request, [this, x](http::Response response) {
        x->kind = kSignInKind;
        add_headers(*x, response);
        log(*x, response.status);
        x->respond(std::move(response));
    });
}

// The pipeline; each step may refuse.
Status Front::admit(Exchange& x, const Registry::Entry** entry) {
    const http::Request& request = *x.call.request;
    x.route = route(request);
    const auto* wanted = x.route ? registry_.find(x.route->type, x.route->verb, nullptr) : nullptr;
    if (wanted == nullptr || wanted->permission != kAnonymous) {
        auto caller = identity_.authenticate(http::find_header(request.headers, "authorization"));
        if (!caller) {
            return std::unexpected(caller.error());
        }
        x.call.caller = std::move(*caller);
    }
    if (!x.route || x.route->arm) {
        CULVERT_TRY_STATUS(check_api_version(x.call.api_version));
    }
    if (!x.route) {
        return std::unexpected(x.route.error());
    }
    x.call.id = x.route->id;
    x.call.collection = x.route->collection;
    x.call.action = x.route->action;
    CULVERT_TRY_STATUS(find_entry(x, entry));
    CULVERT_TRY_STATUS(check_caller_rate(x, **entry));
    CULVERT_TRY_STATUS(check_scope(x, **entry));
    CULVERT_TRY_STATUS(check_group(x));
    return read_body(x);
}

Status Front::find_entry(Exchange& x, const Registry::Entry** entry) const {
    const Route& r = *x.route;
    bool known = false;
    *entry = registry_.find(r.type, r.verb, &known);
    if (*entry == nullptr && x.method == "HEAD") {
        *entry = registry_.find(r.type, "GET", &known);
    }
    if (known) {
        x.kind = model::lower(r.type);
    }
    if (*entry != nullptr) {
        return {};
    }
    if (known) {
        return fail(Code::kInvalidArgument,
                    fmt::format("The method {} is not allowed on '{}'.", x.method, r.type), {},
                    "MethodNotAllowed");
    }
    const std::string provider = model::lower(r.type.substr(0, r.type.find('/'))) + "/";
    const auto types = registry_.types();
    const bool registered = std::ranges::any_of(
        types, [&](const auto& t) { return model::lower(t).starts_with(provider); });
    if (!registered) {
        return fail(Code::kInvalidArgument,
                    fmt::format("No registered resource provider found for '{}'.", r.type), {},
                    "NoRegisteredProviderFound");
    }
    return fail(Code::kNotFound, fmt::format("The resource type '{}' could not be found.", r.type),
                {}, "InvalidResourceType");
}

// Before anything is looked up: also who may do nothing could keep everybody else waiting.
Status Front::check_caller_rate(const Exchange& x, const Registry::Entry& entry) {
    const Caller& caller = x.call.caller;
    if (caller.principal.empty()) {
        return {};  // anonymous: nothing that costs
    }
    const bool slow = entry.cost > 1 && rate_.take("t" + caller.tenant, x.start, entry.cost) < 0;
    if (slow || rate_.take("c" + caller.principal, x.start) < 0) {
        return fail(Code::kThrottled,
                    fmt::format("Number of requests of the {} exceeded the limit; try again in a "
                                "second.",
                                slow ? "tenant for lists of everything" : "client"),
                    {}, "TooManyRequests");
    }
    return {};
}

// Subscription, right and rate. A subscription of another tenant is one that does not exist.
Status Front::check_scope(Exchange& x, const Registry::Entry& entry) {
    const auto& id = x.call.id;
    const Caller& caller = x.call.caller;
    if (!id.subscription.empty()) {
        const bool exists = identity_.read([&](const Directory& d) {
            const auto found = d.subscriptions.find(model::lower(id.subscription));
            return found != d.subscriptions.end() && found->second.tenant == caller.tenant;
        });
        if (!exists) {
            return fail(Code::kNotFound,
                        fmt::format("The subscription '{}' could not be found.", id.subscription),
                        {}, "SubscriptionNotFound");
        }
    }
    CULVERT_TRY_STATUS(check_right(x, entry));
    if (id.subscription.empty()) {
        return {};
    }
    // by caller: nobody may use up what others are allowed
    x.remaining = rate_.take(
        model::lower(id.subscription) + "|" + caller.principal + (is_read(x.method) ? "r" : "w"),
        x.start);
    if (x.remaining < 0) {
        return fail(Code::kThrottled,
                    "Number of requests for the subscription exceeded the limit; try again in a "
                    "second.",
                    {}, "SubscriptionRequestsThrottled");
    }
    return {};
}

Status Front::check_right(const Exchange& x, const Registry::Entry& entry) const {
    const auto& id = x.call.id;
    const Caller& caller = x.call.caller;
    if (entry.permission.empty() || entry.permission == kAnonymous) {
        return {};
    }
    const bool operators = entry.permission == kOperator;
    const std::string_view permission = operators ? "Microsoft.Authorization/roleAssignments/write"
                                                  : std::string_view(entry.permission);
    const bool home = !operators || identity_.read([&](const Directory& d) {
        return d.home_tenant == caller.tenant;
    });
    const auto scope = x.route->arm ? id : model::ResourceId{};
    if (!home || !identity_.authorize(caller, permission, scope)) {
        return fail(
            Code::kPermissionDenied,
            fmt::format("The client '{}' with object id '{}' does not have authorization to "
                        "perform action '{}' over scope '{}' or the scope is invalid. If "
                        "access was recently granted, please refresh your credentials.",
                        caller.name, caller.principal, permission, scope.str()),
            {}, "AuthorizationFailed");
    }
    return {};
}

// What lies in a resource group needs the group.
Status Front::check_group(const Exchange& x) const {
    const auto& id = x.call.id;
    const bool below = !id.segments.empty() || !x.call.collection.empty() || !x.call.action.empty();
    if (id.resource_group.empty() || !below) {
        return {};
    }
    auto group = services_.store.get(keys::resource(id.group().key()));
    if (!group) {
        return std::unexpected(group.error());
    }
    if (!*group) {
        return fail(Code::kNotFound,
                    fmt::format("Resource group '{}' could not be found.", id.resource_group), {},
                    "ResourceGroupNotFound");
    }
    return {};
}

Status Front::read_body(Exchange& x) const {
    const auto& text = x.call.request->body;
    const bool writes = x.method == "PUT" || x.method == "POST" || x.method == "PATCH";
    if (!writes || text.empty()) {
        return {};
    }
    auto body = parse_body(text);
    if (!body) {
        return std::unexpected(body.error());
    }
    x.call.body = std::move(*body);
    return {};
}

void Front::add_headers(const Exchange& x, http::Response& response) const {
    auto& headers = response.headers;
    headers.emplace_back("x-ms-request-id", x.call.request_id);
    headers.emplace_back("x-ms-correlation-request-id", x.correlation);
    headers.emplace_back("X-Content-Type-Options", "nosniff");
    if (http::find_header(headers, "cache-control").empty()) {
        headers.emplace_back("Cache-Control", "no-store");
    }
    if (!x.client_request.empty()) {
        headers.emplace_back("x-ms-client-request-id", x.client_request);
    }
    if (x.remaining >= 0) {
        headers.emplace_back(is_read(x.method) ? "x-ms-ratelimit-remaining-subscription-reads"
                                               : "x-ms-ratelimit-remaining-subscription-writes",
                             std::to_string(x.remaining));
    }
    if (response.status == 401 && !x.call.base_url.empty()) {  // RFC 6750 3
        headers.emplace_back(
            "WWW-Authenticate",
            fmt::format("Bearer authorization_uri=\"{}/adfs\", error=\"invalid_token\"",
                        x.call.base_url));
    }
}

void Front::log(const Exchange& x, int status) const {
    const std::chrono::duration<double, std::milli> took = services_.clock.steady() - x.start;
    stats_.add({.kind = x.kind,
                .write = !is_read(x.method),
                .secret = x.secret && x.kind == kSignInKind,
                .status = status,
                .took = std::chrono::duration_cast<std::chrono::nanoseconds>(took)});
    spdlog::log(status >= 500 ? spdlog::level::warn : spdlog::level::info,
                "front: {} {} {} by {} -> {} in {:.1f} ms", x.call.request_id, x.method,
                loggable(x.path), x.call.caller.name.empty() ? "-" : loggable(x.call.caller.name),
                status, took.count());
}

void Front::finish(Exchange& x, Reply reply) const {
    http::Response response{reply.status, std::move(reply.headers), {}};
    if (!reply.body.is_null()) {
        const auto* object = reply.body.if_object();
        const auto* etag = object != nullptr ? object->if_contains("etag") : nullptr;
        if (etag != nullptr && etag->is_string() &&
            http::find_header(response.headers, "etag").empty()) {
            response.headers.emplace_back("ETag", etag->as_string());
        }
        if (reply.status >= 500 && object != nullptr) {
            spdlog::warn("front: {} answers {}", x.call.request_id, json::serialize(reply.body));
        }
        response.headers.emplace_back("Content-Type", "application/json; charset=utf-8");
        response.body = json::serialize(reply.body);
    }
    add_headers(x, response);
    log(x, response.status);
    x.respond(std::move(response));
}

}  // namespace culvert::control
