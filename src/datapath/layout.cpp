// SPDX-License-Identifier: Apache-2.0
#include "datapath/layout.hpp"

#include "base/log.hpp"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace culvert::datapath {
namespace {

constexpr const char* kActive = "active";
constexpr std::chrono::milliseconds kCoarseClock{20};  // the programs' clock may be behind by that
constexpr std::uint32_t kBatch = 8192;                 // more than a bucket ever holds

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size() ? std::optional(out)
                                                                    : std::nullopt;
}

std::optional<cv_flow> find_flow(int map, const cv_flow_key& key) {
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    if (bpf_obj_get_info_by_fd(map, &info, &length) != 0) {
        return std::nullopt;
    }
    std::vector<std::uint8_t> value(info.value_size);
    return bpf_map_lookup_elem(map, &key, value.data()) == 0 ? std::optional(flow_of(value))
                                                             : std::nullopt;
}

}  // namespace

cv_flow flow_of(std::span<const std::uint8_t> value) {
    cv_flow out{};
    std::memcpy(&out, value.data(), std::min(value.size(), sizeof(out)));
    return out;
}

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

Status visit_values(int map, const std::function<bool(std::span<const std::uint8_t>)>& visit) {
    return visit_entries(map, [&](std::span<const std::uint8_t>,
                                  std::span<const std::uint8_t> value) { return visit(value); });
}

Status visit_entries(int map, const VisitEntry& visit) {
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    if (bpf_obj_get_info_by_fd(map, &info, &length) != 0) {
        return std::unexpected(error_from_errno(errno, "walk a map"));
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
                return std::unexpected(error_from_errno(errno, "walk a map"));
            }
            last = true;
        }
        for (std::uint32_t at = 0; at < count; ++at) {
            if (!visit(std::span(keys).subspan(std::size_t{at} * info.key_size, info.key_size),
                       std::span(values).subspan(at * stride, stride))) {
                return {};
            }
        }
    }
    return {};
}

void wait_for_programs() {
    // an RCU grace period: every program runs within one
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0) {
        spdlog::warn("datapath: {}", error_from_errno(errno, "membarrier").message);
    }
}

void end_doubles(int own, int other, SteadyTime since) {
    wait_for_programs();
    const std::chrono::nanoseconds from = (since - kCoarseClock).time_since_epoch();
    std::vector<cv_flow_key> taken;  // reverse keys
    const auto visited = visit_values(own, [&](std::span<const std::uint8_t> value) {
        const cv_flow flow = flow_of(value);
        constexpr std::uint32_t kPair = CV_FLOW_PRIMARY | CV_FLOW_PAIRED;
        if ((flow.flags & kPair) == kPair &&
            flow.created_ns >= static_cast<std::uint64_t>(from.count())) {
            taken.push_back(flow.other);
        }
        return true;
    });
    if (!visited) {
        spdlog::warn("datapath: {}", visited.error().message);
    }
    for (const cv_flow_key& reverse : taken) {
        const auto answers = find_flow(own, reverse);
        if (!answers || (!find_flow(other, reverse) && !find_flow(other, answers->other))) {
            continue;
        }
        spdlog::warn("datapath: a connection ends, both layouts had its NAT port");
        // what it is charged comes back with its slot
        bpf_map_delete_elem(own, &reverse);
        bpf_map_delete_elem(own, &answers->other);
    }
}

Result<std::uint64_t> count_entries(int map) {
    std::uint64_t out = 0;
    CULVERT_TRY_STATUS(
        visit_values(map, [&](std::span<const std::uint8_t>) { return ++out != 0; }));
    return out;
}

}  // namespace culvert::datapath
