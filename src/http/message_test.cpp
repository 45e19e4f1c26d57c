// SPDX-License-Identifier: Apache-2.0
#include "http/message.hpp"

#include <gtest/gtest.h>

namespace culvert::http {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(Message, SplitsAndDecodesATarget) {
    const auto target = parse_target("/a%2Fb//c%20d/?x=1&y=a+b%26c&z&=v&&");
    ASSERT_TRUE(target.has_value());
    EXPECT_EQ(target->path, "/a/b//c d/");
    EXPECT_EQ(target->query, (Pairs{{"x", "1"}, {"y", "a b&c"}, {"z", ""}, {"", "v"}}));
}

TEST(Message, TakesTheAbsoluteForm) {
    EXPECT_EQ(parse_target("https://host:8443/p?q=1")->path, "/p");
    EXPECT_EQ(parse_target("https://host")->path, "/");
    EXPECT_EQ(parse_target("https://host?q=1")->query, (Pairs{{"q", "1"}}));
}

TEST(Message, APlusInThePathStaysAPlus) { EXPECT_EQ(parse_target("/a+b")->path, "/a+b"); }

TEST(Message, RefusesBadEscapesAndControls) {
    for (const char* bad : {"/%", "/%1", "/%zz", "/%00", "/a%0d%0aX: y", "/?a=%0a", "*", "",
                            "nonsense", "/?%=1", "/%7f"}) {
        EXPECT_FALSE(parse_target(bad).has_value()) << bad;
    }
}

TEST(Message, BoundsTheNumberOfFields) {
    EXPECT_TRUE(parse_form("a=1&b=2&c=%0A", 3).has_value());
    EXPECT_EQ(parse_form("a=1&b=2&c=3", 2).error().code, Code::kTooLarge);
    std::string query = "/?";
    for (int i = 0; i < 201; ++i) {
        query += "a&";
    }
    EXPECT_EQ(parse_target(query).error().code, Code::kTooLarge);
}

TEST(Message, WhatIsEncodedDecodesToItself) {
    EXPECT_EQ(percent_encode("a'b c&d+\xc3\xa9~"), "a%27b%20c%26d%2B%C3%A9~");
    EXPECT_EQ(parse_target("/?q=" + percent_encode("a'b c&d+=%"))->query[0].second, "a'b c&d+=%");
}

TEST(Message, FindsHeadersAndParametersWithoutCase) {
    EXPECT_EQ(find_header({{"Content-TYPE", "x"}}, "content-type"), "x");
    EXPECT_EQ(find_header({{"Content-Type2", "x"}}, "content-type"), "");
    Request request;
    request.query = {{"API-Version", "1"}, {"api-version", "2"}};
    EXPECT_EQ(request.parameter("api-version"), "1");
    EXPECT_EQ(request.parameter("$filter"), "");
}

TEST(Message, EveryCodeHasItsStatus) {
    EXPECT_EQ(status_of(Code::kInvalidArgument), 400);
    EXPECT_EQ(status_of(Code::kUnauthenticated), 401);
    EXPECT_EQ(status_of(Code::kPermissionDenied), 403);
    EXPECT_EQ(status_of(Code::kNotFound), 404);
    EXPECT_EQ(status_of(Code::kConflict), 409);
    EXPECT_EQ(status_of(Code::kPreconditionFailed), 412);
    EXPECT_EQ(status_of(Code::kTooLarge), 413);
    EXPECT_EQ(status_of(Code::kThrottled), 429);
    EXPECT_EQ(status_of(Code::kUnavailable), 503);
    EXPECT_EQ(status_of(Code::kTimeout), 504);
    EXPECT_EQ(status_of(Code::kCorrupt), 500);
    EXPECT_EQ(status_of(Code::kInternal), 500);
}

}  // namespace
}  // namespace culvert::http
