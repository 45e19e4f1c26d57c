// SPDX-License-Identifier: Apache-2.0
// The part of OData's $filter that ARM's clients use: comparisons for equality and calls of one
// function, joined by "and" (arm-contract 9: a filter that is not honoured makes az overwrite what
// exists).
#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace culvert::control {

struct FilterTerm {
    std::string name;   // lower case: "resourcetype", "atscope"
    std::string value;  // of the comparison or the first argument; empty: none
    bool call = false;  // atScope(), assignedTo('x')

    bool operator==(const FilterTerm&) const = default;
};

// Errors: kInvalidArgument InvalidFilterInQueryString. An empty text has no terms.
Result<std::vector<FilterTerm>> parse_filter(std::string_view text);

// The error for a term that a list does not know.
Error unsupported_filter(const FilterTerm& term);

}  // namespace culvert::control
