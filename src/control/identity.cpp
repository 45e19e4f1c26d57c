// SPDX-License-Identifier: Apache-2.0
#include "control/identity.hpp"

#include "base/limits.hpp"
#include "control/keys.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdlib>
#include <ctime>

namespace culvert::control {

namespace {

constexpr std::array kPrefixes{keys::kTenants,     keys::kSubscriptions, keys::kPrincipals,
                               keys::kAssignments, keys::kSigningKeys,   keys::kHomeTenant};

// Signing keys are kept as PEM blocks one after the other; the first one signs.
std::vector<token::SigningKey> parse_signing_keys(std::string_view pems) {
    static constexpr std::string_view kEnd = "-----END PRIVATE KEY-----";
    std::vector<token::SigningKey> out;
    for (auto end = pems.find(kEnd); end != pems.npos; end = pems.find(kEnd)) {
        auto key = token::SigningKey::from_pem(std::string(pems.substr(0, end + kEnd.size())));
        if (key) {
            out.push_back(std::move(*key));
        }
        pems.remove_prefix(end + kEnd.size());
    }
    return out;
}

// A user's name is unique in its tenant alone: a name that is taken elsewhere must not show.
std::string user_key(std::string_view tenant, std::string_view name) {
    return fmt::format("{}|{}", tenant, model::lower(name));
}

}  // namespace

std::string rfc3339(WallTime time) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(WallTime::clock::to_time_t(time)));
}

std::string rfc3339_precise(WallTime time) {
    const auto millis =
        std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
    std::string text = rfc3339(time);
    text.pop_back();
    return fmt::format("{}.{:03}Z", text, millis % 1000);
}

Result<WallTime> parse_rfc3339(const std::string& text) {
    std::tm parts{};
    const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
    double fraction = 0;
    if (rest != nullptr && *rest == '.') {
        char* end = nullptr;
        fraction = std::strtod(rest, &end);
        rest = end;
    }
    const std::int64_t seconds = rest != nullptr && fraction < 1 ? ::timegm(&parts) : -1;
    if (seconds < 0 || seconds > kLatestSecond || std::string_view(rest) != "Z") {
        return fail(Code::kInvalidArgument,
                    fmt::format("'{}' is not a time such as 2026-11-22T10:00:00Z (UTC), of the "
                                "years 1970 to 2199",
                                text.substr(0, 40)));
    }
    return wall_time(seconds) + std::chrono::milliseconds(static_cast<int>(fraction * 1000));
}

void Directory::apply(const std::string& key, const std::string* value) {
    const auto keep = [&](auto& map, auto decode) {
        const std::string id = key.substr(key.rfind('/') + 1);
        auto decoded = value != nullptr ? decode(*value) : fail(Code::kNotFound, "deleted");
        if (decoded) {
            map.insert_or_assign(id, std::move(*decoded));
        } else {
            map.erase(id);
        }
    };
    if (key.starts_with(keys::kTenants)) {
        keep(tenants, decode_tenant);
    } else if (key.starts_with(keys::kSubscriptions)) {
        keep(subscriptions, decode_subscription);
    } else if (key.starts_with(keys::kPrincipals)) {
        apply_principal(key, value);
    } else if (key.starts_with(keys::kAssignments)) {
        apply_assignment(key, value);
    } else if (key == keys::kHomeTenant) {
        home_tenant = value != nullptr ? *value : std::string();
    } else if (key == keys::kSigningKeys) {
        signing_keys = parse_signing_keys(value != nullptr ? std::string_view(*value) : "");
    }
}

void Directory::apply_principal(const std::string& key, const std::string* value) {
    const std::string id = key.substr(keys::kPrincipals.size());
    if (const auto old = principals.find(id); old != principals.end()) {
        clients.erase(old->second.client);
        users.erase(user_key(old->second.tenant, old->second.name));
        principals.erase(old);
    }
    auto next = value != nullptr ? decode_principal(*value) : fail(Code::kNotFound, "deleted");
    if (!next) {
        return;
    }
    if (next->kind == PrincipalKind::kUser) {
        users[user_key(next->tenant, next->name)] = id;
    } else {
        clients[next->client] = id;
    }
    principals.insert_or_assign(id, std::move(*next));
}

void Directory::apply_assignment(const std::string& key, const std::string* value) {
    if (const auto old = assignments.find(key); old != assignments.end()) {
        std::erase(by_principal[old->second.what.principal], old->second.what);
        assignments.erase(old);
    }
    auto next =
        value != nullptr ? decode_role_assignment(*value) : fail(Code::kNotFound, "deleted");
    if (next) {
        by_principal[next->what.principal].push_back(next->what);
        assignments.insert_or_assign(key, std::move(*next));
    }
}

const Principal* Directory::by_client(std::string_view client) const {
    const auto id = clients.find(client);
    const auto found = id == clients.end() ? principals.end() : principals.find(id->second);
    return found == principals.end() ? nullptr : &found->second;
}

const Principal* Directory::by_user(std::string_view name, std::string_view tenant) const {
    std::string in(tenant.empty() ? std::string_view(home_tenant) : tenant);
    const auto at = name.rfind('@');
    if (at != std::string_view::npos && tenants.contains(model::lower(name.substr(at + 1)))) {
        const std::string named = model::lower(name.substr(at + 1));
        if (!tenant.empty() && named != tenant) {
            return nullptr;
        }
        in = named;
        name = name.substr(0, at);
    }
    const auto id = users.find(user_key(in, name));
    const auto found = id == users.end() ? principals.end() : principals.find(id->second);
    return found == principals.end() ? nullptr : &found->second;
}

Identity::Identity(store::Store& store, const Clock& clock, Random& random)
    : store_(store), clock_(clock), random_(random) {}

Result<std::unique_ptr<Identity>> Identity::open(store::Store& store, const Clock& clock,
                                                 Random& random) {
    std::unique_ptr<Identity> out(new Identity(store, clock, random));
    CULVERT_TRY_STATUS(out->load());
    return out;
}

// Reads everything, then watches from the first revision that was read: what changed in between is
// applied twice, which comes to the same.
Status Identity::load() {
    std::int64_t first = 0;
    Directory fresh;
    for (const auto prefix : kPrefixes) {
        auto rows = store_.list(prefix);
        if (!rows) {
            return std::unexpected(prefixed(rows.error(), "read identity"));
        }
        first = first == 0 ? rows->revision : std::min(first, rows->revision);
        for (const auto& row : rows->kvs) {
            fresh.apply(row.key, &row.value);
        }
    }
    directory_.with([&](Directory& d) { d = std::move(fresh); });
    verified_.with([](auto& cache) { cache.clear(); });
    advance(first);
    auto watch = store_.watch("/", store::prefix_end("/"), first,
                              [this](const store::WatchBatch& batch) { follow(batch); });
    if (!watch) {
        return std::unexpected(prefixed(watch.error(), "watch identity"));
    }
    watch_ = std::move(*watch);
    return {};
}

void Identity::follow(const store::WatchBatch& batch) {
    if (batch.compacted) {
        // rights and principals that were taken away meanwhile must not live on
        spdlog::warn("identity: the store has dropped history, reading all anew");
        if (auto loaded = load(); !loaded) {
            spdlog::critical("identity: {}: nobody is let in any more", loaded.error().message);
            directory_.with([](Directory& d) { d = {}; });
        }
        return;
    }
    bool new_keys = false;
    for (const auto& event : batch.events) {
        const bool ours = std::ranges::any_of(
            kPrefixes, [&](std::string_view p) { return event.now.key.starts_with(p); });
        if (!ours) {
            continue;
        }
        new_keys = new_keys || event.now.key == keys::kSigningKeys;
        const bool put = event.kind == store::Event::Kind::kPut;
        directory_.with(
            [&](Directory& d) { d.apply(event.now.key, put ? &event.now.value : nullptr); });
    }
    if (new_keys) {
        verified_.with([](auto& cache) { cache.clear(); });
    }
    advance(batch.revision);
}

void Identity::advance(std::int64_t revision) {
    std::vector<std::function<void()>> due;
    waiting_.with([&](Waiting& w) {
        w.applied = std::max(w.applied, revision);
        const auto end = w.callbacks.upper_bound(w.applied);
        for (auto it = w.callbacks.begin(); it != end; ++it) {
            due.push_back(std::move(it->second));
        }
        w.callbacks.erase(w.callbacks.begin(), end);
    });
    for (const auto& done : due) {
        done();
    }
}

void Identity::when_applied(std::int64_t revision, std::function<void()> done) {
    const bool now = waiting_.with([&](Waiting& w) {
        if (w.applied >= revision) {
            return true;
        }
        w.callbacks.emplace(revision, std::move(done));
        return false;
    });
    if (now) {
        done();
    }
}

Result<std::string> Identity::sign(const token::Claims& claims) const {
    auto key = read([](const Directory& d) {
        return d.signing_keys.empty() ? std::nullopt : std::optional(d.signing_keys.front());
    });
    if (!key) {
        return fail(Code::kUnavailable, "sign token: there is no signing key");
    }
    return key->sign(claims);
}

Result<token::Claims> Identity::verify(std::string_view token, std::string_view audience) const {
    const auto keys = read([](const Directory& d) { return d.signing_keys; });
    return token::verify(keys, token, kIssuer, audience, clock_.wall());
}

Result<Caller> Identity::authenticate(std::string_view authorization) {
    static constexpr std::string_view kScheme = "bearer ";
    static constexpr std::size_t kCached = 4096;
    if (authorization.empty()) {
        return fail(Code::kUnauthenticated,
                    "Authentication failed. The 'Authorization' header is missing.", {},
                    "AuthenticationFailed");
    }
    if (!http::same_text(authorization.substr(0, kScheme.size()), kScheme)) {
        return fail(Code::kUnauthenticated,
                    "Authentication failed. The 'Authorization' header is provided in an invalid "
                    "format.",
                    {}, "InvalidAuthenticationToken");
    }
    const std::string token(authorization.substr(kScheme.size()));
    auto claims = verified_.with([&](auto& cache) {
        const auto found = cache.find(token);
        const bool live =
            found != cache.end() && found->second.exp > token::to_seconds(clock_.wall());
        return live ? std::optional(found->second) : std::nullopt;
    });
    if (!claims) {
        auto fresh = verify(token, kArmAudience);
        if (!fresh) {
            return std::unexpected(fresh.error());
        }
        verified_.with([&](auto& cache) {
            if (cache.size() >= kCached) {
                cache.clear();
            }
            cache.emplace(token, *fresh);
        });
        claims = std::move(*fresh);
    }
    return read([&](const Directory& d) -> Result<Caller> {
        const auto found = d.principals.find(claims->oid);
        if (found == d.principals.end() || found->second.tenant != claims->tid) {
            return fail(Code::kUnauthenticated, "The principal of the access token does not exist.",
                        {}, "InvalidAuthenticationToken");
        }
        return Caller{found->first, found->second.name, found->second.tenant};
    });
}

bool Identity::authorize(const Caller& caller, std::string_view permission,
                         const model::ResourceId& scope) const {
    const std::string where = rbac::normalize(scope.str());
    return read([&](const Directory& d) {
        if (!scope.subscription.empty()) {
            const auto found = d.subscriptions.find(model::lower(scope.subscription));
            if (found == d.subscriptions.end() || found->second.tenant != caller.tenant) {
                return false;
            }
        }
        return rbac::allowed(d.by_principal, caller.principal, permission, where);
    });
}

Result<std::int64_t> Identity::create(
    const std::vector<std::pair<std::string, std::string>>& documents) {
    store::Txn txn;
    for (const auto& [key, value] : documents) {
        txn.compares.push_back(store::absent(key));
        txn.success.push_back(store::put(key, value));
    }
    auto done = store_.txn(txn);
    if (!done) {
        return std::unexpected(done.error());
    }
    if (!done->succeeded) {
        return fail(Code::kConflict, "it exists already", {}, "Conflict");
    }
    return done->revision;
}

Result<std::int64_t> Identity::remove(const std::vector<std::string>& keys) {
    store::Txn txn;
    for (const auto& key : keys) {
        txn.success.push_back(store::erase(key));
    }
    auto done = store_.txn(txn);
    if (!done) {
        return std::unexpected(done.error());
    }
    return done->revision;
}

Result<NewPrincipal> Identity::make_principal(const std::string& tenant, PrincipalKind kind,
                                              const std::string& name, std::string secret) {
    NewPrincipal out;
    out.secret = secret.empty() ? token::new_secret(random_) : std::move(secret);
    auto hash = token::hash_secret(out.secret);
    if (!hash) {
        return std::unexpected(hash.error());
    }
    out.principal = {random_.uuid(),
                     tenant,
                     kind,
                     name,
                     kind == PrincipalKind::kUser ? std::string() : random_.uuid(),
                     std::move(*hash)};
    return out;
}

std::vector<std::pair<std::string, std::string>> Identity::documents_of(const Principal& value) {
    const bool user = value.kind == PrincipalKind::kUser;
    return {{keys::principal(value.id), encode(value)},
            {user ? keys::user(user_key(value.tenant, value.name)) : keys::app(value.client),
             value.id}};
}

Result<std::optional<Bootstrap>> Identity::bootstrap(const Bootstrap& wanted) {
    if (read([](const Directory& d) { return !d.home_tenant.empty(); })) {
        return std::nullopt;
    }
    const auto either = [](const std::string& a, std::string b) { return a.empty() ? b : a; };
    Bootstrap out;
    out.tenant = either(wanted.tenant, random_.uuid());
    out.subscription = either(wanted.subscription, random_.uuid());
    out.user = either(wanted.user, "admin@culvert.local");
    auto key = token::SigningKey::generate();
    auto app = make_principal(out.tenant, PrincipalKind::kServicePrincipal, "culvert-owner",
                              wanted.client_secret);
    auto user = make_principal(out.tenant, PrincipalKind::kUser, out.user, wanted.password);
    if (!key || !app || !user) {
        return std::unexpected(!key ? key.error() : !app ? app.error() : user.error());
    }
    app->principal.client = either(wanted.client_id, app->principal.client);
    out.client_id = app->principal.client;
    out.client_object_id = app->principal.id;
    out.client_secret = app->secret;
    out.password = user->secret;

    std::vector<std::pair<std::string, std::string>> documents{
        {std::string(keys::kHomeTenant), out.tenant},
        {std::string(keys::kSigningKeys), key->pem()},
        {keys::tenant(out.tenant), encode(Tenant{out.tenant, "home"})},
        {keys::subscription(out.subscription),
         encode(Subscription{out.subscription, out.tenant, "default"})}};
    for (const auto* who : {&*app, &*user}) {
        for (auto& document : documents_of(who->principal)) {
            documents.push_back(std::move(document));
        }
        const RoleAssignment owner{
            {random_.uuid(), who->principal.id, std::string(rbac::kOwner), "/"},
            out.tenant,
            std::string(kind_name(who->principal.kind)),
            "/",
            rfc3339(clock_.wall()),
            who->principal.id};
        documents.emplace_back(keys::assignment("/", owner.what.id), encode(owner));
    }
    auto revision = create(documents);
    if (!revision) {
        // another replica was first: its bootstrap counts
        return revision.error().code == Code::kConflict
                   ? Result<std::optional<Bootstrap>>(std::nullopt)
                   : std::unexpected(prefixed(revision.error(), "write first tenant"));
    }
    for (const auto& [name, value] : documents) {
        directory_.with([&](Directory& d) { d.apply(name, &value); });
    }
    return out;
}

}  // namespace culvert::control
