// SPDX-License-Identifier: Apache-2.0
#include "token/token.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace culvert::token {
namespace {

using namespace std::chrono_literals;

const WallTime kNow{std::chrono::seconds(1'800'000'000)};

Claims claims() {
    return {.iss = "issuer",
            .aud = "arm",
            .sub = "s",
            .oid = "o",
            .tid = "t",
            .appid = "a",
            .upn = "u@x",
            .name = "n",
            .jti = "j",
            .iat = 1'800'000'000,
            .nbf = 1'800'000'000,
            .exp = 1'800'003'600};
}

const std::vector<SigningKey>& keys() {
    static const std::vector<SigningKey> kKeys{*SigningKey::generate(), *SigningKey::generate()};
    return kKeys;
}

Result<Claims> check(std::string_view token, WallTime now = kNow) {
    return verify(keys(), token, "issuer", "arm", now);
}

TEST(Jwt, WhatWasSignedVerifiesWithAnyCurrentKey) {
    for (const auto& key : keys()) {
        const auto token = key.sign(claims());
        ASSERT_TRUE(token.has_value());
        const auto got = check(*token);
        ASSERT_TRUE(got.has_value()) << got.error().message;
        EXPECT_EQ(*got, claims());
    }
}

TEST(Jwt, AKeySurvivesItsPem) {
    const auto again = SigningKey::from_pem(keys()[0].pem());
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->id(), keys()[0].id());
    EXPECT_TRUE(check(*again->sign(claims())).has_value());
    EXPECT_EQ(SigningKey::from_pem("nonsense").error().code, Code::kCorrupt);
}

TEST(Jwt, EveryFlippedBitIsRefused) {
    const std::string token = *keys()[0].sign(claims());
    for (std::size_t i = 0; i < token.size(); ++i) {
        std::string changed = token;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        if (changed != token) {
            EXPECT_FALSE(check(changed).has_value()) << i;
        }
    }
}

TEST(Jwt, AnotherKeysTokenIsRefused) {
    const auto other = SigningKey::generate();
    EXPECT_EQ(check(*other->sign(claims())).error().arm_code, "InvalidAuthenticationToken");
}

TEST(Jwt, OtherAlgorithmsAreRefused) {
    const std::string token = *keys()[0].sign(claims());
    const auto first = token.find('.');
    const std::string rest = token.substr(first);
    for (const char* alg : {"none", "HS256", "RS256", "es256", "ES384"}) {
        const auto header = base64url_encode(
            fmt::format(R"({{"alg":"{}","kid":"{}","typ":"JWT"}})", alg, keys()[0].id()));
        EXPECT_FALSE(check(header + rest).has_value()) << alg;
    }
    const auto none = base64url_encode(R"({"alg":"none"})") + rest.substr(0, rest.rfind('.')) + ".";
    EXPECT_FALSE(check(none).has_value());
}

TEST(Jwt, TimesAreExact) {
    const std::string token = *keys()[0].sign(claims());
    EXPECT_TRUE(check(token, kNow + 3599s).has_value());
    EXPECT_EQ(check(token, kNow + 3600s).error().arm_code, "ExpiredAuthenticationToken");
    EXPECT_TRUE(check(token, kNow - 60s).has_value());
    EXPECT_EQ(check(token, kNow - 61s).error().arm_code, "InvalidAuthenticationToken");
}

TEST(Jwt, IssuerAndAudienceAreExact) {
    const std::string token = *keys()[0].sign(claims());
    EXPECT_FALSE(verify(keys(), token, "issuer", "refresh", kNow).has_value());
    EXPECT_FALSE(verify(keys(), token, "issuer2", "arm", kNow).has_value());
    auto missing = claims();
    missing.aud.clear();
    EXPECT_FALSE(check(*keys()[0].sign(missing)).has_value());
}

TEST(Jwt, ASignatureOfAnotherLengthIsRefused) {
    const auto& key = keys()[0];
    const std::string token = *key.sign(claims());
    const auto dot = token.rfind('.');
    const std::string signature = *base64url_decode(token.substr(dot + 1));
    EXPECT_TRUE(key.verifies(token.substr(0, dot), signature));
    EXPECT_FALSE(key.verifies(token.substr(0, dot), signature.substr(1)));
    EXPECT_FALSE(key.verifies(token.substr(0, dot), signature + "x"));
    EXPECT_FALSE(key.verifies(token.substr(0, dot), std::string(64, '\0')));
}

TEST(Jwt, NonsenseIsRefused) {
    for (const std::string_view text :
         {"", ".", "..", "...", "a.b.c", "e30.e30.e30", "e30..", "opaque"}) {
        EXPECT_EQ(check(text).error().code, Code::kUnauthenticated) << text;
    }
    EXPECT_FALSE(check(std::string(kTokenBytes + 1, 'a')).has_value());
    auto deep = claims();
    deep.name = std::string(kTokenBytes, 'x');
    EXPECT_FALSE(check(*keys()[0].sign(deep)).has_value());
}

TEST(Base64Url, RoundTripsAndIsStrict) {
    std::string bytes;
    for (int i = 0; i < 300; ++i) {
        EXPECT_EQ(*base64url_decode(base64url_encode(bytes)), bytes);
        bytes.push_back(static_cast<char>(i * 37));
    }
    EXPECT_EQ(base64url_encode("\xff\xfe"), "__4");  // RFC 4648 5
    for (const char* bad : {"A", "AA=", "A+AA", "A/AA", "AB", "AAB", "A A", "AAAAA"}) {
        EXPECT_FALSE(base64url_decode(bad).has_value()) << bad;
    }
}

TEST(Secret, HashesVerifyAndDiffer) {
    const auto hash = hash_secret("correct horse");
    ASSERT_TRUE(hash.has_value());
    EXPECT_TRUE(hash->starts_with("$argon2id$"));
    EXPECT_TRUE(verify_secret(*hash, "correct horse"));
    EXPECT_FALSE(verify_secret(*hash, "correct horsf"));
    EXPECT_FALSE(verify_secret(*hash, ""));
    EXPECT_NE(*hash, *hash_secret("correct horse"));
    EXPECT_FALSE(verify_secret("not a hash", "x"));
    EXPECT_FALSE(verify_secret(std::string(5000, '$'), "x"));
    EXPECT_FALSE(verify_secret(nobody(), "anything"));
}

TEST(Secret, LengthsAreBounded) {
    EXPECT_EQ(hash_secret("").error().code, Code::kInvalidArgument);
    EXPECT_EQ(hash_secret(std::string(kSecretBytes + 1, 'x')).error().code, Code::kTooLarge);
    EXPECT_TRUE(hash_secret(std::string(kSecretBytes, 'x')).has_value());
}

TEST(Secret, NewSecretsAreLongAndDifferent) {
    SystemRandom random;
    const std::string one = new_secret(random);
    EXPECT_EQ(one.size(), 40U);
    EXPECT_NE(one, new_secret(random));
}

TEST(Secret, ComparesAndDigests) {
    EXPECT_TRUE(equal_constant_time("abc", "abc"));
    EXPECT_FALSE(equal_constant_time("abc", "abd"));
    EXPECT_FALSE(equal_constant_time("abc", "ab"));
    EXPECT_TRUE(equal_constant_time("", ""));
    EXPECT_EQ(sha256_hex("abc"),  // FIPS 180-2 B.1
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace culvert::token
