// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <boost/json.hpp>

#include <charconv>
#include <chrono>

namespace culvert::cli {
namespace {

namespace json = boost::json;

std::string text_of(const json::value& value, json::string_view name) {
    const auto* found = value.is_object() ? value.get_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

// A time as the API takes it: given so, or as 90s, 30m, 12h or 7d before now.
Result<std::string> since_of(const std::string& text) {
    if (text.empty() || text.find('T') != std::string::npos) {
        return text;
    }
    std::int64_t count = 0;
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), count);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    static constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {
        {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    for (const auto& [name, seconds] : kUnits) {
        if (bad == std::errc() && unit == name && count >= 0 && count < 1'000'000) {
            const auto at =
                std::chrono::system_clock::now() - std::chrono::seconds(count * seconds);
            return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                               fmt::gmtime(std::chrono::system_clock::to_time_t(at)));
        }
    }
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is no time: 2026-11-26T10:00:00Z, or 90s, 30m, 12h, 7d", text),
                "--since");
}

std::string encoded(const std::string& text) {
    const std::string pair = form_encode({{"x", text}});
    return pair.substr(pair.find('=') + 1);
}

// "created NAME, updated NAME"
std::string changes_of(const json::value& record) {
    const auto* changes = record.is_object() ? record.get_object().if_contains("changes") : nullptr;
    std::string out;
    if (changes != nullptr && changes->is_array()) {
        for (const auto& change : changes->get_array()) {
            const std::string name = text_of(change, "resource");
            out += fmt::format("{}{} {}", out.empty() ? "" : ", ", text_of(change, "what"),
                               name.substr(name.rfind('/') + 1));
        }
    }
    return out.empty() ? text_of(record, "status") : out;
}

Row row_of(const json::value& record) {
    const auto* caller = record.is_object() ? record.get_object().if_contains("caller") : nullptr;
    std::string who = caller == nullptr ? "(another tenant)" : text_of(*caller, "name");
    return {text_of(record, "time"),      who.empty() ? "-" : who, text_of(record, "from"),
            text_of(record, "operation"), changes_of(record),      text_of(record, "resource")};
}

}  // namespace

Result<int> run_audit_list(const Settings& settings, const AuditOptions& options) {
    auto since = since_of(options.since);
    auto session = since ? Session::open(settings)
                         : Result<std::unique_ptr<Session>>(std::unexpected(since.error()));
    if (!session) {
        return std::unexpected(std::move(session.error()));
    }
    json::array all;
    std::string after;
    while (all.size() < options.limit) {
        std::string target = fmt::format("/culvert/audit?limit={}",
                                         std::min<std::size_t>(options.limit - all.size(), 1000));
        for (const auto& [name, value] :
             {std::pair("resource", options.resource), std::pair("principal", options.principal),
              std::pair("since", *since), std::pair("after", after)}) {
            if (!value.empty()) {
                target += fmt::format("&{}={}", name, encoded(value));
            }
        }
        auto answer = (*session)->call("GET", target, nullptr);
        if (!answer) {
            return std::unexpected(std::move(answer.error()));
        }
        const auto* page =
            answer->is_object() ? answer->get_object().if_contains("value") : nullptr;
        if (page != nullptr && page->is_array()) {
            for (const auto& record : page->get_array()) {
                all.push_back(record);
            }
        }
        after = text_of(*answer, "after");
        if (after.empty()) {
            break;
        }
    }
    if (settings.json) {
        print_json(all);
        return 0;
    }
    std::vector<Row> rows;
    for (const auto& record : all) {
        rows.push_back(row_of(record));
    }
    print_table({"TIME", "WHO", "FROM", "OPERATION", "WHAT", "RESOURCE"}, rows);
    return 0;
}

}  // namespace culvert::cli
