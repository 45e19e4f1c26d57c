// SPDX-License-Identifier: Apache-2.0
#include "control/front_filter.hpp"

#include "model/resource_id.hpp"

#include <fmt/format.h>

namespace culvert::control {

namespace {

constexpr std::size_t kTerms = 16;

// Takes tokens off the front of a filter.
class Scanner {
  public:
    explicit Scanner(std::string_view text) : rest_(text) {}

    bool done() {
        skip();
        return rest_.empty();
    }
    // A name, or empty.
    std::string_view word() {
        skip();
        std::size_t n = 0;
        while (n < rest_.size() && is_word(rest_[n])) {
            ++n;
        }
        return take(n);
    }
    bool symbol(char c) {
        skip();
        if (rest_.empty() || rest_[0] != c) {
            return false;
        }
        take(1);
        return true;
    }
    // 'text' with '' for a quote; false when there is none.
    bool literal(std::string& out) {
        if (!symbol('\'')) {
            return false;
        }
        while (!rest_.empty()) {
            const char c = take(1)[0];
            if (c != '\'') {
                out.push_back(c);
            } else if (!rest_.empty() && rest_[0] == '\'') {
                out.push_back(take(1)[0]);
            } else {
                return true;
            }
        }
        return false;
    }

  private:
    static bool is_word(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '.' || c == '/';
    }
    void skip() {
        while (!rest_.empty() && rest_[0] == ' ') {
            rest_.remove_prefix(1);
        }
    }
    std::string_view take(std::size_t n) {
        const auto out = rest_.substr(0, n);
        rest_.remove_prefix(n);
        return out;
    }
    std::string_view rest_;
};

bool scan_term(Scanner& in, FilterTerm& out) {
    out.name = model::lower(in.word());
    if (out.name.empty()) {
        return false;
    }
    if (in.symbol('(')) {
        out.call = true;
        return in.symbol(')') || (in.literal(out.value) && in.symbol(')'));
    }
    return model::same_name(in.word(), "eq") && in.literal(out.value);
}

}  // namespace

Result<std::vector<FilterTerm>> parse_filter(std::string_view text) {
    std::vector<FilterTerm> out;
    Scanner in(text);
    while (!in.done()) {
        FilterTerm term;
        const bool joined = out.empty() || model::same_name(in.word(), "and");
        if (!joined || out.size() == kTerms || !scan_term(in, term)) {
            return fail(Code::kInvalidArgument,
                        "$filter is not a list of \"name eq 'value'\" joined by \"and\"", "$filter",
                        "InvalidFilterInQueryString");
        }
        out.push_back(std::move(term));
    }
    return out;
}

Error unsupported_filter(const FilterTerm& term) {
    return Error{Code::kInvalidArgument,
                 fmt::format("$filter on '{}' is not supported", term.name),
                 "$filter",
                 "InvalidFilterInQueryString",
                 {}};
}

}  // namespace culvert::control
