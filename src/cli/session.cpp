// SPDX-License-Identifier: Apache-2.0
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <utility>

namespace culvert::cli {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, json::string_view name) {
    const auto* found = object.if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

Code code_of(int status) {
    switch (status) {
        case 400: return Code::kInvalidArgument;
        case 401: return Code::kUnauthenticated;
        case 403: return Code::kPermissionDenied;
        case 404: return Code::kNotFound;
        case 409: return Code::kConflict;
        case 412: return Code::kPreconditionFailed;
        case 413: return Code::kTooLarge;
        case 429: return Code::kThrottled;
        case 503: return Code::kUnavailable;
        case 504: return Code::kTimeout;
        default: return Code::kInternal;
    }
}

json::object parse_object(const std::string& text) {
    boost::system::error_code bad;
    auto parsed = json::parse(text, bad);
    return bad || !parsed.is_object() ? json::object{} : std::move(parsed.get_object());
}

}  // namespace

Error error_of(const http::Response& response, const std::string& doing) {
    Error error{code_of(response.status),
                fmt::format("{}: HTTP status {}", doing, response.status),
                {},
                {},
                {}};
    const auto body = parse_object(response.body);
    const auto* inner = body.if_contains("error");
    if (inner != nullptr && inner->is_string()) {  // OAuth 2 (RFC 6749 5.2)
        error.arm_code = std::string(inner->get_string());
        error.message = fmt::format("{}: {}", doing, text_of(body, "error_description"));
    } else if (inner != nullptr && inner->is_object()) {
        const auto& object = inner->get_object();
        error.arm_code = text_of(object, "code");
        error.message = fmt::format("{}: {}", doing, text_of(object, "message"));
        error.target = text_of(object, "target");
        const auto* details = object.if_contains("details");
        if (details != nullptr && details->is_array()) {
            for (const auto& detail : details->get_array()) {
                if (detail.is_object()) {
                    error.details.push_back(Error{error.code,
                                                  text_of(detail.get_object(), "message"),
                                                  text_of(detail.get_object(), "target"),
                                                  text_of(detail.get_object(), "code"),
                                                  {}});
                }
            }
        }
    }
    return error;
}

std::string form_encode(const std::vector<std::pair<std::string, std::string>>& fields) {
    static constexpr std::string_view kPlain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    const auto encoded = [](const std::string& text) {
        std::string out;
        for (const char c : text) {
            out += kPlain.contains(c) ? std::string(1, c)
                                      : fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
        return out;
    };
    std::string out;
    for (const auto& [name, value] : fields) {
        out += (out.empty() ? "" : "&") + encoded(name) + "=" + encoded(value);
    }
    return out;
}

Session::Session(Credentials credentials, std::unique_ptr<http::Client> client)
    : credentials_(std::move(credentials)), client_(std::move(client)) {}

Result<std::unique_ptr<Session>> Session::open(const Settings& settings) {
    auto credentials = find_credentials(settings);
    if (!credentials) {
        return std::unexpected(credentials.error());
    }
    return open(std::move(*credentials));
}

Result<std::unique_ptr<Session>> Session::open(Credentials credentials,
                                               std::chrono::milliseconds timeout) {
    auto client = http::connect(
        {.base_url = credentials.control, .ca_pem = credentials.ca_pem, .timeout = timeout});
    if (!client) {
        return std::unexpected(
            prefixed(client.error(), fmt::format("connect to {}", credentials.control)));
    }
    return std::unique_ptr<Session>(new Session(std::move(credentials), std::move(*client)));
}

Status Session::sign_in() {
    std::vector<std::pair<std::string, std::string>> form = {
        {"scope", credentials_.control + "/.default"}};
    if (!credentials_.refresh_token.empty()) {
        form.emplace_back("grant_type", "refresh_token");
        form.emplace_back("client_id", "culvert-cli");
        form.emplace_back("refresh_token", credentials_.refresh_token);
    } else {
        form.emplace_back("grant_type", "client_credentials");
        form.emplace_back("client_id", credentials_.client_id);
        form.emplace_back("client_secret", credentials_.client_secret);
    }
    auto answer =
        client_->send("POST", "/adfs/oauth2/token",
                      {{"Content-Type", "application/x-www-form-urlencoded"}}, form_encode(form));
    if (!answer) {
        return std::unexpected(
            prefixed(answer.error(), fmt::format("sign in at {}", credentials_.control)));
    }
    if (answer->status != 200) {
        auto error = error_of(*answer, fmt::format("sign in with {}", credentials_.source));
        error.code = Code::kUnauthenticated;
        return std::unexpected(std::move(error));
    }
    token_ = text_of(parse_object(answer->body), "access_token");
    if (token_.empty()) {
        return fail(Code::kInternal, "sign in: the answer holds no access_token");
    }
    return {};
}

Result<http::Response> Session::send(const std::string& method, const std::string& target,
                                     const std::string& body) {
    if (token_.empty()) {
        CULVERT_TRY_STATUS(sign_in());
    }
    http::Headers headers = {{"Authorization", "Bearer " + token_}, {"Accept", "application/json"}};
    if (!body.empty()) {
        headers.emplace_back("Content-Type", "application/json");
    }
    return client_->send(method, target, std::move(headers), body);
}

Result<http::Response> Session::send_plain(const std::string& method, const std::string& target) {
    return client_->send(method, target, {{"Accept", "application/json"}}, "");
}

Result<json::value> Session::call(const std::string& method, const std::string& target,
                                  const json::value& body) {
    auto answer = send(method, target, body.is_null() ? "" : json::serialize(body));
    if (!answer) {
        return std::unexpected(answer.error());
    }
    const auto doing = fmt::format("{} {}", method, target.substr(0, target.find('?')));
    if (answer->status >= 400) {
        return std::unexpected(error_of(*answer, doing));
    }
    if (answer->body.empty()) {
        return json::value(nullptr);
    }
    boost::system::error_code bad;
    auto parsed = json::parse(answer->body, bad);
    if (bad) {
        return fail(Code::kInternal, fmt::format("{}: the answer is not JSON", doing));
    }
    return parsed;
}

}  // namespace culvert::cli
