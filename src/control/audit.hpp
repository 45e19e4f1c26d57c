// SPDX-License-Identifier: Apache-2.0
// Who changed what: one record a tenant and a transaction, written in that transaction, so that a
// write is acknowledged and recorded or neither.
//
// The records stand in the store (decision 0005) under /audit/<tenant>/<time>-<random>, as JSON. A
// tenant's records show its own resources only: what a caller of another tenant did to them is told
// without who that was. Secrets are never in a record.
#pragma once

#include "base/clock.hpp"
#include "base/guarded.hpp"
#include "base/limits.hpp"
#include "base/random.hpp"
#include "control/call.hpp"
#include "store/store.hpp"

#include <boost/json.hpp>

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::control {

// On whose behalf something is written.
struct Actor {
    Caller caller;
    std::string from;  // the client's address
    std::string request_id;
    std::string correlation;
    std::string operation;  // "Microsoft.Network/privateEndpoints/write"
    std::string resource;   // id of what was asked for
};

boost::json::object caller_object(const Caller& caller);

// While it lives, what this thread writes to an AuditedStore is the actor's doing. INVARIANT: a
// handler that goes on on another thread takes a copy of the actor along.
class AuditScope {
  public:
    explicit AuditScope(std::optional<Actor> actor);
    ~AuditScope();
    AuditScope(const AuditScope&) = delete;
    AuditScope& operator=(const AuditScope&) = delete;

    static const std::optional<Actor>& current();

  private:
    std::optional<Actor> before_;
};

// One member that differs: {"path", "before"?, "after"?}. Members whose names speak of secrets show
// "(secret)".
boost::json::array diff_of(const boost::json::value& before, const boost::json::value& after);

// A store that records. Internally synchronized; the arguments outlive it.
class AuditedStore final : public store::Store {
  public:
    AuditedStore(store::Store& inner, const Clock& clock, Random& random)
        : inner_(inner), clock_(clock), random_(random) {}

    Result<store::TxnResult> txn(const store::Txn& txn) override;
    Result<store::RangeResult> range(const store::Range& range) override;
    Result<std::unique_ptr<store::Watch>> watch(std::string key, std::string range_end,
                                                std::int64_t after_revision,
                                                store::WatchFn fn) override;
    std::int64_t revision() override { return inner_.revision(); }
    Status snapshot(const std::string& path) override { return inner_.snapshot(path); }

    // Records what wrote nothing, a refused sign-in for one. At most limits::kAuditNotes a second
    // are kept; the next one tells how many were not. `tenant` empty: the first one.
    void note(const std::string& tenant, boost::json::object record);
    // Removes what is older than limits::kAuditLife and what a tenant has too much of.
    Status sweep();

  private:
    struct Before;  // what the documents of a transaction are now

    Result<std::optional<Before>> read_before(const store::Txn& txn);
    Result<bool> still(const Before& before);
    Result<std::vector<store::Op>> records(const Actor& actor, const Before& before,
                                           const store::Txn& txn);
    Result<std::string> tenant_of_subscription(std::string_view subscription);
    Result<std::string> home_tenant();
    Result<std::string> tenant_of(std::string_view key, const boost::json::value& document);
    std::string record_key(std::string_view tenant);
    Status sweep_tenant(std::string_view prefix, std::string_view cutoff);

    store::Store& inner_;
    const Clock& clock_;
    Random& random_;
    std::atomic<std::uint64_t> written_{0};
    struct Notes {
        SteadyTime second;
        std::size_t left = limits::kAuditNotes;
        std::size_t suppressed = 0;
    };
    Guarded<Notes> notes_;
};

// LIST Culvert/audit ?resource= &principal= &since= &limit=: oldest first, what the caller may
// read.
class Identity;
void add_audit_handlers(Registry& registry, Services& services, Identity& identity);

}  // namespace culvert::control
