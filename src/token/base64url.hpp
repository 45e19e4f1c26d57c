// SPDX-License-Identifier: Apache-2.0
// base64url without padding (RFC 4648 5, RFC 7515 2).
#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

namespace culvert::token {

std::string base64url_encode(std::string_view bytes);

// Strict: no padding, no other characters, no stray bits in the last one, so that a text has one
// encoding only. Errors: kInvalidArgument.
Result<std::string> base64url_decode(std::string_view text);

}  // namespace culvert::token
