// SPDX-License-Identifier: Apache-2.0
#include "control/audit.hpp"

#include "base/limits.hpp"
#include "base/log.hpp"
#include "control/identity.hpp"
#include "control/keys.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace culvert::control {

namespace json = boost::json;

namespace {

constexpr int kAttempts = 50;
constexpr std::size_t kSweepRows = 1000;
constexpr std::uint64_t kSweepEvery = 1024;

std::optional<Actor>& slot() {
    thread_local std::optional<Actor> actor;
    return actor;
}

// Keys that hold what somebody decided; all others follow from these.
bool is_document(std::string_view key) {
    static constexpr std::string_view kPrefixes[] = {
        "/r/",          "/attach/",           "/node/",         "/join/", "/meta/", "/assign/",
        keys::kTenants, keys::kSubscriptions, keys::kPrincipals};
    return std::ranges::any_of(kPrefixes, [&](std::string_view p) { return key.starts_with(p); });
}

json::value parsed(const std::string& text) {
    json::error_code bad;
    json::value value = json::parse(text, bad);
    return bad ? json::value(nullptr) : value;
}

std::string text_of(const json::value& value, std::string_view name) {
    const auto* object = value.if_object();
    const auto* member = object == nullptr ? nullptr : object->if_contains(name);
    return member != nullptr && member->is_string() ? std::string(member->get_string())
                                                    : std::string();
}

// What a document is called in a record.
std::string name_of_document(std::string_view key, const json::value& document) {
    if (key.starts_with("/r/") || key.starts_with("/attach/")) {
        std::string given = text_of(document, key.starts_with("/r/") ? "id" : "nic");
        return given.empty() ? std::string(key.substr(key.find('/', 1))) : given;
    }
    if (key.starts_with("/join/")) {
        return "/culvert/join-tokens";  // the key is made from the token
    }
    if (key.starts_with("/assign/")) {
        const std::string scope = text_of(document, "scopeAsGiven");
        return fmt::format("{}/providers/Microsoft.Authorization/roleAssignments/{}",
                           scope == "/" ? "" : scope, text_of(document, "id"));
    }
    static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
        {"/node/", "/culvert/nodes/"},
        {keys::kTenants, "/culvert/tenants/"},
        {keys::kSubscriptions, "/subscriptions/"},
        {keys::kPrincipals, "/culvert/principals/"}};
    for (const auto& [prefix, name] : kNames) {
        if (key.starts_with(prefix)) {
            return fmt::format("{}{}", name, key.substr(prefix.size()));
        }
    }
    return fmt::format("/culvert{}", key);
}

std::string_view what_of(const json::value& before, const json::value& after) {
    return before.is_null() ? "created" : after.is_null() ? "deleted" : "updated";
}

json::object change_object(std::string_view key, const json::value& before,
                           const json::value& after) {
    const json::value& named = after.is_null() ? before : after;
    json::object out{{"resource", name_of_document(key, named)}, {"what", what_of(before, after)}};
    if (key.starts_with("/attach/")) {
        out["attachment"] = true;
    }
    json::array diff = key.starts_with("/meta/") ? json::array{} : diff_of(before, after);
    if (json::serialize(diff).size() > limits::kAuditDiffBytes) {
        for (auto& entry : diff) {
            entry.as_object().erase("before");
            entry.as_object().erase("after");
        }
        diff.resize(std::min<std::size_t>(diff.size(), 100), nullptr);
        out["truncated"] = true;
    }
    out["diff"] = std::move(diff);
    return out;
}

}  // namespace

json::object caller_object(const Caller& caller) {
    return {{"id", caller.principal}, {"name", caller.name}, {"tenant", caller.tenant}};
}

AuditScope::AuditScope(std::optional<Actor> actor) : before_(std::move(slot())) {
    slot() = std::move(actor);
}

AuditScope::~AuditScope() { slot() = std::move(before_); }

const std::optional<Actor>& AuditScope::current() { return slot(); }

struct AuditedStore::Before {
    std::map<std::string, std::optional<store::KeyValue>> rows;
};

Result<store::RangeResult> AuditedStore::range(const store::Range& range) {
    return inner_.range(range);
}

Result<std::unique_ptr<store::Watch>> AuditedStore::watch(std::string key, std::string range_end,
                                                          std::int64_t after_revision,
                                                          store::WatchFn fn) {
    return inner_.watch(std::move(key), std::move(range_end), after_revision, std::move(fn));
}

// The documents that a transaction writes, as they are; nullopt when it writes none.
Result<std::optional<AuditedStore::Before>> AuditedStore::read_before(const store::Txn& txn) {
    Before before;
    for (const store::Op& op : txn.success) {
        if (op.kind == store::Op::Kind::kRange || !is_document(op.key)) {
            continue;
        }
        auto row = inner_.get(op.key);
        if (!row) {
            return std::unexpected(std::move(row.error()));
        }
        before.rows.insert_or_assign(op.key, std::move(*row));
    }
    if (before.rows.empty()) {
        return std::optional<Before>();
    }
    return std::optional(std::move(before));
}

Result<bool> AuditedStore::still(const Before& before) {
    for (const auto& [key, row] : before.rows) {
        auto now = inner_.get(key);
        if (!now) {
            return std::unexpected(std::move(now.error()));
        }
        if (now->has_value() != row.has_value() ||
            (row && (*now)->mod_revision != row->mod_revision)) {
            return false;
        }
    }
    return true;
}

Result<store::TxnResult> AuditedStore::txn(const store::Txn& txn) {
    const std::optional<Actor>& actor = AuditScope::current();
    if (!actor) {
        return inner_.txn(txn);
    }
    for (int attempt = 0;; ++attempt) {
        auto before = read_before(txn);
        if (!before) {
            return std::unexpected(std::move(before.error()));
        }
        if (!*before) {
            return inner_.txn(txn);
        }
        auto puts = records(*actor, **before, txn);
        if (!puts) {
            return std::unexpected(std::move(puts.error()));
        }
        // what the record says was there before must be there when it is replaced
        store::Txn recorded = txn;
        for (const auto& [key, row] : (*before)->rows) {
            recorded.compares.push_back(row ? store::unchanged(key, row->mod_revision)
                                            : store::absent(key));
        }
        std::ranges::move(*puts, std::back_inserter(recorded.success));
        auto done = inner_.txn(recorded);
        if (!done) {
            return done;
        }
        if (done->succeeded) {
            if (++written_ % kSweepEvery == 0) {
                if (auto swept = sweep(); !swept) {
                    spdlog::warn("audit: {}", swept.error().message);
                }
            }
            return done;
        }
        auto same = still(**before);
        if (!same) {
            return std::unexpected(std::move(same.error()));
        }
        if (*same || attempt == kAttempts) {
            return done;  // the caller's own compares: it lost a race and knows what to do
        }
    }
}

Result<std::string> AuditedStore::home_tenant() {
    auto row = inner_.get(keys::kHomeTenant);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    return *row ? (*row)->value : std::string();
}

Result<std::string> AuditedStore::tenant_of_subscription(std::string_view subscription) {
    auto row = inner_.get(keys::subscription(model::lower(subscription)));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    auto decoded = *row ? decode_subscription((*row)->value) : fail(Code::kNotFound, "");
    return decoded ? decoded->tenant : std::string();
}

Result<std::string> AuditedStore::tenant_of(std::string_view key, const json::value& document) {
    if (key.starts_with("/r/") || key.starts_with("/attach/")) {
        const auto id = model::ResourceId::parse(key.substr(key.find('/', 1)));
        return id ? tenant_of_subscription(id->subscription) : Result<std::string>(std::string());
    }
    if (key.starts_with(keys::kPrincipals) || key.starts_with(keys::kAssignments) ||
        key.starts_with(keys::kSubscriptions)) {
        return text_of(document, "tenant");
    }
    return home_tenant();
}

std::string AuditedStore::record_key(std::string_view tenant) {
    const auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(clock_.wall().time_since_epoch());
    return fmt::format("{}{}/{:016}-{}", keys::kAudit, tenant, micros.count(), random_.hex(4));
}

namespace {

// What the consumer of a connection sees of it in its endpoint.
json::object consumer_change(const json::value& before, const json::value& after) {
    const auto state = [](const json::value& document) {
        const auto* object = document.if_object();
        const auto* found = object == nullptr ? nullptr : object->if_contains("state");
        return found == nullptr ? json::value(nullptr)
                                : json::value(json::object{{"connectionState", *found}});
    };
    const json::value& named = after.is_null() ? before : after;
    return {{"resource", text_of(named, "endpoint")},
            {"what", "updated"},
            {"diff", diff_of(state(before), state(after))}};
}

// A tenant must not learn the name of a service that it knows by its alias only.
json::value without_connection(json::value document) {
    if (auto* object = document.if_object(); object != nullptr && object->contains("connection")) {
        object->erase("connection");
    }
    return document;
}

}  // namespace

// A put for every tenant that the transaction concerns.
Result<std::vector<store::Op>> AuditedStore::records(const Actor& actor, const Before& before,
                                                     const store::Txn& txn) {
    std::map<std::string, json::array> changes;
    for (const store::Op& op : txn.success) {
        const auto row = before.rows.find(op.key);
        if (op.kind == store::Op::Kind::kRange || row == before.rows.end() ||
            (op.kind == store::Op::Kind::kDelete && !row->second)) {
            continue;
        }
        json::value was = row->second ? parsed(row->second->value) : json::value(nullptr);
        json::value is = op.kind == store::Op::Kind::kPut ? parsed(op.value) : json::value(nullptr);
        auto tenant = tenant_of(op.key, is.is_null() ? was : is);
        if (!tenant) {
            return std::unexpected(std::move(tenant.error()));
        }
        const auto id = op.key.starts_with("/r/") ? model::ResourceId::parse(op.key.substr(2))
                                                  : fail(Code::kNotFound, "");
        if (id && id->is_type(model::types::kPrivateEndpoint)) {
            was = without_connection(std::move(was));
            is = without_connection(std::move(is));
        }
        changes[*tenant].push_back(change_object(op.key, was, is));
        if (id && id->is_type(model::types::kConnection)) {
            const auto endpoint =
                model::ResourceId::parse(text_of(is.is_null() ? was : is, "endpoint"));
            auto other = endpoint ? tenant_of_subscription(endpoint->subscription)
                                  : Result<std::string>(*tenant);
            if (!other) {
                return std::unexpected(std::move(other.error()));
            }
            if (*other != *tenant) {
                changes[*other].push_back(consumer_change(was, is));
            }
        }
    }
    std::vector<store::Op> puts;
    for (auto& [tenant, list] : changes) {
        const bool own = actor.caller.tenant.empty() || tenant == actor.caller.tenant;
        const std::string first = text_of(list.front(), "resource");
        json::object record{{"time", rfc3339_precise(clock_.wall())},
                            {"operation", own ? actor.operation : "(by another tenant)"},
                            {"resource", own && !actor.resource.empty() ? actor.resource : first},
                            {"status", "Succeeded"},
                            {"changes", std::move(list)}};
        if (own) {
            record["caller"] = caller_object(actor.caller);
            record["from"] = actor.from;
            record["requestId"] = actor.request_id;
            record["correlationId"] = actor.correlation;
        }
        puts.push_back(store::put(record_key(tenant), json::serialize(record)));
    }
    return puts;
}

void AuditedStore::note(const std::string& tenant, json::object record) {
    const auto now = clock_.steady();
    const auto suppressed = notes_.with([&](Notes& notes) -> std::optional<std::size_t> {
        if (now - notes.second >= std::chrono::seconds(1)) {
            notes.second = now;
            notes.left = limits::kAuditNotes;
        }
        if (notes.left == 0) {
            ++notes.suppressed;
            return std::nullopt;
        }
        --notes.left;
        return std::exchange(notes.suppressed, 0);
    });
    if (!suppressed) {
        return;
    }
    if (*suppressed > 0) {
        record["suppressedBefore"] = *suppressed;
    }
    record["time"] = rfc3339_precise(clock_.wall());
    auto home = tenant.empty() ? home_tenant() : Result<std::string>(tenant);
    auto done =
        home ? inner_.txn({.compares = {},
                           .success = {store::put(record_key(*home), json::serialize(record))},
                           .failure = {},
                           .remembered = false})
             : Result<store::TxnResult>(std::unexpected(home.error()));
    if (!done) {
        spdlog::warn("audit: {}", done.error().message);
    }
}

Status AuditedStore::sweep() {
    const auto oldest = clock_.wall() - limits::kAuditLife;
    const auto micros =
        std::chrono::duration_cast<std::chrono::microseconds>(oldest.time_since_epoch());
    const std::string cutoff = fmt::format("{:016}", std::max<std::int64_t>(micros.count(), 0));
    // one look at the first key after each tenant's finds the next tenant
    std::string from(keys::kAudit);
    const std::string end = store::prefix_end(keys::kAudit);
    for (;;) {
        auto next = inner_.range(
            store::Range{.key = from, .range_end = end, .limit = 1, .keys_only = true});
        if (!next) {
            return std::unexpected(std::move(next.error()));
        }
        if (next->kvs.empty()) {
            return {};
        }
        const std::string& key = next->kvs.front().key;
        const std::string prefix = key.substr(0, key.rfind('/') + 1);
        CULVERT_TRY_STATUS(sweep_tenant(prefix, cutoff));
        from = store::prefix_end(prefix);
    }
}

Status AuditedStore::sweep_tenant(std::string_view prefix, std::string_view cutoff) {
    for (;;) {
        auto all = inner_.range(store::Range{.key = std::string(prefix),
                                             .range_end = store::prefix_end(prefix),
                                             .limit = kSweepRows,
                                             .keys_only = true});
        if (!all) {
            return std::unexpected(std::move(all.error()));
        }
        const std::size_t over =
            all->count > limits::kAuditRecords ? all->count - limits::kAuditRecords : 0;
        std::string last;
        std::size_t seen = 0;
        for (const store::KeyValue& row : all->kvs) {
            const bool old = std::string_view(row.key).substr(prefix.size()) < cutoff;
            if (!old && seen >= over) {
                break;
            }
            last = row.key;
            ++seen;
        }
        if (seen == 0) {
            return {};
        }
        store::Op gone = store::erase(std::string(prefix));
        gone.range_end = last + '\0';
        auto done =
            inner_.txn({.compares = {}, .success = {gone}, .failure = {}, .remembered = false});
        if (!done) {
            return std::unexpected(std::move(done.error()));
        }
        if (seen < kSweepRows) {
            return {};
        }
    }
}

}  // namespace culvert::control
