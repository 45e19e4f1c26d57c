// SPDX-License-Identifier: Apache-2.0
#include "control/front.hpp"

#include "base/limits.hpp"
#include "control/front_filter.hpp"
#include "control/front_fixture_test.hpp"
#include "control/keys.hpp"

#include <fmt/format.h>

namespace culvert::control {
namespace {

using test::Answer;
using test::FrontFixture;

const std::string kV = "?api-version=2024-05-01";

class FrontTest : public FrontFixture {
  protected:
    std::string widget(const std::string& name = "w", const std::string& group = "rg1") const {
        return sub() + "/resourceGroups/" + group + "/providers/Microsoft.Network/widgets/" + name;
    }
};

TEST_F(FrontTest, EveryAnswerCarriesItsIds) {
    const http::Headers given{
        {"x-ms-correlation-request-id", "11111111-2222-3333-4444-555555555555"},
        {"x-ms-client-request-id", "mine"},
        {"x-ms-return-client-request-id", "true"}};
    for (const auto& answer :
         {ask("GET", widget() + kV, "", given), ask("GET", "/nowhere", "", given),
          ask_as("", "GET", widget() + kV, "", given),
          ask("GET", "/metadata/endpoints", "", given)}) {
        EXPECT_EQ(answer.header("x-ms-request-id").size(), 36U);
        EXPECT_EQ(answer.header("x-ms-correlation-request-id"), given[0].second);
        EXPECT_EQ(answer.header("x-ms-client-request-id"), "mine");
        EXPECT_EQ(answer.header("cache-control"), "no-store");
    }
    const auto bad =
        ask("GET", widget() + kV, "", {{"x-ms-correlation-request-id", "no\r\nX-Bad: header"}});
    EXPECT_EQ(bad.header("x-ms-correlation-request-id").size(), 36U);
    const auto one = ask("GET", widget() + kV);
    const auto two = ask("GET", widget() + kV);
    EXPECT_NE(one.header("x-ms-request-id"), two.header("x-ms-request-id"));
}

TEST_F(FrontTest, AHandlerSeesTheParsedRequest) {
    const auto answer = ask("PUT", widget("W1") + kV, R"({"a":[1,2]})");
    ASSERT_EQ(answer.status, 200) << answer.text;
    EXPECT_EQ(answer.header("etag"), "W/\"7\"");
    EXPECT_EQ(answer.header("content-type"), "application/json; charset=utf-8");
    EXPECT_EQ(last_.id.name(), "W1");
    EXPECT_EQ(last_.id.type(), "Microsoft.Network/widgets");
    EXPECT_EQ(last_.api_version, "2024-05-01");
    EXPECT_EQ(last_.base_url, "https://127.0.0.1:8443");
    EXPECT_EQ(last_.caller.principal, made_.client_object_id);
    EXPECT_EQ(last_.body.at("a").as_array().size(), 2U);
    EXPECT_EQ(last_.request_id, answer.header("x-ms-request-id"));
}

TEST_F(FrontTest, PathsAreMixedInCaseAndSlashes) {
    for (const std::string& path :
         {sub() + "/RESOURCEGROUPS/RG1/Providers/microsoft.network//WIDGETS/w/" + kV,
          "/" + widget() + "//" + kV}) {
        EXPECT_EQ(ask("GET", path).status, 200) << path;
    }
    ASSERT_EQ(
        ask("GET", sub() + "/resourcegroups/rg1/providers/Microsoft.Network/widgets/" + kV).status,
        200);
    EXPECT_EQ(last_.collection, "widgets");
    EXPECT_EQ(last_.id.str(), sub() + "/resourceGroups/rg1");
    ASSERT_EQ(ask("GET", widget() + "/parts" + kV).status, 200);
    EXPECT_EQ(last_.collection, "parts");
    EXPECT_EQ(last_.id.name(), "w");
    ASSERT_EQ(ask("POST", widget() + "/poke" + kV, "{}").status, 200);
    EXPECT_EQ(last_.action, "poke");
    ASSERT_EQ(ask("GET", sub() + "/providers/Microsoft.Network/widgets" + kV).status, 200);
    EXPECT_EQ(last_.id.str(), sub());
    ASSERT_EQ(ask("GET", sub() + "/resourcegroups" + kV).status, 200);
    EXPECT_EQ(last_.collection, "resourceGroups");
    ASSERT_EQ(ask("HEAD", sub() + "/resourcegroups/rg1" + kV).status, 200);
}

TEST_F(FrontTest, AnUnknownCallerIsRefusedBeforeAnythingElse) {
    struct Row {
        std::string authorization;
        std::string code;
    };
    const std::string expired = token_of(made_.client_object_id, std::chrono::seconds(-3601));
    for (const auto& [authorization, code] : std::initializer_list<Row>{
             {"", "AuthenticationFailed"},
             {"Basic abc", "InvalidAuthenticationToken"},
             {"Bearer ", "InvalidAuthenticationToken"},
             {"Bearer a.b.c", "InvalidAuthenticationToken"},
             {"Bearer " + expired, "ExpiredAuthenticationToken"},
             {"Bearer " + token_of(random_.uuid()), "InvalidAuthenticationToken"}}) {
        http::Headers headers;
        if (!authorization.empty()) {
            headers.emplace_back("Authorization", authorization);
        }
        for (const std::string& path : {widget() + kV, widget(), std::string("/nowhere")}) {
            const auto answer = ask_as("", "GET", path, "", headers);
            EXPECT_EQ(answer.status, 401) << path;
            EXPECT_EQ(answer.code(), code) << path;
            EXPECT_TRUE(answer.header("www-authenticate").starts_with("Bearer ")) << path;
        }
    }
    EXPECT_EQ(handled_, 0);
}

TEST_F(FrontTest, ATokenStopsAtItsEndEvenWhenSeenBefore) {
    EXPECT_EQ(ask("GET", widget() + kV).status, 200);
    clock_.advance(std::chrono::seconds(3599));
    EXPECT_EQ(ask("GET", widget() + kV).status, 200);
    clock_.advance(std::chrono::seconds(1));
    EXPECT_EQ(ask("GET", widget() + kV).code(), "ExpiredAuthenticationToken");
}

TEST_F(FrontTest, ApiVersionsAreDates) {
    EXPECT_EQ(ask("GET", widget()).code(), "MissingApiVersionParameter");
    for (const char* bad : {"1", "2014-12-31", "2028-01-01", "2024-13-01", "2024-01-32",
                            "2024-5-01", "2024-05-01-beta", "2024-05-01x", "latest", "20240501"}) {
        const auto answer = ask("GET", widget() + "?api-version=" + bad);
        EXPECT_EQ(answer.status, 400) << bad;
        EXPECT_EQ(answer.code(), "InvalidApiVersionParameter") << bad;
    }
    for (const char* good :
         {"2015-01-01", "2027-12-31", "2022-10-14-preview", "2022-10-14-PREVIEW"}) {
        EXPECT_EQ(ask("GET", widget() + "?api-version=" + good).status, 200) << good;
    }
}

TEST_F(FrontTest, UnknownTypesPathsAndMethods) {
    struct Row {
        std::string method, path;
        int status;
        std::string code;
    };
    const std::string rg = sub() + "/resourceGroups/rg1";
    for (const auto& [method, path, status, code] : std::initializer_list<Row>{
             {"GET", rg + "/providers/Microsoft.Network/gadgets/g", 404, "InvalidResourceType"},
             {"GET", rg + "/providers/Contoso.Things/a/b", 400, "NoRegisteredProviderFound"},
             {"PATCH", widget(), 405, "MethodNotAllowed"},
             {"PUT", rg + "/providers/Microsoft.Network/widgets", 405, "MethodNotAllowed"},
             {"DELETE", rg + "/providers/Microsoft.Network/widgets", 405, "MethodNotAllowed"},
             {"DELETE", sub() + "/resourceGroups", 405, "MethodNotAllowed"},
             {"DELETE", "/culvert/principals", 405, "MethodNotAllowed"},
             {"BREW", widget(), 405, "MethodNotAllowed"},
             {"POST", widget() + "/prod", 405, "MethodNotAllowed"},
             {"GET", "/nowhere", 404, "NotFound"},
             {"GET", "/", 404, "NotFound"},
             {"GET", sub() + "/teapots", 404, "NotFound"},
             {"GET", "/subscriptions/x/y/z", 400, "InvalidResourceId"},
             {"GET", widget("a|b"), 400, "InvalidResourceId"},
             {"GET", "/subscriptions/" + random_.uuid() + "/resourceGroups/rg1", 404,
              "SubscriptionNotFound"},
             {"GET", widget("w", "none"), 404, "ResourceGroupNotFound"}}) {
        const auto answer = ask(method, path + kV);
        EXPECT_EQ(answer.status, status) << method << " " << path << answer.text;
        EXPECT_EQ(answer.code(), code) << method << " " << path;
    }
    EXPECT_EQ(handled_, 0);
}

TEST_F(FrontTest, WithoutTheRightNothingIsDoneOrTold) {
    const auto reader = make_caller("reader", "Reader", sub());
    const auto nobody = make_caller("nobody", "", "");
    EXPECT_EQ(ask_as(reader, "GET", widget() + kV).status, 200);
    const int before = handled_;
    const auto refused = ask_as(reader, "PUT", widget() + kV, "{not json");
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(refused.code(), "AuthorizationFailed");
    for (const std::string& part : {std::string("reader"), object_ids_["reader"],
                                    std::string("Microsoft.Network/widgets/write"), widget()}) {
        EXPECT_NE(refused.text.find(part), std::string::npos) << part;
    }
    const auto existing = ask_as(nobody, "GET", widget("w", "rg1") + kV);
    const auto absent = ask_as(nobody, "GET", widget("w", "none") + kV);
    EXPECT_EQ(existing.status, 403);
    EXPECT_EQ(absent.status, 403);
    EXPECT_EQ(handled_, before);
}

TEST_F(FrontTest, AssignmentsAtAGroupDoNotReachItsSiblings) {
    make_group("rg10");
    const auto token = make_caller("one", "Contributor", sub() + "/resourceGroups/rg1");
    EXPECT_EQ(ask_as(token, "PUT", widget("w", "rg1") + kV, "{}").status, 200);
    EXPECT_EQ(ask_as(token, "PUT", widget("w", "rg10") + kV, "{}").status, 403);
    EXPECT_EQ(ask_as(token, "GET", sub() + "/resourcegroups" + kV).status, 403);
}

TEST_F(FrontTest, BadBodiesNameTheirPlace) {
    struct Row {
        std::string body, place;
    };
    std::string deep;
    for (std::size_t i = 0; i < limits::kJsonDepth + 1; ++i) {
        deep += '[';
    }
    for (const auto& [body, place] :
         std::initializer_list<Row>{{"{\n  \"a\": ,\n}", "line 2, column 8"},
                                    {"{", "line 1"},
                                    {"{} {}", "line 1, column 4"},
                                    {"{\"a\":\"\xff\"}", "line 1"},
                                    {deep, "line 1"}}) {
        const auto answer = ask("PUT", widget() + kV, body);
        EXPECT_EQ(answer.status, 400) << body;
        EXPECT_EQ(answer.code(), "InvalidRequestContent") << body;
        EXPECT_NE(answer.text.find(place), std::string::npos) << answer.text;
    }
    EXPECT_EQ(handled_, 0);
}

TEST_F(FrontTest, RequestsOfASubscriptionAreCountedAndBounded) {
    const auto read = ask("GET", widget() + kV);
    EXPECT_EQ(read.header("x-ms-ratelimit-remaining-subscription-reads"), "19999");
    const auto write = ask("PUT", widget() + kV, "{}");
    EXPECT_EQ(write.header("x-ms-ratelimit-remaining-subscription-writes"), "19999");
    // one caller cannot use up what another may ask
    const auto other = make_caller("other", "Reader", sub());
    const auto theirs = ask_as(other, "GET", widget() + kV);
    EXPECT_EQ(theirs.header("x-ms-ratelimit-remaining-subscription-reads"), "19999");
    RateLimit limit;
    const SteadyTime start{};
    for (int i = 0; i < 20000; ++i) {
        ASSERT_EQ(limit.take("s", start), 19999 - i);
    }
    EXPECT_LT(limit.take("s", start), 0);
    EXPECT_EQ(limit.take("t", start), 19999);
    EXPECT_EQ(limit.take("s", start + std::chrono::seconds(1)), 1999);
}

TEST(RateLimit, ADearRequestTakesMoreAndKeysThatAreFullAgainAreForgotten) {
    RateLimit limit;
    const SteadyTime start{};
    EXPECT_EQ(limit.take("t", start, 15000), 5000);
    EXPECT_LT(limit.take("t", start, 5001), 0);
    EXPECT_EQ(limit.take("t", start, 5000), 0);
    const auto later = start + std::chrono::seconds(11);
    for (std::size_t i = 0; i < 2 * RateLimit::kKeys; ++i) {
        ASSERT_GE(limit.take(std::to_string(i), i < RateLimit::kKeys ? start : later), 0);
    }
}

TEST_F(FrontTest, WhoMayDoNothingTakesNothingFromTheSubscriptionsShare) {
    const auto token = make_caller("nobody", "", "");
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(ask_as(token, "GET", widget() + kV).status, 403);
    }
    EXPECT_EQ(ask("GET", widget() + kV).header("x-ms-ratelimit-remaining-subscription-reads"),
              "19999");
}

TEST_F(FrontTest, HealthNeedsNoToken) {
    EXPECT_EQ(ask_as("", "GET", "/healthz").status, 200);
    EXPECT_EQ(ask_as("", "GET", "/readyz").status, 200);
    unready_ = "not ready: the disk of the store is full";
    EXPECT_EQ(ask_as("", "GET", "/readyz").status, 503);
    EXPECT_EQ(ask_as("", "GET", "/readyz").text, unready_ + "\n");
    EXPECT_EQ(ask_as("", "GET", "/healthz").status, 200);
}

TEST_F(FrontTest, WhatTheServerRefusesByItselfCarriesIdsToo) {
    http::Response response{413, {}, {}};
    front_->refused(response);
    EXPECT_EQ(http::find_header(response.headers, "x-ms-request-id").size(), 36U);
    EXPECT_EQ(http::find_header(response.headers, "x-ms-correlation-request-id").size(), 36U);
}

TEST_F(FrontTest, AThrowingHandlerAnswers500) {
    registry_.add("Microsoft.Network/bombs", "GET", "",
                  [](const Call&, const ReplyFn&) { throw std::runtime_error("planted"); });
    const auto answer =
        ask("GET", sub() + "/resourceGroups/rg1/providers/Microsoft.Network/bombs/b" + kV);
    EXPECT_EQ(answer.status, 500);
    EXPECT_EQ(answer.text.find("planted"), std::string::npos);
}

TEST_F(FrontTest, ListsResourcesByFilter) {
    store::Txn txn;
    for (const char* name : {"v1", "v2"}) {
        const std::string id =
            sub() + "/resourceGroups/rg1/providers/Microsoft.Network/virtualNetworks/" + name;
        txn.success.push_back(store::put(
            keys::resource(model::lower(id)),
            fmt::format(R"({{"id":"{}","location":"local","tags":{{"env":"{}"}}}})", id, name)));
    }
    ASSERT_TRUE(store_->txn(txn)->succeeded);
    const auto names = [&](const std::string& scope, const std::string& filter) {
        const auto answer =
            ask("GET", sub() + scope + "/resources" + kV +
                           (filter.empty() ? "" : "&$filter=" + http::percent_encode(filter)));
        EXPECT_EQ(answer.status, 200) << answer.text;
        std::string out;
        for (const auto& item : answer.body.at("value").as_array()) {
            out += std::string(item.at("name").as_string()) + ",";
            EXPECT_EQ(item.at("type").as_string(), "Microsoft.Network/virtualNetworks");
        }
        return out;
    };
    EXPECT_EQ(names("", ""), "v1,v2,");
    EXPECT_EQ(names("/resourceGroups/rg1", ""), "v1,v2,");
    EXPECT_EQ(names("",
                    "resourceGroup eq 'RG1' and name eq 'V2' and resourceType eq "
                    "'microsoft.network/virtualnetworks'"),
              "v2,");
    EXPECT_EQ(names("", "resourceGroup eq 'rg'"), "");
    EXPECT_EQ(names("", "tagName eq 'env' and tagValue eq 'v1'"), "v1,");
    EXPECT_EQ(names("", "resourceType eq 'Microsoft.Network/loadBalancers'"), "");
    EXPECT_EQ(ask("GET", sub() + "/resources" + kV + "&$filter=colour+eq+'red'").code(),
              "InvalidFilterInQueryString");
}

TEST_F(FrontTest, LongListsGoOnAtTheirNextLink) {
    for (int page = 0; page < 6; ++page) {
        store::Txn txn;
        for (int i = 0; i < 100; ++i) {
            const std::string id =
                fmt::format("{}/resourceGroups/rg1/providers/Microsoft.Network/widgets/w{:03}",
                            sub(), page * 100 + i);
            txn.success.push_back(
                store::put(keys::resource(model::lower(id)), fmt::format(R"({{"id":"{}"}})", id)));
        }
        ASSERT_TRUE(store_->txn(txn)->succeeded);
    }
    const auto first = ask("GET", sub() + "/resources" + kV + "&$filter=resourceGroup+eq+'rg1'");
    EXPECT_EQ(first.body.at("value").as_array().size(), 500U);
    std::string next(first.body.at("nextLink").as_string());
    ASSERT_TRUE(next.starts_with("https://127.0.0.1:8443/")) << next;
    const auto second = ask("GET", next.substr(22));
    EXPECT_EQ(second.body.at("value").as_array().size(), 100U);
    EXPECT_EQ(second.body.at("value").at(0).at("name").as_string(), "w500");
    EXPECT_FALSE(second.body.as_object().contains("nextLink"));
}

TEST_F(FrontTest, TellsItsProvidersAndLocations) {
    const auto provider = ask("GET", sub() + "/providers/microsoft.network" + kV);
    ASSERT_EQ(provider.status, 200) << provider.text;
    EXPECT_EQ(provider.body.at("namespace").as_string(), "Microsoft.Network");
    EXPECT_EQ(provider.body.at("resourceTypes").at(0).at("resourceType").as_string(), "widgets");
    EXPECT_FALSE(provider.body.at("resourceTypes").at(0).at("apiVersions").as_array().empty());
    EXPECT_EQ(ask("POST", sub() + "/providers/Microsoft.Network/register" + kV).status, 200);
    EXPECT_EQ(ask("GET", sub() + "/providers/Contoso" + kV).status, 404);
    EXPECT_EQ(ask("GET", sub() + "/providers/Culvert" + kV).status, 404);
    EXPECT_GE(ask("GET", sub() + "/providers" + kV).body.at("value").as_array().size(), 3U);
    const auto locations = ask("GET", sub() + "/locations" + kV);
    EXPECT_EQ(locations.body.at("value").at(0).at("name").as_string(), "local");
}

TEST(Filter, ParsesTermsJoinedByAnd) {
    using Terms = std::vector<FilterTerm>;
    EXPECT_EQ(*parse_filter(""), Terms{});
    EXPECT_EQ(*parse_filter("a eq 'it''s' AND atScope() and f('x')"),
              (Terms{{"a", "it's", false}, {"atscope", "", true}, {"f", "x", true}}));
    for (const char* bad : {"a", "a eq", "a eq b", "a eq 'b", "a ne 'b'", "a eq 'b' c eq 'd'",
                            "a eq 'b' or c eq 'd'", "f(", "f('x'", "and", "'a'", "a eq 'b' and"}) {
        EXPECT_EQ(parse_filter(bad).error().arm_code, "InvalidFilterInQueryString") << bad;
    }
}

TEST(Errors, HaveTheArmForm) {
    const Reply one = error_reply({Code::kNotFound, "m", "t", "", {}});
    EXPECT_EQ(one.status, 404);
    EXPECT_EQ(one.body.at("error").at("code").as_string(), "ResourceNotFound");
    EXPECT_EQ(one.body.at("error").at("target").as_string(), "t");
    const Reply two = errors_reply({{Code::kInvalidArgument, "a", "x", "CodeA", {}},
                                    {Code::kInvalidArgument, "b", "y", "CodeB", {}}});
    EXPECT_EQ(two.status, 400);
    EXPECT_EQ(two.body.at("error").at("code").as_string(), "CodeA");
    EXPECT_EQ(two.body.at("error").at("details").as_array().size(), 2U);
    EXPECT_EQ(errors_reply({{Code::kConflict, "a", "", "C", {}}})
                  .body.at("error")
                  .at("details")
                  .as_array()
                  .size(),
              0U);
    EXPECT_EQ(errors_reply({}).status, 500);
    EXPECT_EQ(http::find_header(error_reply({Code::kUnavailable, "m", "", "", {}}).headers,
                                "retry-after"),
              "1");
}

}  // namespace
}  // namespace culvert::control
