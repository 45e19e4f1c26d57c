// SPDX-License-Identifier: Apache-2.0
#include "base/log.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <memory>
#include <string>

namespace culvert {

Status set_up_log(std::string_view level) {
    static constexpr std::array<std::string_view, 6> kLevels{"trace", "debug", "info",
                                                             "warn",  "error", "off"};
    bool known = false;
    for (const auto name : kLevels) {
        known = known || name == level;
    }
    if (!known) {
        return fail(
            Code::kInvalidArgument,
            fmt::format("log level '{}' is not one of trace, debug, info, warn, error, off", level),
            "log-level");
    }
    auto logger = std::make_shared<spdlog::logger>(
        "culvert", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-5l %v", spdlog::pattern_time_type::utc);
    logger->set_level(spdlog::level::from_str(std::string(level)));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
    return {};
}

}  // namespace culvert
