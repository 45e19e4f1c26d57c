// SPDX-License-Identifier: Apache-2.0
#include "control/audit.hpp"

#include "base/limits.hpp"
#include "control/handlers_test.hpp"
#include "control/identity_documents.hpp"
#include "store/archive.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

namespace culvert::control::test {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Diff, ShowsWhatDiffersWithItsPath) {
    const auto before = boost::json::parse(R"({"a":1,"b":{"c":[1,2],"d":"x"},"gone":true})");
    const auto after = boost::json::parse(R"({"a":1,"b":{"c":[1,3,4],"d":"x"},"new":{"e":1}})");
    EXPECT_EQ(diff_of(before, after), boost::json::parse(R"([{"path":"b.c[1]","before":2,"after":3},
                                     {"path":"b.c[2]","after":4},
                                     {"path":"gone","before":true},
                                     {"path":"new","after":{"e":1}}])")
                                          .as_array());
    EXPECT_TRUE(diff_of(before, before).empty());
}

TEST(Diff, ShowsNoSecrets) {
    const auto before = boost::json::parse(R"({"secretHash":"old","x":{"password":"p"}})");
    const auto after = boost::json::parse(R"({"secretHash":"new","clientSecret":"s"})");
    const std::string text = boost::json::serialize(diff_of(before, after));
    for (const char* secret : {"old", "\"new\"", "\"p\"", "\"s\""}) {
        EXPECT_THAT(text, Not(HasSubstr(secret)));
    }
    EXPECT_THAT(text, HasSubstr("secretHash"));
}

// A memory store that is recorded.
struct Recorded {
    std::unique_ptr<store::Store> inner = store::open_memory();
    ManualClock clock{WallTime{} + std::chrono::hours(24 * 365 * 50)};
    SeededRandom random;
};

// Gives the fixture an AuditedStore and keeps what it stands on.
class Owner final : public store::Store {
  public:
    explicit Owner(std::shared_ptr<Recorded> parts)
        : parts_(std::move(parts)), audited_(*parts_->inner, parts_->clock, parts_->random) {}
    Result<store::TxnResult> txn(const store::Txn& t) override { return audited_.txn(t); }
    Result<store::RangeResult> range(const store::Range& r) override { return audited_.range(r); }
    Result<std::unique_ptr<store::Watch>> watch(std::string key, std::string range_end,
                                                std::int64_t after, store::WatchFn fn) override {
        return audited_.watch(std::move(key), std::move(range_end), after, std::move(fn));
    }
    std::int64_t revision() override { return audited_.revision(); }
    AuditedStore& audited() { return audited_; }

  private:
    std::shared_ptr<Recorded> parts_;
    AuditedStore audited_;
};

class Audit : public Handlers {
  protected:
    Audit() : Audit(std::make_shared<Recorded>()) {}
    explicit Audit(std::shared_ptr<Recorded> parts)
        : Handlers(std::make_unique<Owner>(parts)), parts_(std::move(parts)) {
        write(keys::tenant("provider"), encode(Tenant{"provider", "provider"}));
        write(std::string(keys::kHomeTenant), "provider");
        for (const auto& [subscription, tenant] :
             {std::pair(kProvider, "provider"), std::pair(kConsumer, "consumer")}) {
            const std::string id = subscription.substr(std::string("/subscriptions/").size());
            write(keys::subscription(id), encode(Subscription{id, tenant, "s"}));
        }
        as("provider", [&] { make_network(kProvider); });
        as("consumer", [&] { make_network(kConsumer); });
        as("provider", [&] { make_service(R"(["*"])", "[]"); });
    }
    void write(const std::string& key, const std::string& value) {
        ASSERT_TRUE(
            store_->txn({.compares = {}, .success = {store::put(key, value)}, .failure = {}}));
    }
    template <typename F>
    void as(const std::string& tenant, F&& use) {
        const AuditScope scope(Actor{.caller = {tenant + "-id", tenant + "-name", tenant},
                                     .from = "203.0.113.9",
                                     .request_id = "request-" + tenant,
                                     .correlation = "correlation",
                                     .operation = "op/write",
                                     .resource = ""});
        use();
    }
    std::vector<boost::json::value> records(const std::string& tenant) {
        std::vector<boost::json::value> out;
        for (const auto& row : store_->list(fmt::format("{}{}/", keys::kAudit, tenant))->kvs) {
            out.push_back(boost::json::parse(row.value));
        }
        return out;
    }
    std::string last(const std::string& tenant) {
        parts_->clock.advance(std::chrono::milliseconds(1));
        const auto all = records(tenant);
        return all.empty() ? std::string() : boost::json::serialize(all.back());
    }
    Owner& owner() { return static_cast<Owner&>(*store_); }
    // An interface with so many addresses.
    Reply put_interface(const std::string& name, int addresses) {
        std::string all;
        for (int i = 0; i < addresses; ++i) {
            all += fmt::format(
                R"({}{{"name":"ip{}","properties":{{"primary":{},"subnet":{{"id":"{}"}}}}}})",
                i == 0 ? "" : ",", i, i == 0, provider_network_ + "virtualNetworks/v/subnets/s");
        }
        return put(provider_network_ + "networkInterfaces/" + name,
                   R"({"location":"local","properties":{"ipConfigurations":[)" + all + "]}}");
    }

    std::shared_ptr<Recorded> parts_;
};

TEST_F(Audit, AWriteAndItsRecordAreOneTransaction) {
    const auto before = store_->revision();
    const auto count = records("provider").size();
    parts_->clock.advance(std::chrono::seconds(1));
    as("provider",
       [&] { EXPECT_EQ(put(provider_, R"({"location":"local","tags":{"a":"b"}})").status, 200); });
    EXPECT_EQ(store_->revision(), before + 1);
    const auto all = records("provider");
    ASSERT_EQ(all.size(), count + 1);
    const auto& record = all.back();
    EXPECT_EQ(text(record, "caller.id"), "provider-id");
    EXPECT_EQ(text(record, "caller.name"), "provider-name");
    EXPECT_EQ(text(record, "from"), "203.0.113.9");
    EXPECT_EQ(text(record, "requestId"), "request-provider");
    EXPECT_EQ(text(record, "changes[0].resource"), provider_);
    EXPECT_EQ(text(record, "changes[0].what"), "updated");
    EXPECT_EQ(text(record, "changes[0].diff[0].path"), "tags.a");
    EXPECT_EQ(text(record, "changes[0].diff[0].after"), "b");
}

TEST_F(Audit, WhatWritesNothingAndWhatIsRefusedLeavesNoRecord) {
    const auto count = records("provider").size();
    as("provider", [&] {
        EXPECT_EQ(put(provider_, R"({"location":"local"})").status, 200);
        EXPECT_GE(put(provider_ + "x/providers/Microsoft.Network/virtualNetworks/v", "{}").status,
                  400);
    });
    EXPECT_EQ(records("provider").size(), count);
}

TEST_F(Audit, AConnectionAcrossTenantsIsToldToBothWithoutTellingOneOfTheOther) {
    parts_->clock.advance(std::chrono::seconds(1));
    const std::string alias = text(get(service_).body, "properties.alias");
    const std::string endpoint = consumer_network_ + "privateEndpoints/e";
    as("consumer", [&] { made(endpoint, endpoint_body(alias, true)); });
    // the provider sees what ARM shows it: the connection and the endpoint's id
    std::string told = last("provider");
    EXPECT_THAT(told, HasSubstr("privateEndpointConnections"));
    EXPECT_THAT(told, HasSubstr("privateEndpoints/e"));
    for (const char* hidden :
         {"consumer-name", "consumer-id", "203.0.113.9", "request-consumer", "subnets/s"}) {
        EXPECT_THAT(told, Not(HasSubstr(hidden)));
    }
    // the consumer, who knows the alias only, does not learn the service's name
    told = last("consumer");
    EXPECT_THAT(told, HasSubstr("consumer-name"));
    EXPECT_THAT(told, Not(HasSubstr("privateLinkServices/svc")));

    parts_->clock.advance(std::chrono::seconds(1));
    as("provider", [&] {
        EXPECT_EQ(put(text(connection_of_service(), "id"),
                      R"({"properties":{"privateLinkServiceConnectionState":
                          {"status":"Approved","description":"welcome"}}})")
                      .status,
                  200);
    });
    told = last("consumer");
    EXPECT_THAT(told, HasSubstr("Approved"));
    EXPECT_THAT(told, HasSubstr("privateEndpoints/e"));
    for (const char* hidden : {"provider-name", "provider-id", "203.0.113.9",
                               "privateLinkServices/svc", "request-provider"}) {
        EXPECT_THAT(told, Not(HasSubstr(hidden)));
    }
    EXPECT_THAT(last("provider"), HasSubstr("provider-name"));
}

TEST_F(Audit, SecretsAreNotRecorded) {
    as("provider", [&] {
        write(keys::principal("p"),
              encode(Principal{"p", "provider", PrincipalKind::kUser, "Ann", "", "argon2-hash"}));
        write("/join/abcdef", R"({"v":1,"node":"n1","expires":1,"createdBy":"x"})");
        write("/meta/signing-keys", "-----BEGIN PRIVATE KEY-----");
    });
    for (const auto& record : records("provider")) {
        const std::string text = boost::json::serialize(record);
        for (const char* secret : {"argon2-hash", "abcdef", "BEGIN PRIVATE KEY"}) {
            EXPECT_THAT(text, Not(HasSubstr(secret)));
        }
    }
}

TEST_F(Audit, NotesAreFewASecondAndTellWhatWasLeftOut) {
    const auto count = records("provider").size();
    for (std::size_t i = 0; i < limits::kAuditNotes + 5; ++i) {
        owner().audited().note("", {{"operation", "signIn"}, {"resource", "/culvert/sign-in"}});
    }
    EXPECT_EQ(records("provider").size(), count + limits::kAuditNotes);
    parts_->clock.advance(std::chrono::seconds(2));
    owner().audited().note("", {{"operation", "signIn"}, {"resource", "/culvert/sign-in"}});
    EXPECT_THAT(last("provider"), HasSubstr(R"("suppressedBefore":5)"));
}

TEST_F(Audit, OldRecordsGoAndNoTenantPushesOutAnothers) {
    const auto consumers = records("consumer").size();
    for (std::size_t i = 0; i < limits::kAuditRecords + 20; i += 100) {
        store::Txn many;
        for (std::size_t k = 0; k < 100; ++k) {
            many.success.push_back(store::put(
                fmt::format("{}provider/{:016}-x{}", keys::kAudit, 1576000000000000 + i, k), "{}"));
        }
        ASSERT_TRUE(store_->txn(many));
    }
    ASSERT_TRUE(owner().audited().sweep());
    EXPECT_EQ(records("provider").size(), limits::kAuditRecords);
    EXPECT_EQ(records("consumer").size(), consumers);
    parts_->clock.advance(limits::kAuditLife + std::chrono::hours(1));
    ASSERT_TRUE(owner().audited().sweep());
    EXPECT_TRUE(records("provider").empty());
    EXPECT_TRUE(records("consumer").empty());
}

TEST_F(Audit, EveryBeforeIsWhatTheRecordBeforeItLeft) {
    as("provider", [&] {
        for (int i = 0; i < 20; ++i) {
            parts_->clock.advance(std::chrono::milliseconds(1));
            const std::string body =
                fmt::format(R"({{"location":"local","tags":{{"n":"{}"}}}})", i);
            EXPECT_EQ(put(provider_, body).status, 200);
        }
    });
    std::string previous = "(none)";
    for (const auto& record : records("provider")) {
        if (text(record, "changes[0].diff[0].path") == "tags.n") {
            const auto before = text(record, "changes[0].diff[0].before");
            EXPECT_EQ(before.empty() ? "(none)" : before, previous);
            previous = text(record, "changes[0].diff[0].after");
        }
    }
}

// A flood of refusals must not use up the history that a restore goes back by.
TEST(AuditNotes, AreNoRevisionsThatARestoreTakesBack) {
    std::string folder = testing::TempDir() + "culvert-notes-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    const auto written = [](store::Store& store, const std::string& value) {
        return store.txn({.compares = {}, .success = {store::put("/r/x", value)}, .failure = {}})
            ->revision;
    };
    auto inner = std::move(*store::open_sqlite(folder + "/store.db"));
    ManualClock clock{WallTime{} + std::chrono::hours(24 * 365 * 50)};
    SeededRandom random;
    AuditedStore audited(*inner, clock, random);
    const auto then = written(*inner, "then");
    for (std::size_t i = 0; i < limits::kAuditNotes; ++i) {
        audited.note("t", {{"operation", "signIn"}});
    }
    written(*inner, "now");
    ASSERT_TRUE(audited.snapshot(folder + "/backup"));
    ASSERT_TRUE(store::complete_archive(folder + "/backup", {}));
    ASSERT_TRUE(store::restore_archive(folder + "/backup", folder + "/restored",
                                       {.revision = then, .time = {}}));
    auto restored = std::move(*store::open_sqlite(folder + "/restored"));
    EXPECT_EQ((*restored->get("/r/x"))->value, "then");
    EXPECT_EQ(restored->list(keys::kAudit)->kvs.size(), limits::kAuditNotes);
    inner.reset();
    restored.reset();
    std::filesystem::remove_all(folder);
}

// Also one that has grown in several transactions.
TEST_F(Audit, WhatCanBeMadeCanBeDeleted) {
    as("provider", [&] {
        int most = 0;
        while (put_interface("whole", most + 1).status < 300) {
            ASSERT_EQ(remove(provider_network_ + "networkInterfaces/whole").status, 200) << most;
            ++most;
        }
        ASSERT_GT(most, 32);
        const Reply refused = put_interface("whole", most + 1);
        EXPECT_EQ(refused.status, 413);
        EXPECT_THAT(boost::json::serialize(refused.body), HasSubstr("spread them over"));
        int grown = 0;
        while (grown < 64 && put_interface("grown", grown + 8).status < 300) {
            grown += 8;
        }
        EXPECT_LE(grown, most);
        EXPECT_EQ(remove(provider_network_ + "networkInterfaces/grown").status, 200);
    });
}

}  // namespace
}  // namespace culvert::control::test
