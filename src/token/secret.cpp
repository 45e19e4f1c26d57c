// SPDX-License-Identifier: Apache-2.0
#include "token/secret.hpp"

#include "base/assert.hpp"
#include "token/base64url.hpp"

#include <sodium.h>

#include <array>

namespace culvert::token {

namespace {

constexpr auto kOperations = crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE;
constexpr auto kMemory = crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE;

void set_up() {
    static const int ready = sodium_init();
    CULVERT_ASSERT(ready >= 0);
}

}  // namespace

std::string new_secret(Random& random) {
    std::string raw(30, '\0');
    random.fill(std::span(reinterpret_cast<std::uint8_t*>(raw.data()), raw.size()));
    return base64url_encode(raw);
}

Result<std::string> hash_secret(std::string_view secret) {
    set_up();
    if (secret.empty()) {
        return fail(Code::kInvalidArgument, "secret is empty");
    }
    if (secret.size() > kSecretBytes) {
        return fail(Code::kTooLarge, "secret is longer than 256 bytes");
    }
    std::array<char, crypto_pwhash_STRBYTES> out{};
    if (crypto_pwhash_str_alg(out.data(), secret.data(), secret.size(), kOperations, kMemory,
                              crypto_pwhash_ALG_ARGON2ID13) != 0) {
        return fail(Code::kUnavailable, "hash secret: out of memory");
    }
    return std::string(out.data());
}

bool verify_secret(const std::string& hash, std::string_view secret) {
    set_up();
    if (secret.size() > kSecretBytes || hash.size() >= crypto_pwhash_STRBYTES) {
        return false;
    }
    std::array<char, crypto_pwhash_STRBYTES> padded{};  // the library reads the whole array
    hash.copy(padded.data(), hash.size());
    return crypto_pwhash_str_verify(padded.data(), secret.data(), secret.size()) == 0;
}

const std::string& nobody() {
    static const std::string hash = hash_secret("no one has this secret").value_or("");
    return hash;
}

bool equal_constant_time(std::string_view a, std::string_view b) {
    return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string sha256_hex(std::string_view bytes) {
    std::array<unsigned char, crypto_hash_sha256_BYTES> digest{};
    crypto_hash_sha256(digest.data(), reinterpret_cast<const unsigned char*>(bytes.data()),
                       bytes.size());
    std::string out(digest.size() * 2 + 1, '\0');
    sodium_bin2hex(out.data(), out.size(), digest.data(), digest.size());
    out.pop_back();
    return out;
}

}  // namespace culvert::token
