// SPDX-License-Identifier: Apache-2.0
#include "control/restore_epoch.hpp"

#include "control/keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace culvert::control {
namespace {

constexpr std::int64_t kFirstSecond = 1767225600;  // 2026-01-01T00:00:00Z
constexpr std::size_t kRandomBytes = 8;

}  // namespace

Result<RestoreEpoch> RestoreEpoch::read(store::Store& store) {
    auto row = store.get(keys::kEpoch);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    RestoreEpoch out;
    if (*row) {
        out.text = (*row)->value;
        const char* end = out.text.data() + out.text.size();
        const auto read = std::from_chars(out.text.data(), end, out.number);
        if (read.ec != std::errc() || (read.ptr != end && *read.ptr != '-')) {
            return fail(Code::kCorrupt, fmt::format("{} is no number", keys::kEpoch));
        }
    }
    return out;
}

RestoreEpoch RestoreEpoch::after(std::uint32_t known, WallTime now, Random& random) {
    const auto second = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
    const std::int64_t number =
        std::clamp(std::max(std::int64_t{known} + 1, std::int64_t{second} - kFirstSecond),
                   std::int64_t{1}, std::int64_t{std::numeric_limits<std::uint32_t>::max()});
    RestoreEpoch out{.number = static_cast<std::uint32_t>(number), .text = {}};
    out.text = fmt::format("{}-{}", out.number, random.hex(kRandomBytes));
    return out;
}

}  // namespace culvert::control
