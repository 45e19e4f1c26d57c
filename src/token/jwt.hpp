// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens (RFC 7519) with ES256 (RFC 7518 3.4) and no other algorithm: the header's "alg"
// is checked, never obeyed.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::token {

inline constexpr std::size_t kTokenBytes = 8 * 1024;
// Clocks of several issuers may differ; a token may be used this much before its nbf.
inline constexpr std::int64_t kSkewSeconds = 60;

// Times are seconds since 1970. Empty texts are left out of the token.
struct Claims {
    std::string iss;
    std::string aud;
    std::string sub;
    std::string oid;    // principal's object id
    std::string tid;    // tenant
    std::string appid;  // client that signed in
    std::string upn;    // user's name
    std::string name;
    std::string jti;
    std::int64_t iat = 0;
    std::int64_t nbf = 0;
    std::int64_t exp = 0;

    bool operator==(const Claims&) const = default;
};

// A P-256 key pair. Immutable after construction.
class SigningKey {
  public:
    static Result<SigningKey> generate();
    // PKCS#8 PEM. Errors: kCorrupt when it is not a P-256 private key.
    static Result<SigningKey> from_pem(const std::string& pem);
    std::string pem() const;
    // The JWK thumbprint (RFC 7638), so that a key has one name.
    const std::string& id() const { return id_; }
    // The public key as a JSON Web Key.
    std::string jwk() const;

    Result<std::string> sign(const Claims& claims) const;
    // Raw ES256 signature over `input`: 64 bytes.
    bool verifies(std::string_view input, std::string_view signature) const;

  private:
    explicit SigningKey(std::shared_ptr<void> key);

    std::shared_ptr<void> key_;  // EVP_PKEY
    std::string id_;
    std::string x_;
    std::string y_;
};

// Checks form, algorithm, key id, signature, issuer, audience and times, in this order. Errors:
// kUnauthenticated with arm_code ExpiredAuthenticationToken for a token of ours that is past,
// InvalidAuthenticationToken for all else (arm-contract 12).
Result<Claims> verify(const std::vector<SigningKey>& keys, std::string_view token,
                      std::string_view issuer, std::string_view audience, WallTime now);

std::int64_t to_seconds(WallTime time);

}  // namespace culvert::token
