// SPDX-License-Identifier: Apache-2.0
// Plain values of an HTTP exchange, so that nothing outside http/ includes Beast.
#pragma once

#include "base/result.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

// The first header of that name, compared without case (RFC 9110 5.1), or empty.
std::string_view find_header(const Headers& headers, std::string_view name);

struct Request {
    std::string method;                                      // upper case
    std::string path;                                        // percent-decoded, without query
    std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
    std::string target;                                      // as received: path and query
    Headers headers;
    std::string body;
    std::string peer;  // remote address as text
    std::string host;  // Host header

    // The first query parameter of that name, without case ("api-version", "$filter"), or empty.
    std::string_view parameter(std::string_view name) const;
};

struct Response {
    int status = 200;
    Headers headers;
    std::string body;
};

// Called once for each request, on one of the server's threads; `respond` must be called exactly
// once, from any thread, now or later. Dropping it without a call answers 500.
using Respond = std::function<void(Response)>;
using Handler = std::function<void(const Request& request, Respond respond)>;

// Path and query of a request line's target.
struct Target {
    std::string path;  // percent-decoded
    std::vector<std::pair<std::string, std::string>> query;
};

// Splits and decodes a request target in origin or absolute form (RFC 9112 3.2). Errors:
// kInvalidArgument for a bad escape, an escaped NUL or line break, or a target that is neither
// form.
Result<Target> parse_target(std::string_view target);

// Decodes application/x-www-form-urlencoded pairs in order (WHATWG URL 5.1), at most `max_fields`.
// Errors: kInvalidArgument for a bad escape, kTooLarge.
Result<std::vector<std::pair<std::string, std::string>>> parse_form(std::string_view form,
                                                                    std::size_t max_fields);

// Everything but RFC 3986's unreserved characters as %XX.
std::string percent_encode(std::string_view text);

// Names compared as HTTP and ARM compare them: ASCII, without case.
bool same_text(std::string_view a, std::string_view b);

// The HTTP status of an error code: the only such mapping (STYLE.md 7).
int status_of(Code code);

}  // namespace culvert::http
