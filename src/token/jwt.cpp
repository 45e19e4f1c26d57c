// SPDX-License-Identifier: Apache-2.0
#include "token/jwt.hpp"

#include "base/assert.hpp"
#include "token/base64url.hpp"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <boost/json.hpp>

#include <array>

namespace culvert::token {

namespace json = boost::json;

namespace {

constexpr std::size_t kCoordinateBytes = 32;
constexpr std::size_t kJsonDepth = 8;

template <auto Free>
struct Deleter {
    template <typename T>
    void operator()(T* p) const {
        Free(p);
    }
};
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, Deleter<ECDSA_SIG_free>>;

// An encrypted key is one that cannot be read: nobody sits at a prompt.
int no_password(char*, int, int, void*) { return -1; }

EVP_PKEY* as_key(const std::shared_ptr<void>& key) { return static_cast<EVP_PKEY*>(key.get()); }

std::shared_ptr<void> own(EVP_PKEY* key) {
    return {key, [](void* p) { EVP_PKEY_free(static_cast<EVP_PKEY*>(p)); }};
}

bool is_p256(EVP_PKEY* key) {
    std::array<char, 64> group{};
    std::size_t length = 0;
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) == 1 &&
           std::string_view(group.data(), length) == "prime256v1";
}

std::string coordinate(EVP_PKEY* key, const char* name) {
    BIGNUM* number = nullptr;
    CULVERT_ASSERT(EVP_PKEY_get_bn_param(key, name, &number) == 1);
    std::array<unsigned char, kCoordinateBytes> bytes{};
    CULVERT_ASSERT(BN_bn2binpad(number, bytes.data(), kCoordinateBytes) ==
                   static_cast<int>(kCoordinateBytes));
    BN_free(number);
    return base64url_encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::unexpected<Error> invalid(std::string message) {
    return fail(Code::kUnauthenticated, std::move(message), {}, "InvalidAuthenticationToken");
}

// One part of a token: base64url of a JSON object.
Result<json::object> parse_part(std::string_view part) {
    auto text = base64url_decode(part);
    if (!text) {
        return invalid("the access token is not base64url");
    }
    json::parse_options options;
    options.max_depth = kJsonDepth;
    json::error_code ec;
    auto value = json::parse(*text, ec, {}, options);
    if (ec || !value.is_object()) {
        return invalid("the access token is not made of json objects");
    }
    return std::move(value.as_object());
}

std::string text_of(const json::object& object, std::string_view name) {
    const auto* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

// RFC 7519 2 NumericDate; a token of ours has whole seconds.
std::int64_t seconds_of(const json::object& object, std::string_view name) {
    const auto* value = object.if_contains(name);
    return value != nullptr && value->is_int64() ? value->as_int64() : 0;
}

std::string encode(const Claims& claims) {
    json::object out;
    const std::pair<const char*, const std::string*> texts[] = {
        {"iss", &claims.iss}, {"aud", &claims.aud},   {"sub", &claims.sub},
        {"oid", &claims.oid}, {"tid", &claims.tid},   {"appid", &claims.appid},
        {"upn", &claims.upn}, {"name", &claims.name}, {"jti", &claims.jti}};
    for (const auto& [name, value] : texts) {
        if (!value->empty()) {
            out[name] = *value;
        }
    }
    out["iat"] = claims.iat;
    out["nbf"] = claims.nbf;
    out["exp"] = claims.exp;
    return json::serialize(out);
}

}  // namespace

std::int64_t to_seconds(WallTime time) {
    return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

SigningKey::SigningKey(std::shared_ptr<void> key)
    : key_(std::move(key)),
      x_(coordinate(as_key(key_), OSSL_PKEY_PARAM_EC_PUB_X)),
      y_(coordinate(as_key(key_), OSSL_PKEY_PARAM_EC_PUB_Y)) {
    const std::string members =
        fmt::format(R"({{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}})", x_, y_);
    std::array<unsigned char, 32> digest{};
    CULVERT_ASSERT(EVP_Digest(members.data(), members.size(), digest.data(), nullptr, EVP_sha256(),
                              nullptr) == 1);
    id_ = base64url_encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

Result<SigningKey> SigningKey::generate() {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    if (key == nullptr) {
        return fail(Code::kInternal, "generate signing key: refused by the library");
    }
    return SigningKey(own(key));
}

Result<SigningKey> SigningKey::from_pem(const std::string& pem) {
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    auto key = own(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
    if (key == nullptr || !is_p256(as_key(key))) {
        return fail(Code::kCorrupt, "read signing key: not a P-256 private key");
    }
    return SigningKey(std::move(key));
}

std::string SigningKey::pem() const {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    CULVERT_ASSERT(PEM_write_bio_PrivateKey(bio.get(), as_key(key_), nullptr, nullptr, 0, nullptr,
                                            nullptr) == 1);
    char* data = nullptr;
    const auto size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

std::string SigningKey::jwk() const {
    return fmt::format(
        R"({{"kty":"EC","use":"sig","alg":"ES256","crv":"P-256","kid":"{}","x":"{}","y":"{}"}})",
        id_, x_, y_);
}

Result<std::string> SigningKey::sign(const Claims& claims) const {
    const std::string header = fmt::format(R"({{"alg":"ES256","kid":"{}","typ":"JWT"}})", id_);
    std::string out = base64url_encode(header) + "." + base64url_encode(encode(claims));
    const DigestPtr context(EVP_MD_CTX_new());
    std::array<unsigned char, 128> der{};
    std::size_t length = der.size();
    if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, as_key(key_)) != 1 ||
        EVP_DigestSign(context.get(), der.data(), &length,
                       reinterpret_cast<const unsigned char*>(out.data()), out.size()) != 1) {
        return fail(Code::kInternal, "sign token: refused by the library");
    }
    const unsigned char* at = der.data();
    const SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(length)));
    CULVERT_ASSERT(signature != nullptr);
    std::array<unsigned char, 2 * kCoordinateBytes> raw{};  // RFC 7518 3.4: r and s, big endian
    BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw.data(), kCoordinateBytes);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw.data() + kCoordinateBytes,
                 kCoordinateBytes);
    return out + "." + base64url_encode({reinterpret_cast<const char*>(raw.data()), raw.size()});
}

bool SigningKey::verifies(std::string_view input, std::string_view signature) const {
    if (signature.size() != 2 * kCoordinateBytes) {
        return false;
    }
    const auto* raw = reinterpret_cast<const unsigned char*>(signature.data());
    const SignaturePtr parts(ECDSA_SIG_new());
    ECDSA_SIG_set0(parts.get(), BN_bin2bn(raw, kCoordinateBytes, nullptr),
                   BN_bin2bn(raw + kCoordinateBytes, kCoordinateBytes, nullptr));
    unsigned char* der = nullptr;
    const int length = i2d_ECDSA_SIG(parts.get(), &der);
    if (length <= 0) {
        return false;
    }
    const DigestPtr context(EVP_MD_CTX_new());
    const bool good =
        EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, as_key(key_)) == 1 &&
        EVP_DigestVerify(context.get(), der, static_cast<std::size_t>(length),
                         reinterpret_cast<const unsigned char*>(input.data()), input.size()) == 1;
    OPENSSL_free(der);
    return good;
}

Result<Claims> verify(const std::vector<SigningKey>& keys, std::string_view token,
                      std::string_view issuer, std::string_view audience, WallTime now) {
    if (token.size() > kTokenBytes) {
        return invalid("the access token is too long");
    }
    const auto first = token.find('.');
    const auto second = first == token.npos ? token.npos : token.find('.', first + 1);
    if (second == token.npos || token.find('.', second + 1) != token.npos) {
        return invalid("the access token is not made of three parts");
    }
    const auto header = parse_part(token.substr(0, first));
    if (!header) {
        return std::unexpected(header.error());
    }
    if (text_of(*header, "alg") != "ES256" || header->contains("crit")) {
        return invalid("the access token's algorithm is not ES256");
    }
    const std::string kid = text_of(*header, "kid");
    const auto signature = base64url_decode(token.substr(second + 1));
    bool good = false;
    for (const auto& key : keys) {
        good = good ||
               (signature && key.id() == kid && key.verifies(token.substr(0, second), *signature));
    }
    if (!good) {
        return invalid("the access token's signature is not valid");
    }
    const auto body = parse_part(token.substr(first + 1, second - first - 1));
    if (!body) {
        return std::unexpected(body.error());
    }
    Claims claims{text_of(*body, "iss"),    text_of(*body, "aud"),    text_of(*body, "sub"),
                  text_of(*body, "oid"),    text_of(*body, "tid"),    text_of(*body, "appid"),
                  text_of(*body, "upn"),    text_of(*body, "name"),   text_of(*body, "jti"),
                  seconds_of(*body, "iat"), seconds_of(*body, "nbf"), seconds_of(*body, "exp")};
    if (claims.iss != issuer || claims.aud != audience) {
        return invalid("the access token is for another audience or from another issuer");
    }
    if (to_seconds(now) + kSkewSeconds < claims.nbf) {
        return invalid("the access token is not valid yet");
    }
    if (to_seconds(now) >= claims.exp) {
        return fail(Code::kUnauthenticated, "the access token has expired", {},
                    "ExpiredAuthenticationToken");
    }
    return claims;
}

}  // namespace culvert::token
