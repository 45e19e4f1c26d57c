// SPDX-License-Identifier: Apache-2.0
#include "cli/output.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace culvert::cli {
namespace {

// Terminal columns of UTF-8 text: every byte that does not continue a character.
std::size_t columns(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void print_row(const Row& row, const std::vector<std::size_t>& widths) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
        line += row[i];
        if (i + 1 < row.size()) {
            line.append(widths[i] - columns(row[i]) + 2, ' ');
        }
    }
    fmt::print("{}\n", line);
}

void append_pretty(std::string& out, const boost::json::value& value, std::size_t depth) {
    const std::string inner((depth + 1) * 2, ' ');
    const std::string outer(depth * 2, ' ');
    if (value.is_object() && !value.get_object().empty()) {
        out += "{\n";
        bool first = true;
        for (const auto& member : value.get_object()) {
            out += first ? "" : ",\n";
            first = false;
            out += inner + boost::json::serialize(boost::json::string_view(member.key())) + ": ";
            append_pretty(out, member.value(), depth + 1);
        }
        out += "\n" + outer + "}";
    } else if (value.is_array() && !value.get_array().empty()) {
        out += "[\n";
        bool first = true;
        for (const auto& element : value.get_array()) {
            out += first ? "" : ",\n";
            first = false;
            out += inner;
            append_pretty(out, element, depth + 1);
        }
        out += "\n" + outer + "]";
    } else {
        out += boost::json::serialize(value);
    }
}

}  // namespace

void print_table(const Row& header, const std::vector<Row>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& cell : header) {
        widths.push_back(columns(cell));
    }
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            widths[i] = std::max(widths[i], columns(row[i]));
        }
    }
    print_row(header, widths);
    for (const auto& row : rows) {
        print_row(row, widths);
    }
}

void print_fields(const std::vector<std::pair<std::string, std::string>>& fields) {
    std::size_t width = 0;
    for (const auto& [name, value] : fields) {
        width = std::max(width, columns(name));
    }
    for (const auto& [name, value] : fields) {
        fmt::print("{}:{}{}\n", name, std::string(width - columns(name) + 2, ' '), value);
    }
}

std::string pretty(const boost::json::value& value) {
    std::string out;
    append_pretty(out, value, 0);
    return out;
}

void print_json(const boost::json::value& value) { fmt::print("{}\n", pretty(value)); }

Result<int> print_answer(bool json, const Result<boost::json::value>& answer,
                         void (*print)(const boost::json::value&)) {
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (json) {
        print_json(*answer);
    } else {
        print(*answer);
    }
    return 0;
}

void print_error(const Error& error) {
    std::fflush(stdout);
    const std::string code = error.arm_code.empty() ? "" : fmt::format(" ({})", error.arm_code);
    fmt::print(stderr, "culvert: {}{}\n", error.message, code);
    if (!error.target.empty()) {
        fmt::print(stderr, "  about: {}\n", error.target);
    }
    for (const auto& detail : error.details) {
        fmt::print(stderr, "  - {}{}\n", detail.message,
                   detail.target.empty() ? "" : fmt::format(" [{}]", detail.target));
    }
}

int exit_code(const Error& error) { return error.code == Code::kNotFound ? 3 : 1; }

std::string grouped(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3; at -= 3) {
        digits.insert(at - 3, ",");
    }
    return digits;
}

}  // namespace culvert::cli
