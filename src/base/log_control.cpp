// SPDX-License-Identifier: Apache-2.0
#include "base/log_control.hpp"

#include <fmt/format.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <array>
#include <memory>

namespace culvert {
namespace {

constexpr std::array<std::string_view, 6> kLevels{"trace", "debug", "info", "warn", "error", "off"};

spdlog::level::level_enum value_of(std::string_view level) {
    return spdlog::level::from_str(std::string(level));
}

// Writes nothing. Lines come in from any thread, one counter each.
class Counter final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
  public:
    explicit Counter(LogCounts& counts) : counts_(counts) {}

  private:
    void sink_it_(const spdlog::details::log_msg& message) override {
        counts_.warnings += message.level == spdlog::level::warn ? 1 : 0;
        counts_.errors += message.level >= spdlog::level::err ? 1 : 0;
    }
    void flush_() override {}

    LogCounts& counts_;
};

}  // namespace

void count_log(LogCounts& counts) {
    spdlog::default_logger()->sinks().push_back(std::make_shared<Counter>(counts));
}

Status set_log_level(std::string_view level) {
    if (std::ranges::find(kLevels, level) == kLevels.end()) {
        return fail(
            Code::kInvalidArgument,
            fmt::format("log level '{}' is not one of trace, debug, info, warn, error, off", level),
            "level");
    }
    spdlog::default_logger()->set_level(value_of(level));
    return {};
}

std::string log_level() {
    const auto now = spdlog::default_logger()->level();
    const auto at = std::ranges::find(kLevels, now, value_of);
    return std::string(at == kLevels.end() ? kLevels.back() : *at);
}

}  // namespace culvert
