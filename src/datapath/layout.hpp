// SPDX-License-Identifier: Apache-2.0
// Layouts of the maps and where they are pinned: a directory each, named after its version and the
// size of its flow table ("v1-1048576"), and a link `active` to the one that new connections take.
// Used by loader.cpp and maps.cpp only.
#pragma once

#include "abi/maps.h"
#include "base/clock.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::datapath {

struct LayoutName {
    std::uint32_t version = 0;     // CV_ABI_VERSION
    std::uint32_t flow_limit = 0;  // entries of the flow table; 0: not said
    std::string str() const;
    static std::optional<LayoutName> parse(std::string_view name);
    bool operator==(const LayoutName&) const = default;
};

// Every layout that has maps pinned below the directory.
std::vector<LayoutName> pinned_layouts(const std::filesystem::path& pin_dir);

// The layout that the last activation named.
std::optional<LayoutName> active_layout(const std::filesystem::path& pin_dir);
Status name_active_layout(const std::filesystem::path& pin_dir, const LayoutName& layout);

// What this build knows of an entry of any layout's flow table.
cv_flow flow_of(std::span<const std::uint8_t> value);

// Every value of a hash map, in big batches, while the map changes: one that is added or removed
// meanwhile may be met or not. Ends when `visit` returns false.
Status visit_values(int map, const std::function<bool(std::span<const std::uint8_t>)>& visit);
// The same with the keys.
using VisitEntry =
    std::function<bool(std::span<const std::uint8_t> key, std::span<const std::uint8_t> value)>;
Status visit_entries(int map, const VisitEntry& visit);

// Until every run of a program that has begun is over: what was written to a map before is what all
// of them see from then on.
void wait_for_programs();

// In the instant in which programs of another layout are replaced both may take one NAT port
// (decision 0007). Waits until none of the replaced ones runs any more, then ends those connections
// of `own`, made since the switch began, that have a key in `other`, too.
void end_doubles(int own, int other, SteadyTime since);

// Entries of a hash map, by such a visit.
Result<std::uint64_t> count_entries(int map);

}  // namespace culvert::datapath
