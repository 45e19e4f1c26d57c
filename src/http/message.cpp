// SPDX-License-Identifier: Apache-2.0
#include "http/message.hpp"

#include "base/limits.hpp"

#include <algorithm>

namespace culvert::http {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char l = lower(c);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// RFC 3986 2.1. Control characters are refused: no name of ours has one, and logs and headers stay
// whole.
Result<std::string> percent_decode(std::string_view text, bool plus_is_space, bool allow_controls) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return fail(Code::kInvalidArgument,
                            "percent sign is not followed by two hex digits");
            }
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        const auto byte = static_cast<unsigned char>(c);
        if (byte == 0 || (!allow_controls && (byte < 0x20 || byte == 0x7f))) {
            return fail(Code::kInvalidArgument, "control character in the request target");
        }
        out.push_back(c);
    }
    return out;
}

Result<std::vector<std::pair<std::string, std::string>>> parse_pairs(std::string_view text,
                                                                     std::size_t max_fields,
                                                                     bool allow_controls) {
    std::vector<std::pair<std::string, std::string>> out;
    while (!text.empty()) {
        const auto end = std::min(text.find('&'), text.size());
        const auto field = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (field.empty()) {
            continue;
        }
        if (out.size() == max_fields) {
            return fail(Code::kTooLarge, "too many fields");
        }
        const auto equals = field.find('=');
        auto name = percent_decode(field.substr(0, equals), true, allow_controls);
        auto value =
            percent_decode(equals == field.npos ? std::string_view{} : field.substr(equals + 1),
                           true, allow_controls);
        if (!name || !value) {
            return std::unexpected(!name ? name.error() : value.error());
        }
        out.emplace_back(std::move(*name), std::move(*value));
    }
    return out;
}

}  // namespace

bool same_text(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view find_header(const Headers& headers, std::string_view name) {
    for (const auto& [key, value] : headers) {
        if (same_text(key, name)) {
            return value;
        }
    }
    return {};
}

std::string_view Request::parameter(std::string_view name) const {
    for (const auto& [key, value] : query) {
        if (same_text(key, name)) {
            return value;
        }
    }
    return {};
}

Result<Target> parse_target(std::string_view target) {
    if (!target.starts_with('/')) {  // absolute form
        const auto scheme = target.find("://");
        if (scheme == target.npos || scheme > 5) {
            return fail(Code::kInvalidArgument, "request target is not a path");
        }
        const auto slash = target.find_first_of("/?", scheme + 3);
        target = slash == target.npos ? std::string_view("/") : target.substr(slash);
    }
    target = target.substr(0, target.find('#'));
    const auto question = target.find('?');
    auto path = percent_decode(target.substr(0, question), false, false);
    if (!path) {
        return std::unexpected(path.error());
    }
    Target out;
    out.path = path->empty() ? "/" : std::move(*path);
    if (question != target.npos) {
        auto query = parse_pairs(target.substr(question + 1), limits::kHttpQueryFields, false);
        if (!query) {
            return std::unexpected(query.error());
        }
        out.query = std::move(*query);
    }
    return out;
}

Result<std::vector<std::pair<std::string, std::string>>> parse_form(std::string_view form,
                                                                    std::size_t max_fields) {
    return parse_pairs(form, max_fields, true);
}

std::string percent_encode(std::string_view text) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
                           std::string_view("-._~").find(c) != std::string_view::npos;
        if (plain) {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
        }
    }
    return out;
}

int status_of(Code code) {
    switch (code) {
        case Code::kInvalidArgument: return 400;
        case Code::kUnauthenticated: return 401;
        case Code::kPermissionDenied: return 403;
        case Code::kNotFound: return 404;
        case Code::kConflict: return 409;
        case Code::kPreconditionFailed: return 412;
        case Code::kTooLarge: return 413;
        case Code::kThrottled: return 429;
        case Code::kUnavailable: return 503;
        case Code::kTimeout: return 504;
        case Code::kStorageFull: return 507;
        case Code::kCorrupt:
        case Code::kInternal: return 500;
    }
    return 500;
}

}  // namespace culvert::http
