// SPDX-License-Identifier: Apache-2.0
#include "datapath/layout.hpp"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace culvert::datapath {
namespace {

constexpr const char* kActive = "active";
constexpr std::uint32_t kBatch = 8192;  // more than a bucket ever holds

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size() ? std::optional(out)
                                                                    : std::nullopt;
}

}  // namespace

std::string LayoutName::str() const {
    return flow_limit == 0 ? fmt::format("v{}", version)
                           : fmt::format("v{}-{}", version, flow_limit);
}

std::optional<LayoutName> LayoutName::parse(std::string_view name) {
    if (!name.starts_with('v')) {
        return std::nullopt;
    }
    name.remove_prefix(1);
    const auto dash = name.find('-');
    const auto version = number(name.substr(0, dash));
    const auto limit = dash == std::string_view::npos ? std::optional<std::uint32_t>(0)
                                                      : number(name.substr(dash + 1));
    if (!version || !limit) {
        return std::nullopt;
    }
    return LayoutName{.version = *version, .flow_limit = *limit};
}

std::vector<LayoutName> pinned_layouts(const std::filesystem::path& pin_dir) {
    std::vector<LayoutName> out;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(pin_dir, error)) {
        const auto name = LayoutName::parse(entry.path().filename().string());
        if (name && !entry.is_symlink(error) && entry.is_directory(error)) {
            out.push_back(*name);
        }
    }
    return out;
}

std::optional<LayoutName> active_layout(const std::filesystem::path& pin_dir) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(pin_dir / kActive, error);
    return error ? std::nullopt : LayoutName::parse(target.string());
}

Status name_active_layout(const std::filesystem::path& pin_dir, const LayoutName& layout) {
    const auto beside = pin_dir / "active-next";
    std::error_code error;
    std::filesystem::remove(beside, error);
    std::filesystem::create_symlink(layout.str(), beside, error);
    if (!error) {
        std::filesystem::rename(beside, pin_dir / kActive, error);
    }
    if (error) {
        return std::unexpected(error_from_errno(
            error.value(), fmt::format("name the active layout in {}", pin_dir.string())));
    }
    return {};
}

Status visit_values(int map, const std::function<void(std::span<const std::uint8_t>)>& visit) {
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    if (bpf_obj_get_info_by_fd(map, &info, &length) != 0) {
        return std::unexpected(error_from_errno(errno, "walk flows"));
    }
    const std::uint32_t batch = std::min(kBatch, info.max_entries);
    const std::size_t stride = info.value_size;
    std::vector<std::uint8_t> keys(std::size_t{batch} * info.key_size);
    std::vector<std::uint8_t> values(batch * stride);
    std::uint64_t place = 0;  // the kernel's, of at most eight bytes
    for (bool first = true, last = false; !last; first = false) {
        std::uint32_t count = batch;
        if (bpf_map_lookup_batch(map, first ? nullptr : &place, &place, keys.data(), values.data(),
                                 &count, nullptr) != 0) {
            if (errno != ENOENT) {
                return std::unexpected(error_from_errno(errno, "walk flows"));
            }
            last = true;
        }
        for (std::uint32_t at = 0; at < count; ++at) {
            visit(std::span(values).subspan(at * stride, stride));
        }
    }
    return {};
}

Result<std::uint64_t> count_entries(int map) {
    std::uint64_t out = 0;
    CULVERT_TRY_STATUS(visit_values(map, [&](std::span<const std::uint8_t>) { ++out; }));
    return out;
}

}  // namespace culvert::datapath
