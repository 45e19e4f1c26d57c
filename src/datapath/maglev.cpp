// SPDX-License-Identifier: Apache-2.0
#include "datapath/maglev.hpp"

#include <algorithm>

namespace culvert::datapath {
namespace {

// splitmix64's finalizer: a fixed bijection, the same on every node and build.
std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

// A member's walk over the table: offset + j * skip modulo the table's (prime) size.
struct Walk {
    std::uint32_t member;
    std::uint32_t at;
    std::uint32_t skip;
};

constexpr std::uint32_t kSize = CV_MAGLEV_SIZE;

Walk walk_of(std::uint32_t member) {
    const std::uint64_t hash = mix(member);
    return {.member = member,
            .at = static_cast<std::uint32_t>(hash % kSize),
            .skip = static_cast<std::uint32_t>(mix(hash) % (kSize - 1) + 1)};
}

}  // namespace

std::vector<std::uint32_t> maglev_table(std::span<const std::uint32_t> members) {
    std::vector<std::uint32_t> sorted(members.begin(), members.end());
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    if (!sorted.empty() && sorted.front() == 0) {
        sorted.erase(sorted.begin());
    }
    std::vector<std::uint32_t> table(kSize, 0);
    if (sorted.empty()) {
        return table;
    }
    std::vector<Walk> walks;
    walks.reserve(sorted.size());
    for (const std::uint32_t member : sorted) {
        walks.push_back(walk_of(member));
    }
    for (std::uint32_t filled = 0; filled < kSize;) {
        for (Walk& walk : walks) {
            while (table[walk.at] != 0) {
                walk.at = (walk.at + walk.skip) % kSize;
            }
            table[walk.at] = walk.member;
            if (++filled == kSize) {
                break;
            }
        }
    }
    return table;
}

}  // namespace culvert::datapath
