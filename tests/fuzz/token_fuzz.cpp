// SPDX-License-Identifier: Apache-2.0
// Tokens from anyone. Even first byte: a whole token; whatever it is, it does not verify. Odd:
// claims, which survive signing and verifying unchanged or are refused.
#include "base/assert.hpp"
#include "token/token.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert;
    static const std::vector<token::SigningKey> keys{*token::SigningKey::generate()};
    if (size == 0) {
        return 0;
    }
    const WallTime now{std::chrono::seconds(1'800'000'000)};
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] % 2 == 0) {
        const auto refused = token::verify(keys, text, "i", "a", now);
        CULVERT_ASSERT(!refused && refused.error().code == Code::kUnauthenticated);
        if (const auto bytes = token::base64url_decode(text)) {
            CULVERT_ASSERT(token::base64url_encode(*bytes) == text);
        }
        CULVERT_ASSERT(*token::base64url_decode(token::base64url_encode(text)) == text);
        (void)keys[0].verifies(text, text.substr(0, 64));
        (void)token::SigningKey::from_pem(std::string(text));
        return 0;
    }
    const auto middle = text.size() / 2;
    const token::Claims claims{.iss = "i",
                               .aud = "a",
                               .sub = {},
                               .oid = std::string(text.substr(0, middle)),
                               .tid = std::string(text.substr(middle)),
                               .appid = {},
                               .upn = {},
                               .name = {},
                               .jti = {},
                               .iat = 1'800'000'000,
                               .nbf = 1'800'000'000,
                               .exp = 1'800'000'001};
    const auto signed_token = keys[0].sign(claims);
    CULVERT_ASSERT(signed_token.has_value());
    const auto got = token::verify(keys, *signed_token, "i", "a", now);
    CULVERT_ASSERT(!got || *got == claims);
    return 0;
}
