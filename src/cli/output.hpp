// SPDX-License-Identifier: Apache-2.0
// What commands print: a table for people or one JSON value for programs, never a mix.
#pragma once

#include "base/result.hpp"

#include <boost/json/fwd.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::cli {

using Row = std::vector<std::string>;

// Columns are as wide as their longest cell; the last one is not padded. No rows: prints nothing
// but the header.
void print_table(const Row& header, const std::vector<Row>& rows);
// "name:  value" lines, values aligned.
void print_fields(const std::vector<std::pair<std::string, std::string>>& fields);
// Indented by two spaces, members in their order.
void print_json(const boost::json::value& value);
// An answer of the control plane: its error, or the value as JSON or by `print`; exit code 0.
Result<int> print_answer(bool json, const Result<boost::json::value>& answer,
                         void (*print)(const boost::json::value&));
std::string pretty(const boost::json::value& value);

// "culvert: MESSAGE (CODE)", the field it is about and every detail, to standard error.
void print_error(const Error& error);
// 3 for kNotFound, else 1.
int exit_code(const Error& error);

// "1,234,567"
std::string grouped(std::uint64_t number);

}  // namespace culvert::cli
