// SPDX-License-Identifier: Apache-2.0
#include "control/identity.hpp"

#include "base/limits.hpp"
#include "control/front_fixture_test.hpp"
#include "control/keys.hpp"

#include <fmt/format.h>

#include <semaphore>

namespace culvert::control {
namespace {

using test::Answer;
using test::FrontFixture;

const std::string kV = "?api-version=2022-04-01";
const std::string kAz = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

class IdentityTest : public FrontFixture {
  protected:
    Answer sign_in(const std::string& secret, const std::string& path = "/adfs/oauth2/token",
                   const std::string& peer = "192.0.2.1") {
        return post_form(path,
                         {{"grant_type", "client_credentials"},
                          {"client_id", made_.client_id},
                          {"client_secret", secret},
                          {"client_info", "1"},
                          {"scope", "https://127.0.0.1:8443//.default"}},
                         peer);
    }
    std::string assignment(const std::string& scope, const std::string& id) const {
        return scope + "/providers/Microsoft.Authorization/roleAssignments/" + id + kV;
    }
    std::string assignment_body(const std::string& principal, std::string_view role) const {
        return fmt::format(R"({{"properties":{{"principalId":"{}","roleDefinitionId":
            "{}/providers/Microsoft.Authorization/roleDefinitions/{}"}}}})",
                           principal, sub(), role);
    }
};

TEST_F(IdentityTest, BootstrapsOnceAndKeepsNoSecret) {
    EXPECT_FALSE(identity_->bootstrap()->has_value());
    const auto again = Identity::open(*store_, clock_, random_);
    ASSERT_TRUE(again.has_value());
    EXPECT_FALSE((*again)->bootstrap()->has_value());
    for (const auto& row : store_->list("/")->kvs) {
        EXPECT_EQ(row.value.find(made_.client_secret), std::string::npos) << row.key;
        EXPECT_EQ(row.value.find(made_.password), std::string::npos) << row.key;
    }
}

TEST_F(IdentityTest, AServicePrincipalSignsIn) {
    for (const std::string& path :
         {std::string("/adfs/oauth2/token"), "/" + made_.tenant + "/oauth2/v2.0/token",
          std::string("//adfs/oauth2/token/")}) {
        const auto answer = sign_in(made_.client_secret, path);
        ASSERT_EQ(answer.status, 200) << answer.text;
        EXPECT_EQ(answer.body.at("token_type").as_string(), "Bearer");
        EXPECT_EQ(answer.body.at("expires_in").as_int64(), 3600);
        EXPECT_FALSE(answer.body.as_object().contains("refresh_token"));
        const std::string token(answer.body.at("access_token").as_string());
        EXPECT_EQ(ask_as(token, "GET", sub() + kV).status, 200);
    }
}

TEST_F(IdentityTest, AUserSignsInAndRefreshes) {
    const std::map<std::string, std::string> form{{"grant_type", "password"},
                                                  {"client_id", kAz},
                                                  {"username", "ADMIN@culvert.local"},
                                                  {"password", made_.password},
                                                  {"scope", "x/.default offline_access openid"}};
    const auto answer = post_form("/adfs/oauth2/token", form);
    ASSERT_EQ(answer.status, 200) << answer.text;
    const std::string id_token(answer.body.at("id_token").as_string());
    const auto claims = identity_->verify(id_token, kAz);
    ASSERT_TRUE(claims.has_value()) << claims.error().message;
    EXPECT_EQ(claims->upn, "admin@culvert.local");
    EXPECT_EQ(claims->tid, made_.tenant);
    // an id or refresh token opens nothing
    const std::string refresh(answer.body.at("refresh_token").as_string());
    EXPECT_EQ(ask_as(id_token, "GET", sub() + kV).status, 401);
    EXPECT_EQ(ask_as(refresh, "GET", sub() + kV).status, 401);

    std::map<std::string, std::string> next{
        {"grant_type", "refresh_token"}, {"client_id", kAz}, {"refresh_token", refresh}};
    const auto later = post_form("/adfs/oauth2/token", next);
    ASSERT_EQ(later.status, 200) << later.text;
    EXPECT_EQ(
        ask_as(std::string(later.body.at("access_token").as_string()), "GET", sub() + kV).status,
        200);
    next["client_id"] = "culvert-cli";
    EXPECT_EQ(post_form("/adfs/oauth2/token", next).code(), "invalid_grant");
    next["client_id"] = kAz;
    next["refresh_token"] = std::string(answer.body.at("access_token").as_string());
    EXPECT_EQ(post_form("/adfs/oauth2/token", next).code(), "invalid_grant");
    clock_.advance(std::chrono::hours(25));
    next["refresh_token"] = refresh;
    EXPECT_EQ(post_form("/adfs/oauth2/token", next).code(), "invalid_grant");
}

TEST_F(IdentityTest, WrongCredentialsAreRefusedAlike) {
    const auto wrong = sign_in("wrong");
    EXPECT_EQ(wrong.status, 401);
    EXPECT_EQ(wrong.code(), "invalid_client");
    EXPECT_TRUE(wrong.body.at("error_description").as_string().starts_with("AADSTS7000215"));
    const auto unknown = post_form("/adfs/oauth2/token", {{"grant_type", "client_credentials"},
                                                          {"client_id", random_.uuid()},
                                                          {"client_secret", "x"}});
    EXPECT_EQ(unknown.text, wrong.text);
    const auto user = post_form("/adfs/oauth2/token", {{"grant_type", "password"},
                                                       {"client_id", kAz},
                                                       {"username", "admin@culvert.local"},
                                                       {"password", "wrong"}});
    EXPECT_EQ(user.status, 400);
    EXPECT_EQ(user.code(), "invalid_grant");
}

TEST_F(IdentityTest, MalformedSignInsAreRefused) {
    const std::string path = "/adfs/oauth2/token";
    EXPECT_EQ(post_form(path, {}).code(), "invalid_request");
    EXPECT_EQ(post_form(path, {{"grant_type", "client_credentials"}}).code(), "invalid_request");
    EXPECT_EQ(post_form(path, {{"grant_type", "magic"}, {"client_id", "x"}}).code(),
              "unsupported_grant_type");
    EXPECT_EQ(post_form(path, {{"grant_type", "password"}, {"client_id", random_.uuid()}}).code(),
              "unauthorized_client");
    EXPECT_EQ(post_form(path, {{"grant_type", "x"}, {"client_id", std::string(20000, 'a')}}).code(),
              "invalid_request");
    EXPECT_EQ(ask_as("", "GET", path).status, 405);
    EXPECT_EQ(sign_in(made_.client_secret, "/" + random_.uuid() + "/oauth2/v2.0/token").code(),
              "invalid_tenant");
}

TEST_F(IdentityTest, NamesThatWouldBreakTheLogOrFillTheMemoryAreRefused) {
    for (const std::string& name : {std::string("a\nb"), std::string(257, 'a')}) {
        const auto user = post_form("/adfs/oauth2/token", {{"grant_type", "password"},
                                                           {"client_id", kAz},
                                                           {"username", name},
                                                           {"password", "x"}});
        EXPECT_EQ(user.code(), "invalid_request");
        const auto app = post_form(
            "/adfs/oauth2/token",
            {{"grant_type", "client_credentials"}, {"client_id", name}, {"client_secret", "x"}});
        EXPECT_EQ(app.code(), "invalid_request");
    }
}

TEST_F(IdentityTest, ManyFailuresAreSlowedForThatClientFromThatPeerOnly) {
    Throttle throttle;
    const SteadyTime now{};
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(throttle.allows("a", now));
        throttle.failed("a", now);
    }
    EXPECT_FALSE(throttle.allows("a", now));
    EXPECT_TRUE(throttle.allows("b", now));
    EXPECT_TRUE(throttle.allows("a", now + std::chrono::seconds(1)));
    for (int i = 0; i < 20000; ++i) {
        throttle.failed(std::to_string(i), now);
    }
}

TEST_F(IdentityTest, DiscoveryNamesItsEndpoints) {
    const auto adfs = ask_as("", "GET", "/adfs/.well-known/openid-configuration");
    EXPECT_EQ(adfs.body.at("token_endpoint").as_string(),
              "https://127.0.0.1:8443/adfs/oauth2/token");
    for (const std::string& path :
         {"/" + made_.tenant + "/v2.0/.well-known/openid-configuration",
          "/adfs/" + made_.tenant + "/v2.0/.well-known/openid-configuration",
          std::string("/adfs/HOME/.well-known/openid-configuration")}) {
        const auto answer = ask_as("", "GET", path);
        ASSERT_EQ(answer.status, 200) << path;
        EXPECT_EQ(answer.body.at("issuer").as_string(),
                  "https://127.0.0.1:8443/" + made_.tenant + "/")
            << path;
    }
    EXPECT_EQ(ask_as("", "GET", "/none/v2.0/.well-known/openid-configuration").code(),
              "invalid_tenant");
    const auto metadata = ask_as("", "GET", "//metadata/endpoints?api-version=2022-09-01");
    EXPECT_EQ(metadata.body.at("authentication").at("loginEndpoint").as_string(),
              "https://127.0.0.1:8443/adfs");
    EXPECT_TRUE(ask_as("", "GET", "/metadata/endpoints?api-version=2019-05-01").body.is_array());
    EXPECT_EQ(ask_as("", "GET", "/adfs/discovery/keys").body.at("keys").as_array().size(), 1U);
}

TEST_F(IdentityTest, RolesAreAssignedAtOnceAndTakenAwayAtOnce) {
    const auto token = make_caller("me", "", "");
    const std::string me = object_ids_["me"];
    const std::string group = sub() + "/resourceGroups/rg1";
    const std::string id = random_.uuid();
    EXPECT_EQ(ask_as(token, "GET", group + kV).status, 403);
    const auto made = ask("PUT", assignment(group, id), assignment_body(me, rbac::kReader));
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(made.body.at("properties").at("scope").as_string(), group);
    EXPECT_EQ(made.body.at("properties").at("principalType").as_string(), "ServicePrincipal");
    EXPECT_EQ(ask_as(token, "GET", group + kV).status, 200);
    EXPECT_EQ(ask("PUT", assignment(group, id), assignment_body(me, rbac::kReader)).status, 200);
    EXPECT_EQ(ask("GET", assignment(group, id)).body, made.body);
    EXPECT_EQ(ask("PUT", assignment(group, id), assignment_body(me, rbac::kOwner)).code(),
              "RoleAssignmentUpdateNotPermitted");
    EXPECT_EQ(
        ask("PUT", assignment(group, random_.uuid()), assignment_body(me, rbac::kReader)).code(),
        "RoleAssignmentExists");
    EXPECT_EQ(
        ask_as(token, "PUT", assignment(group, random_.uuid()), assignment_body(me, rbac::kOwner))
            .status,
        403);
    EXPECT_EQ(ask("DELETE", assignment(group, id)).status, 200);
    EXPECT_EQ(ask("DELETE", assignment(group, id)).status, 204);
    EXPECT_EQ(ask_as(token, "GET", group + kV).status, 403);
    EXPECT_EQ(ask("GET", assignment(group, id)).code(), "RoleAssignmentNotFound");
}

TEST_F(IdentityTest, BadAssignmentsAreRefused) {
    const std::string me = made_.client_object_id;
    const std::string id = random_.uuid();
    EXPECT_EQ(ask("PUT", assignment(sub(), "x"), assignment_body(me, rbac::kReader)).code(),
              "InvalidRoleAssignmentId");
    EXPECT_EQ(ask("PUT", assignment(sub(), id), assignment_body(id, rbac::kReader)).code(),
              "PrincipalNotFound");
    EXPECT_EQ(ask("PUT", assignment(sub(), id), assignment_body(me, "nothing")).code(),
              "RoleDefinitionDoesNotExist");
    EXPECT_EQ(ask("PUT", assignment(sub(), id), "{}").code(), "InvalidRequestContent");
    EXPECT_EQ(ask("PUT", assignment(sub(), id), "").code(), "InvalidRequestContent");
}

TEST_F(IdentityTest, AssignmentsAreListedByScope) {
    make_group("rg2");
    make_caller("a", "Reader", sub());
    make_caller("b", "Reader", sub() + "/resourceGroups/rg1");
    const auto count = [&](const std::string& scope, const std::string& filter) {
        const auto answer =
            ask("GET", scope + "/providers/Microsoft.Authorization/roleAssignments" + kV +
                           (filter.empty() ? "" : "&$filter=" + http::percent_encode(filter)));
        EXPECT_EQ(answer.status, 200) << answer.text;
        return answer.body.at("value").as_array().size();
    };
    EXPECT_EQ(count("", ""), 4U);  // two owners at the root
    EXPECT_EQ(count(sub(), "atScope()"), 3U);
    EXPECT_EQ(count(sub(), ""), 4U);
    EXPECT_EQ(count(sub() + "/resourceGroups/rg1", "atScope()"), 4U);
    EXPECT_EQ(count(sub() + "/resourceGroups/rg2", "atScope()"), 3U);
    EXPECT_EQ(count(sub(), "principalId eq '" + object_ids_["b"] + "'"), 1U);
    EXPECT_EQ(count(sub(), "atScope() and assignedTo('" + object_ids_["b"] + "')"), 0U);
}

TEST_F(IdentityTest, RoleDefinitionsAreFoundByName) {
    const std::string path = sub() + "/providers/Microsoft.Authorization/roleDefinitions";
    const auto one = ask("GET", path + kV + "&$filter=roleName+eq+'network+contributor'");
    ASSERT_EQ(one.body.at("value").as_array().size(), 1U) << one.text;
    EXPECT_EQ(one.body.at("value").at(0).at("name").as_string(), rbac::kNetworkContributor);
    EXPECT_EQ(ask("GET", path + kV).body.at("value").as_array().size(), 4U);
    EXPECT_EQ(ask("GET", path + "/" + std::string(rbac::kOwner) + kV).status, 200);
    EXPECT_EQ(ask("GET", path + "/none" + kV).status, 404);
}

TEST_F(IdentityTest, TenantsAreApart) {
    const auto tenant = ask("POST", "/culvert/tenants", R"({"name":"other"})");
    ASSERT_EQ(tenant.status, 201) << tenant.text;
    const std::string other(tenant.body.at("id").as_string());
    const auto subscription = ask("POST", "/culvert/subscriptions",
                                  fmt::format(R"({{"name":"s","tenant":"{}"}})", other));
    ASSERT_EQ(subscription.status, 201) << subscription.text;
    const std::string theirs =
        "/subscriptions/" + std::string(subscription.body.at("id").as_string());
    const auto owner = ask("POST", "/culvert/principals",
                           fmt::format(R"({{"name":"o","tenant":"{}","role":"Owner"}})", other));
    ASSERT_EQ(owner.status, 201) << owner.text;
    const auto token = token_of(std::string(owner.body.at("id").as_string()));

    EXPECT_EQ(ask_as(token, "GET", theirs + kV).status, 200);
    EXPECT_EQ(ask_as(token, "GET", sub() + kV).code(), "SubscriptionNotFound");
    EXPECT_EQ(ask("GET", theirs + kV).code(), "SubscriptionNotFound");
    EXPECT_EQ(ask_as(token, "GET", "/subscriptions" + kV).body.at("value").as_array().size(), 1U);
    EXPECT_EQ(
        ask_as(token, "GET", "/tenants" + kV).body.at("value").at(0).at("tenantId").as_string(),
        other);
    // an owner of another tenant runs that tenant, not the deployment
    EXPECT_EQ(ask_as(token, "POST", "/culvert/tenants", R"({"name":"x"})").status, 403);
    EXPECT_EQ(ask_as(token, "POST", "/culvert/subscriptions",
                     fmt::format(R"({{"name":"s","tenant":"{}"}})", made_.tenant))
                  .status,
              403);
    EXPECT_EQ(ask_as(token, "POST", "/culvert/subscriptions", R"({"name":"s2"})").status, 201);
    // nor does it take a subscription id that a service may trust already
    const std::string chosen = R"({"name":"s3","id":"11111111-1111-4111-8111-111111111111"})";
    EXPECT_EQ(ask_as(token, "POST", "/culvert/subscriptions", chosen).status, 403);
    EXPECT_EQ(ask("POST", "/culvert/subscriptions", chosen).status, 201);
    EXPECT_EQ(ask_as(token, "GET", "/culvert/principals").body.at("value").as_array().size(), 1U);
    EXPECT_EQ(ask_as(token, "GET", "/providers/Microsoft.Authorization/roleAssignments" + kV)
                  .body.at("value")
                  .as_array()
                  .size(),
              1U);
    const Caller caller{std::string(owner.body.at("id").as_string()), "o", other};
    EXPECT_FALSE(identity_->authorize(caller, "Microsoft.Network/privateLinkServices/read",
                                      *model::ResourceId::parse(sub() + "/resourceGroups/rg1")));
}

TEST_F(IdentityTest, OnlyOwnersManageIdentity) {
    const auto contributor = make_caller("c", "Contributor", "/");
    EXPECT_EQ(ask_as(contributor, "POST", "/culvert/principals", R"({"name":"x"})").status, 403);
    EXPECT_EQ(ask_as(contributor, "POST", "/culvert/tenants", R"({"name":"x"})").status, 403);
    const auto below = make_caller("s", "Owner", sub());
    EXPECT_EQ(ask_as(below, "POST", "/culvert/principals", R"({"name":"x"})").status, 403);
    for (const char* bad : {"{}", R"({"name":"a b"})", R"({"name":"x","role":"King"})",
                            R"({"name":"x","role":"Owner","scope":"nonsense"})", R"({"name":7})"}) {
        EXPECT_EQ(ask("POST", "/culvert/principals", bad).status, 400) << bad;
    }
}

TEST_F(IdentityTest, AScopeBelowTheTenantDoesNotReachWhatIsOwnedAtItsRoot) {
    make_group("rg1");
    const auto victim = make_caller("victim", "Reader", "/");
    const auto below = make_caller("below", "Owner", sub() + "/resourceGroups/rg1");
    const std::string principals = "/culvert/principals/" + object_ids_["victim"];
    EXPECT_EQ(ask_as(below, "DELETE", principals).status, 403);
    for (const std::string& scope :
         {std::string(), sub(), sub() + "/resourceGroups/rg1",
          sub() + "/resourceGroups/rg1/providers/Microsoft.Network/virtualNetworks/v"}) {
        const std::string at = scope + "/providers/";
        const std::string own = at + "Culvert/principals";
        for (const auto& token : {below, owner_}) {
            EXPECT_EQ(ask_as(token, "GET", own + kV).code(), "NotFound") << own;
            EXPECT_EQ(ask_as(token, "DELETE", own + "/" + object_ids_["victim"] + kV).code(),
                      "NotFound")
                << own;
            EXPECT_EQ(ask_as(token, "GET", at + "Microsoft.Resources/subscriptions/x" + kV).code(),
                      "NotFound");
            EXPECT_EQ(ask_as(token, "PUT", at + "microsoft.resources/resourceGroups/x" + kV,
                             R"({"location":"local"})")
                          .code(),
                      "NotFound");
        }
    }
    EXPECT_EQ(ask_as(victim, "GET", sub() + kV).status, 200);
}

TEST_F(IdentityTest, ADeletedPrincipalStopsAtOnce) {
    const auto token = make_caller("gone", "Reader", "/");
    EXPECT_EQ(ask_as(token, "GET", sub() + kV).status, 200);
    EXPECT_EQ(ask("DELETE", "/culvert/principals/" + object_ids_["gone"]).status, 200);
    EXPECT_EQ(ask_as(token, "GET", sub() + kV).status, 401);
    EXPECT_EQ(ask("DELETE", "/culvert/principals/" + object_ids_["gone"]).status, 204);
    EXPECT_EQ(ask("DELETE", "/culvert/principals/" + made_.client_object_id).status, 409);
}

TEST_F(IdentityTest, APrincipalWithMoreAssignmentsThanATransactionHoldsIsDeleted) {
    const auto token = make_caller("busy", "Reader", "/");
    const auto id = object_ids_["busy"];
    std::int64_t last = 0;
    for (int i = 0; i < 300; ++i) {
        const RoleAssignment one{
            {fmt::format("a{}", i), id, std::string(rbac::kReader),
             fmt::format("/subscriptions/{}/resourcegroups/g{}", made_.subscription, i)},
            made_.tenant,
            "ServicePrincipal",
            "/",
            "now",
            id};
        auto done =
            identity_->create({{keys::assignment(one.what.scope, one.what.id), encode(one)}});
        ASSERT_TRUE(done);
        last = *done;
    }
    std::binary_semaphore applied{0};
    identity_->when_applied(last, [&] { applied.release(); });
    applied.acquire();
    EXPECT_EQ(ask("DELETE", "/culvert/principals/" + id).status, 200);
    EXPECT_EQ(ask_as(token, "GET", sub() + kV).status, 401);
    std::size_t left = 0;
    for (const auto& row : store_->list(keys::kAssignments)->kvs) {
        left += row.value.find(id) != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(left, 0U);
}

TEST_F(IdentityTest, WhatAnInterruptedDeletionLeftBehindGoesWithTheNext) {
    const RoleAssignment left{{"left", "gone-principal", std::string(rbac::kReader), "/"},
                              made_.tenant,
                              "ServicePrincipal",
                              "/",
                              "now",
                              "x"};
    const auto key = keys::assignment("/", "left");
    auto done = identity_->create({{key, encode(left)}});
    ASSERT_TRUE(done);
    std::binary_semaphore applied{0};
    identity_->when_applied(*done, [&] { applied.release(); });
    applied.acquire();
    EXPECT_EQ(ask("DELETE", "/culvert/principals/gone-principal").status, 200);
    EXPECT_FALSE(store_->get(key)->has_value());
}

TEST_F(IdentityTest, ADeletedPrincipalStopsAlsoWhenTheWatchFellBehind) {
    const auto token = make_caller("gone", "Reader", "/");
    EXPECT_EQ(ask_as(token, "GET", sub() + kV).status, 200);
    std::binary_semaphore reached{0};
    std::binary_semaphore go_on{0};
    const auto blocker = store_->watch("/block/", store::prefix_end("/block/"), store_->revision(),
                                       [&](const store::WatchBatch& batch) {
                                           if (batch.compacted) {
                                               return;
                                           }
                                           reached.release();
                                           go_on.acquire();
                                       });
    ASSERT_TRUE(blocker);
    ASSERT_TRUE(identity_->create({{"/block/1", "x"}}));
    reached.acquire();  // the store's notifier is held up
    const auto principal = keys::principal(object_ids_["gone"]);
    ASSERT_TRUE(identity_->remove({principal}));
    std::int64_t last = 0;
    for (std::size_t written = 0; written <= limits::kWatchQueue;
         written += limits::kTxnOperations) {
        store::Txn filler;
        for (std::size_t i = 0; i < limits::kTxnOperations; ++i) {
            filler.success.push_back(store::put(fmt::format("/filler/{}", i), "x"));
        }
        const auto done = store_->txn(filler);
        ASSERT_TRUE(done);
        last = done->revision;
    }
    go_on.release();
    std::binary_semaphore applied{0};
    identity_->when_applied(last, [&] { applied.release(); });
    applied.acquire();
    EXPECT_EQ(ask_as(token, "GET", sub() + kV).status, 401);
    EXPECT_EQ(ask("GET", sub() + kV).status, 200);
}

TEST_F(IdentityTest, AUserMadeByTheFrontDoorSignsIn) {
    const auto made = ask("POST", "/culvert/principals",
                          R"({"name":"Ann@example","kind":"user","role":"Reader","scope":"/"})");
    ASSERT_EQ(made.status, 201) << made.text;
    const auto answer = post_form(
        "/adfs/oauth2/token", {{"grant_type", "password"},
                               {"client_id", kAz},
                               {"username", "ann@EXAMPLE"},
                               {"password", std::string(made.body.at("password").as_string())}});
    EXPECT_EQ(answer.status, 200) << answer.text;
    EXPECT_EQ(ask("POST", "/culvert/principals", R"({"name":"ann@example","kind":"user"})").status,
              409);
}

TEST_F(IdentityTest, AUsersNameIsItsTenantsOwn) {
    const auto other = std::string(
        ask("POST", "/culvert/tenants", R"({"name":"other"})").body.at("id").as_string());
    const auto make = [&](const std::string& tenant) {
        const auto made =
            ask("POST", "/culvert/principals",
                fmt::format(R"({{"name":"ann","kind":"user","tenant":"{}"}})", tenant));
        EXPECT_EQ(made.status, 201) << made.text;
        return std::string(made.body.at("password").as_string());
    };
    const auto here = make(made_.tenant);
    const auto there = make(other);  // taken in another tenant does not show
    const auto sign_in = [&](const std::string& at, const std::string& name,
                             const std::string& password) {
        return post_form(at + "/oauth2/token", {{"grant_type", "password"},
                                                {"client_id", kAz},
                                                {"username", name},
                                                {"password", password}})
            .status;
    };
    EXPECT_EQ(sign_in("/adfs", "ann", here), 200) << "the first tenant's";
    EXPECT_EQ(sign_in("/adfs", "ann", there), 400);
    EXPECT_EQ(sign_in("/adfs", "Ann@" + other, there), 200);
    EXPECT_EQ(sign_in("/adfs/" + other, "ann", there), 200);
    EXPECT_EQ(sign_in("/adfs/" + other, "ann@" + other, there), 200);
    EXPECT_EQ(sign_in("/adfs/" + other, "ann", here), 400);
    EXPECT_EQ(sign_in("/adfs/" + other, "ann@" + made_.tenant, here), 400);
}

TEST_F(IdentityTest, GraphFindsPrincipalsOfOnesOwnTenant) {
    const auto found =
        ask("GET", "/graph/v1.0/servicePrincipals?$filter=" +
                       http::percent_encode(
                           fmt::format("servicePrincipalNames/any(c:c eq '{}')", made_.client_id)));
    ASSERT_EQ(found.status, 200) << found.text;
    EXPECT_EQ(found.body.at("value").at(0).at("id").as_string(), made_.client_object_id);
    const auto by_id = ask("POST", "/graph/v1.0/directoryObjects/getByIds",
                           fmt::format(R"({{"ids":["{}"]}})", made_.client_object_id));
    EXPECT_EQ(by_id.body.at("value").as_array().size(), 1U);
    EXPECT_EQ(ask("POST", "/graph/v1.0/directoryObjects/getByIds", "{}")
                  .body.at("value")
                  .as_array()
                  .size(),
              0U);
    boost::json::array many;
    for (int i = 0; i < 1001; ++i) {
        many.emplace_back(std::to_string(i));
    }
    EXPECT_EQ(ask("POST", "/graph/v1.0/directoryObjects/getByIds",
                  boost::json::serialize(boost::json::object{{"ids", many}}))
                  .status,
              400);
}

TEST(SlowLane, RunsInOrderAndRefusesWhenFull) {
    std::binary_semaphore go{0};
    std::counting_semaphore<> done{0};
    std::vector<int> order;
    SlowLane lane;
    ASSERT_TRUE(lane.post([&] { go.acquire(); }));
    int accepted = 0;
    while (lane.post([&order, &done, n = accepted] {
        order.push_back(n);
        done.release();
    })) {
        ++accepted;
        ASSERT_LE(accepted, static_cast<int>(SlowLane::kQueue));
    }
    go.release();
    for (int i = 0; i < accepted; ++i) {
        done.acquire();
    }
    EXPECT_GE(accepted, static_cast<int>(SlowLane::kQueue) - 1);
    EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST(Documents, RoundTripAndRefuseDamage) {
    const RoleAssignment a{{"i", "p", "r", "/s"}, "t", "User", "/S", "now", "me"};
    EXPECT_EQ(decode_role_assignment(encode(a)), a);
    const Principal p{"i", "t", PrincipalKind::kUser, "n", "", "h"};
    EXPECT_EQ(decode_principal(encode(p)), p);
    const Subscription s{"i", "t", "n"};
    EXPECT_EQ(decode_subscription(encode(s)), s);
    EXPECT_EQ(decode_tenant(encode(Tenant{"i", "n"})), (Tenant{"i", "n"}));
    for (const char* bad : {"", "{}", "[]", R"({"id":1,"name":"n"})", "nonsense"}) {
        EXPECT_EQ(decode_tenant(bad).error().code, Code::kCorrupt) << bad;
    }
}

}  // namespace
}  // namespace culvert::control
