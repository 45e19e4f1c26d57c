// SPDX-License-Identifier: Apache-2.0
#include "base/random.hpp"

#include "base/assert.hpp"

#include <sys/random.h>

#include <array>
#include <bit>
#include <cerrno>

namespace culvert {

std::uint64_t Random::u64() {
    std::array<std::uint8_t, 8> bytes{};
    fill(bytes);
    return std::bit_cast<std::uint64_t>(bytes);
}

std::uint64_t Random::below(std::uint64_t bound) {
    CULVERT_ASSERT(bound > 0);
    const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;  // rejection keeps it uniform
    std::uint64_t value = u64();
    while (value >= limit) {
        value = u64();
    }
    return value % bound;
}

std::string Random::hex(std::size_t bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string raw(bytes, '\0');
    fill(std::span(reinterpret_cast<std::uint8_t*>(raw.data()), raw.size()));
    std::string out;
    out.reserve(bytes * 2);
    for (const char c : raw) {
        const auto b = static_cast<std::uint8_t>(c);
        out.push_back(kDigits[b >> 4]);
        out.push_back(kDigits[b & 15]);
    }
    return out;
}

std::string Random::uuid() {
    std::string h = hex(16);
    h[12] = '4';
    const char variant[] = "89ab";
    h[16] = variant[below(4)];
    return h.substr(0, 8) + "-" + h.substr(8, 4) + "-" + h.substr(12, 4) + "-" + h.substr(16, 4) +
           "-" + h.substr(20);
}

void SystemRandom::fill(std::span<std::uint8_t> out) {
    std::size_t done = 0;
    while (done < out.size()) {
        const ssize_t n = getrandom(out.data() + done, out.size() - done, 0);
        if (n < 0) {
            CULVERT_ASSERT(errno == EINTR);
            continue;
        }
        done += static_cast<std::size_t>(n);
    }
}

}  // namespace culvert
