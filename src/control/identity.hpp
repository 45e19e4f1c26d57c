// SPDX-License-Identifier: Apache-2.0
// Who exists, who is calling, and what they may do. Promise: the request path asks memory only,
// which follows the store by watch; no password is hashed and no signature checked twice for a
// token; a principal or assignment that is deleted stops counting with the store revision that
// deletes it; secrets are handed out once and never kept.
//
// Internally synchronized.
#pragma once

#include "base/clock.hpp"
#include "base/guarded.hpp"
#include "base/random.hpp"
#include "control/call.hpp"
#include "control/identity_documents.hpp"
#include "store/store.hpp"
#include "token/token.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace culvert::control {

// What memory knows: the documents under the identity prefixes of keys.hpp.
struct Directory {
    std::map<std::string, Tenant, std::less<>> tenants;
    std::map<std::string, Subscription, std::less<>> subscriptions;
    std::map<std::string, Principal, std::less<>> principals;
    std::map<std::string, std::string, std::less<>> clients;         // client id -> object id
    std::map<std::string, std::string, std::less<>> users;           // user_key() -> object id
    std::map<std::string, RoleAssignment, std::less<>> assignments;  // store key ->
    rbac::Assignments by_principal;
    std::string home_tenant;  // the first one; its owners manage the deployment
    std::vector<token::SigningKey> signing_keys;

    // Takes a key's new value, or its absence. Keys outside the identity prefixes are ignored.
    void apply(const std::string& key, const std::string* value);
    const Principal* by_client(std::string_view client) const;  // lower case
    // A user's name is its tenant's own. `name` in any case; without a tenant it is a user of the
    // first tenant, or, as name@<tenant id>, of that one.
    const Principal* by_user(std::string_view name, std::string_view tenant) const;

  private:
    void apply_principal(const std::string& key, const std::string* value);
    void apply_assignment(const std::string& key, const std::string* value);
};

// What the first start prints, once.
struct Bootstrap {
    std::string tenant;
    std::string subscription;
    std::string client_id;
    std::string client_secret;
    std::string client_object_id;
    std::string user;
    std::string password;
};

struct NewPrincipal {
    Principal principal;
    std::string secret;  // in clear, for the answer only
};

class Identity {
  public:
    // Reads the documents and starts to watch. The arguments outlive the result. Errors: the
    // store's, kCorrupt.
    static Result<std::unique_ptr<Identity>> open(store::Store& store, const Clock& clock,
                                                  Random& random);
    virtual ~Identity() = default;
    Identity(const Identity&) = delete;
    Identity& operator=(const Identity&) = delete;

    // Makes signing key, tenant, subscription, owner service principal and owner user when the
    // store has no tenant yet; nullopt when it has. `wanted` sets ids or secrets that are not to be
    // random.
    Result<std::optional<Bootstrap>> bootstrap(const Bootstrap& wanted = {});

    // The caller of an Authorization header. Errors: kUnauthenticated with the ARM codes of
    // arm-contract 12.
    Result<Caller> authenticate(std::string_view authorization);

    // May `caller` do `permission` at `scope`? Never in a subscription of another tenant.
    bool authorize(const Caller& caller, std::string_view permission,
                   const model::ResourceId& scope) const;

    // A copy or an answer computed under the directory's lock; `use` must be short.
    template <typename F>
    auto read(F&& use) const {
        return directory_.with([&](const Directory& d) { return use(d); });
    }

    // Calls `done` once memory has caught up with a store revision, so that writers answer only
    // what is already true.
    void when_applied(std::int64_t revision, std::function<void()> done);

    // Access, id or refresh tokens.
    Result<std::string> sign(const token::Claims& claims) const;
    Result<token::Claims> verify(std::string_view token, std::string_view audience) const;

    // Commits documents that must not exist yet. Errors: kConflict when one does.
    Result<std::int64_t> create(const std::vector<std::pair<std::string, std::string>>& documents);
    // Erases keys, all or none.
    Result<std::int64_t> remove(const std::vector<std::string>& keys);
    // Hashes a new secret (slow: about 50 ms) and makes the principal's values; nothing is written.
    Result<NewPrincipal> make_principal(const std::string& tenant, PrincipalKind kind,
                                        const std::string& name, std::string secret = {});
    static std::vector<std::pair<std::string, std::string>> documents_of(const Principal& value);

    const Clock& clock() const { return clock_; }
    Random& random() { return random_; }
    store::Store& store() { return store_; }

  private:
    Identity(store::Store& store, const Clock& clock, Random& random);
    Status load();
    void follow(const store::WatchBatch& batch);
    // Memory has caught up with the revision: calls who waits for it.
    void advance(std::int64_t revision);

    struct Waiting {
        std::int64_t applied = 0;
        std::multimap<std::int64_t, std::function<void()>> callbacks;
    };

    store::Store& store_;
    const Clock& clock_;
    Random& random_;
    Guarded<Directory> directory_;
    Guarded<std::unordered_map<std::string, token::Claims>> verified_;  // tokens seen before
    Guarded<Waiting> waiting_;
    std::unique_ptr<store::Watch> watch_;
};

inline constexpr std::string_view kIssuer = "https://sts.culvert/";
inline constexpr std::string_view kArmAudience = "https://management.culvert/";
inline constexpr std::string_view kRefreshAudience = "https://sts.culvert/refresh";

// "2026-11-22T10:00:00Z"
std::string rfc3339(WallTime time);
std::string rfc3339_precise(WallTime time);  // with milliseconds
// The same back; kInvalidArgument for anything else. Fractions of a second are allowed.
Result<WallTime> parse_rfc3339(const std::string& text);

}  // namespace culvert::control
