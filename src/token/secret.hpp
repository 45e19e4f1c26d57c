// SPDX-License-Identifier: Apache-2.0
// Passwords and client secrets: argon2id with libsodium's interactive limits (64 MiB, about 50 ms
// of one core).
#pragma once

#include "base/random.hpp"
#include "base/result.hpp"

#include <string>
#include <string_view>

namespace culvert::token {

// The limit that sign-in and creation put on secrets; longer ones are refused before any work.
inline constexpr std::size_t kSecretBytes = 256;

// 40 characters of base64url: 240 bits.
std::string new_secret(Random& random);

// The encoded hash, with its own salt ("$argon2id$v=19$..."). Errors: kTooLarge, kInvalidArgument
// (empty), kUnavailable (memory).
Result<std::string> hash_secret(std::string_view secret);

// False for a wrong secret and for a hash that is not one of ours. Costs the same either way: an
// unknown principal is verified against nobody(), so that answers do not tell who exists.
bool verify_secret(const std::string& hash, std::string_view secret);
const std::string& nobody();

// Without an early exit on the first difference; lengths are not secret.
bool equal_constant_time(std::string_view a, std::string_view b);

// SHA-256 as lower-case hex, for one-time tokens that are random already.
std::string sha256_hex(std::string_view bytes);

}  // namespace culvert::token
