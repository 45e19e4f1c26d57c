// SPDX-License-Identifier: Apache-2.0
#include "control/identity_signin.hpp"

#include "base/limits.hpp"
#include "control/paths.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/json.hpp>

#include <algorithm>
#include <array>

namespace culvert::control {

namespace json = boost::json;

namespace {

constexpr std::size_t kFormBytes = 16 * 1024;
constexpr std::size_t kFormFields = 64;
constexpr std::size_t kNameChars = 256;
// Public clients that users sign in with: az, Azure PowerShell, culvert.
constexpr std::array<std::string_view, 3> kPublicClients{
    "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "1950a258-227b-4e31-a9cf-717495945fc2", "culvert-cli"};
constexpr std::array<std::string_view, 3> kAnyTenant{"common", "organizations", "consumers"};

http::Response answer(int status, const json::value& body) {
    return {status,
            {{"Content-Type", "application/json; charset=utf-8"},
             {"Cache-Control", "no-store"},  // RFC 6749 5.1
             {"Pragma", "no-cache"}},
            json::serialize(body)};
}

http::Response refused(int status, std::string_view error, int number, std::string_view text) {
    auto out = answer(status,
                      json::object{{"error", error},
                                   {"error_description", fmt::format("AADSTS{}: {}", number, text)},
                                   {"error_codes", json::array{number}}});
    if (status == 429 || status == 503) {
        out.headers.emplace_back("Retry-After", "1");
    }
    return out;
}

// arm-contract 3: the same members serve both forms, an object and (2019-05-01) an array of
// objects.
http::Response metadata(const http::Request& request) {
    const std::string base = base_url(request);
    const json::object suffixes{{"storage", "core.culvert.internal"},
                                {"keyVaultDns", ".vault.culvert.internal"},
                                {"sqlServerHostname", ".database.culvert.internal"},
                                {"acrLoginServer", ".azurecr.culvert.internal"}};
    json::object body{{"name", "Culvert"},
                      {"authentication", json::object{{"loginEndpoint", base + "/adfs"},
                                                      {"audiences", json::array{base + "/"}},
                                                      {"tenant", "adfs"},
                                                      {"identityProvider", "ADFS"}}},
                      {"resourceManager", base + "/"},
                      {"resourceManagerEndpoint", base + "/"},
                      {"graph", base + "/graph/"},
                      {"graphEndpoint", base + "/graph/"},
                      {"graphAudience", base + "/graph/"},
                      {"microsoftGraphResourceId", base + "/graph/"},
                      {"gallery", base + "/"},
                      {"galleryEndpoint", base + "/"},
                      {"portal", base + "/"},
                      {"portalEndpoint", base + "/"},
                      {"suffixes", suffixes}};
    if (request.parameter("api-version") == "2019-05-01") {
        return answer(200, json::array{std::move(body)});
    }
    return answer(200, body);
}

http::Response discovery(const http::Request& request, const std::string& tenant, bool adfs) {
    const std::string base = base_url(request);
    const std::string issuer =
        tenant.empty() ? base + "/adfs" : fmt::format("{}/{}/", base, tenant);
    const std::string under = adfs ? base + "/adfs" : fmt::format("{}/{}", base, tenant);
    const std::string oauth = adfs ? under + "/oauth2" : under + "/oauth2/v2.0";
    return answer(200, json::object{{"issuer", issuer},
                                    {"authorization_endpoint", oauth + "/authorize"},
                                    {"token_endpoint", oauth + "/token"},
                                    {"jwks_uri", under + "/discovery/keys"},
                                    {"response_types_supported", json::array{"code", "id_token"}},
                                    {"subject_types_supported", json::array{"pairwise"}},
                                    {"id_token_signing_alg_values_supported", json::array{"ES256"}},
                                    {"token_endpoint_auth_methods_supported",
                                     json::array{"client_secret_post"}}});
}

http::Response keys(const Identity& identity) {
    std::string out = R"({"keys":[)";
    identity.read([&](const Directory& d) {
        for (const auto& key : d.signing_keys) {
            out += (out.back() == '[' ? "" : ",") + key.jwk();
        }
        return 0;
    });
    return {200, {{"Content-Type", "application/json; charset=utf-8"}}, out + "]}"};
}

struct Asked {
    std::string tenant;  // as in the path, lower case; empty for /adfs alone
    bool adfs = false;
    std::string what;  // the rest, joined: "oauth2/token"
};

// /adfs[/{tenant}]/... and /{tenant}/...
Asked split(const std::vector<std::string>& segments) {
    Asked out;
    std::size_t at = 0;
    out.adfs = segments[0] == "adfs";
    at += out.adfs ? 1 : 0;
    static constexpr std::array<std::string_view, 4> kNoTenant{".well-known", "oauth2", "discovery",
                                                               "v2.0"};
    if (at < segments.size() && std::ranges::find(kNoTenant, segments[at]) == kNoTenant.end()) {
        out.tenant = segments[at++];
    }
    for (; at < segments.size(); ++at) {
        out.what += (out.what.empty() ? "" : "/") + segments[at];
    }
    return out;
}

// A tenant by id or name; the common names give an empty one. nullopt: there is none.
std::optional<std::string> resolve_tenant(const Identity& identity, const std::string& name) {
    if (name.empty() || name == "adfs" || std::ranges::find(kAnyTenant, name) != kAnyTenant.end()) {
        return std::string();
    }
    return identity.read([&](const Directory& d) -> std::optional<std::string> {
        for (const auto& [id, tenant] : d.tenants) {
            if (id == name || model::same_name(tenant.name, name)) {
                return id;
            }
        }
        return std::nullopt;
    });
}

}  // namespace

std::string base_url(const http::Request& request) { return "https://" + request.host; }

double Throttle::refill(const Bucket& bucket, SteadyTime now) {
    const std::chrono::duration<double> passed = now - bucket.at;
    return std::min(kBurst, bucket.tokens + passed.count());
}

bool Throttle::allows(const std::string& key, SteadyTime now) {
    return buckets_.with([&](auto& buckets) {
        const auto found = buckets.find(key);
        return found == buckets.end() || refill(found->second, now) >= 1;
    });
}

void Throttle::failed(const std::string& key, SteadyTime now) {
    buckets_.with([&](auto& buckets) {
        if (buckets.size() >= kKeys) {
            std::erase_if(buckets, [&](const auto& b) { return refill(b.second, now) >= kBurst; });
        }
        if (buckets.size() >= kKeys) {
            buckets.erase(buckets.begin());
        }
        Bucket& bucket = buckets.try_emplace(key, Bucket{kBurst, now}).first->second;
        bucket = {std::max(0.0, refill(bucket, now) - 1), now};
    });
}

bool SignIn::handle(const http::Request& request, const http::Respond& respond) {
    auto segments = path_segments(request.path);
    for (auto& segment : segments) {
        segment = model::lower(segment);
    }
    if (segments.size() == 2 && segments[0] == "metadata" && segments[1] == "endpoints") {
        respond(metadata(request));
        return true;
    }
    if (segments.size() < 2 || segments.size() > 6) {
        return false;
    }
    const Asked asked = split(segments);
    const bool is_token = asked.what == "oauth2/token" || asked.what == "oauth2/v2.0/token";
    const bool is_discovery = asked.what == ".well-known/openid-configuration" ||
                              asked.what == "v2.0/.well-known/openid-configuration";
    const bool is_keys = asked.what == "discovery/keys" || asked.what == "discovery/v2.0/keys";
    if ((!asked.adfs && asked.tenant.empty()) || (!is_token && !is_discovery && !is_keys)) {
        return false;
    }
    const auto tenant = resolve_tenant(identity_, asked.tenant);
    if (!tenant) {
        respond(refused(400, "invalid_tenant", 90002,
                        fmt::format("Tenant '{}' not found.", asked.tenant)));
    } else if (is_keys) {
        respond(keys(identity_));
    } else if (is_discovery) {
        respond(discovery(request, tenant->empty() && !asked.adfs ? asked.tenant : *tenant,
                          asked.adfs));
    } else if (request.method != "POST") {
        respond(
            refused(405, "invalid_request", 900561, "The endpoint only accepts POST requests."));
    } else {
        token(request, *tenant, asked.adfs, respond);
    }
    return true;
}

void SignIn::token(const http::Request& request, const std::string& tenant, bool adfs,
                   const http::Respond& respond) {
    auto fields = request.body.size() > kFormBytes ? fail(Code::kTooLarge, "the form is too large")
                                                   : http::parse_form(request.body, kFormFields);
    if (!fields) {
        respond(refused(400, "invalid_request", 900144, fields.error().message));
        return;
    }
    Form form;
    for (auto& [name, value] : *fields) {
        form.emplace(std::move(name), std::move(value));
    }
    const std::string grant = form["grant_type"];
    if (form["client_id"].empty() || grant.empty()) {
        respond(refused(400, "invalid_request", 900144,
                        fmt::format("The request body must contain the following parameter: '{}'.",
                                    grant.empty() ? "grant_type" : "client_id")));
    } else if (grant == "refresh_token") {
        respond(refresh(form, adfs));
    } else if (grant == "client_credentials" || grant == "password") {
        check_secret(request, tenant, adfs, std::move(form), respond);
    } else {
        respond(refused(400, "unsupported_grant_type", 70003,
                        "The app requested an unsupported grant type."));
    }
}

void SignIn::check_secret(const http::Request& request, const std::string& tenant, bool adfs,
                          Form form, const http::Respond& respond) {
    const bool user = form["grant_type"] == "password";
    const std::string client = model::lower(form["client_id"]);
    if (user && std::ranges::find(kPublicClients, client) == kPublicClients.end()) {
        respond(refused(400, "unauthorized_client", 700016,
                        fmt::format("Application with identifier '{}' was not found.", client)));
        return;
    }
    const std::string name = user ? model::lower(form["username"]) : client;
    const bool plain = std::ranges::all_of(
        name, [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
    if (name.size() > kNameChars || !plain) {  // it is remembered, and written to the log
        respond(refused(400, "invalid_request", 900144,
                        "The name is too long or has characters that no name has."));
        return;
    }
    const std::string key = name + "|" + request.peer;
    if (!throttle_.allows(key, identity_.clock().steady())) {
        respond(refused(429, "temporarily_unavailable", 50196,
                        "Too many failed sign-in attempts; try again in a second."));
        return;
    }
    const auto who = identity_.read([&](const Directory& d) -> std::optional<Principal> {
        const auto* found = user ? d.by_user(form["username"], tenant) : d.by_client(client);
        const bool fits = found != nullptr && (tenant.empty() || found->tenant == tenant);
        return fits ? std::optional(*found) : std::nullopt;
    });
    auto work = [this, who, key, user, adfs, form, respond, peer = request.peer]() mutable {
        const auto& secret = form[user ? "password" : "client_secret"];
        const bool good = token::verify_secret(who ? who->secret_hash : token::nobody(), secret);
        if (good && who) {
            respond(issue(*who, form, adfs, user));
            return;
        }
        throttle_.failed(key, identity_.clock().steady());
        if (refused_) {
            refused_(who ? who->tenant : std::string(), key.substr(0, key.find('|')), peer);
        }
        spdlog::warn("identity: sign-in of {} from {} refused", key.substr(0, key.find('|')), peer);
        respond(user ? refused(400, "invalid_grant", 50126,
                               "Error validating credentials due to invalid username or password.")
                     : refused(401, "invalid_client", 7000215,
                               "Invalid client secret provided, or the client does not exist."));
    };
    if (!lane_.post(std::move(work))) {
        respond(refused(503, "temporarily_unavailable", 90033,
                        "Too many sign-ins are under way; try again in a second."));
    }
}

http::Response SignIn::refresh(const Form& form, bool adfs) {
    const auto given = form.find("refresh_token");
    auto claims = identity_.verify(given == form.end() ? "" : given->second, kRefreshAudience);
    const auto client = model::lower(form.find("client_id")->second);
    auto who = claims && claims->appid == client ? identity_.read([&](const Directory& d) {
        const auto found = d.principals.find(claims->oid);
        return found == d.principals.end() ? std::nullopt : std::optional(found->second);
    })
                                                 : std::nullopt;
    if (!who) {
        return refused(400, "invalid_grant", 70008,
                       "The provided refresh token has expired or is not valid; sign in again.");
    }
    return issue(*who, form, adfs, true);
}

http::Response SignIn::issue(const Principal& who, const Form& form, bool adfs, bool with_refresh) {
    const auto field = [&](std::string_view name) {
        const auto found = form.find(name);
        return found == form.end() ? std::string() : found->second;
    };
    const auto now = token::to_seconds(identity_.clock().wall());
    const bool user = who.kind == PrincipalKind::kUser;
    token::Claims claims{.iss = std::string(kIssuer),
                         .aud = std::string(kArmAudience),
                         .sub = who.id,
                         .oid = who.id,
                         .tid = who.tenant,
                         .appid = model::lower(field("client_id")),
                         .upn = user ? who.name : std::string(),
                         .name = who.name,
                         .jti = identity_.random().uuid(),
                         .iat = now,
                         .nbf = now,
                         .exp = now + limits::kAccessTokenLife.count()};
    const auto access = identity_.sign(claims);
    if (!access) {
        return refused(500, "server_error", 90033, access.error().message);
    }
    const auto life = limits::kAccessTokenLife.count();
    json::object body{{"token_type", "Bearer"},
                      {"scope", field("scope")},
                      {"expires_in", life},
                      {"ext_expires_in", life},
                      {"access_token", *access}};
    if (with_refresh) {
        claims.aud = field("client_id");
        body["id_token"] = identity_.sign(claims).value_or("");
        claims.aud = kRefreshAudience;
        claims.exp = now + std::chrono::seconds(limits::kRefreshTokenLife).count();
        body["refresh_token"] = identity_.sign(claims).value_or("");
    }
    if (!adfs) {  // MSAL's account key; with /adfs it takes the id token's subject
        body["client_info"] = token::base64url_encode(
            json::serialize(json::object{{"uid", who.id}, {"utid", who.tenant}}));
    }
    return answer(200, body);
}

}  // namespace culvert::control
