// SPDX-License-Identifier: Apache-2.0
// token: what proves who is calling. Promise: a token that verifies was signed by one of our keys
// with ES256 and nothing else, for the audience asked about, and is valid now; whatever is fed in
// costs bounded work; secrets are compared in constant time and kept only as argon2id hashes. Pure
// but for key generation and salts, which take the library's randomness.
#pragma once

#include "token/base64url.hpp"  // IWYU pragma: export
#include "token/jwt.hpp"        // IWYU pragma: export
#include "token/secret.hpp"     // IWYU pragma: export
