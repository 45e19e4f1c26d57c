// SPDX-License-Identifier: Apache-2.0
#include "agent/conclusions.hpp"

#include "abi/echo.h"
#include "agent/json_file.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"

namespace culvert::agent {
namespace {

namespace json = boost::json;
constexpr mode_t kPrivate = 0600;

std::int64_t ns_of(SteadyTime time) {
    return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

SteadyTime time_of(const json::value& ns) {
    return SteadyTime(std::chrono::nanoseconds(ns.to_number<std::int64_t>()));
}

Conclusions read(const json::object& from, const Moment& moment) {
    Conclusions out;
    if (from.at("boot").as_string() != std::string_view(moment.boot)) {
        out.fenced = true;
        return out;
    }
    const bool isolated = from.at("isolated").as_bool();
    out.fenced = from.at("fenced").as_bool() || isolated;
    if (moment.now - time_of(from.at("writtenNs")) > limits::kVerdictAge) {
        return out;
    }
    out.verdicts.isolated = isolated;
    for (const auto& each : from.at("peers").as_array()) {
        out.verdicts.peers.push_back({.node = each.at("node").to_number<std::uint32_t>(),
                                      .lost = each.at("lost").as_bool(),
                                      .gone = each.at("gone").as_bool(),
                                      .fenced = each.at("fenced").as_bool(),
                                      .since = time_of(each.at("sinceNs"))});
    }
    return out;
}

}  // namespace

Moment this_moment() {
    return {.boot = runtime::read_file("/proc/sys/kernel/random/boot_id").value_or(""),
            .now = std::chrono::steady_clock::now()};
}

Conclusions load_conclusions(const std::filesystem::path& path, const Moment& moment) {
    const auto known = load_json_or(Conclusions{}, path,
                                    [&](const json::object& from) { return read(from, moment); });
    if (known) {
        return *known;
    }
    spdlog::warn("agent: {}: taken for fenced", known.error().message);
    return {.fenced = true, .verdicts = {}};
}

Status save_conclusions(const std::filesystem::path& path, const Conclusions& conclusions,
                        const Moment& moment) {
    json::array peers;
    for (const Verdict& verdict : conclusions.verdicts.peers) {
        peers.push_back(json::object{{"node", verdict.node},
                                     {"lost", verdict.lost},
                                     {"gone", verdict.gone},
                                     {"fenced", verdict.fenced},
                                     {"sinceNs", ns_of(verdict.since)}});
    }
    const json::object out{{"boot", moment.boot},
                           {"writtenNs", ns_of(moment.now)},
                           {"fenced", conclusions.fenced},
                           {"isolated", conclusions.verdicts.isolated},
                           {"peers", peers}};
    return runtime::replace_file(path, json::serialize(out) + "\n", kPrivate,
                                 runtime::Outlives::kProcess);
}

std::optional<HealthRows> load_health(const std::filesystem::path& path, const Moment& moment) {
    using Rows = std::optional<HealthRows>;
    auto rows = load_json_or(Rows{}, path, [&](const json::object& from) -> Rows {
        if (from.at("boot").as_string() != std::string_view(moment.boot)) {
            return std::nullopt;
        }
        HealthRows out;
        for (const auto& each : from.at("backends").as_array()) {
            const auto number = [&](const char* name) {
                return each.at(name).to_number<std::uint32_t>();
            };
            out[{.nic = number("nic"),
                 .generation = number("generation"),
                 .pool = number("pool"),
                 .probe = number("probe")}] = each.at("up").as_bool();
        }
        return out;
    });
    if (!rows) {
        spdlog::warn("agent: {}: what was known of backends is forgotten", rows.error().message);
        return std::nullopt;
    }
    return *std::move(rows);
}

Status save_health(const std::filesystem::path& path, const HealthRows& rows,
                   const Moment& moment) {
    json::array backends;
    for (const auto& [key, up] : rows) {
        backends.push_back(json::object{{"nic", key.nic},
                                        {"generation", key.generation},
                                        {"pool", key.pool},
                                        {"probe", key.probe},
                                        {"up", up}});
    }
    const json::object out{{"boot", moment.boot}, {"backends", std::move(backends)}};
    return runtime::replace_file(path, json::serialize(out) + "\n", kPrivate,
                                 runtime::Outlives::kProcess);
}

Reach reach_of(const Verdicts& verdicts) {
    Reach out{.closed = {}, .isolated = verdicts.isolated};
    for (const Verdict& verdict : verdicts.peers) {
        out.closed[verdict.node] = verdict.lost && verdict.gone ? CV_NODE_GONE : CV_NODE_CLOSED;
    }
    return out;
}

}  // namespace culvert::agent
