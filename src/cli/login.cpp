// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <cstdio>
#include <iostream>

namespace culvert::cli {
namespace {

namespace json = boost::json;

constexpr const char* kClientId =
    "culvert-cli";  // of user sign-ins; the issuer takes any public client

std::string field(const json::object& object, json::string_view name) {
    const auto* found = object.if_contains(name);
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

// From a terminal without echo, or a line of standard input.
std::string read_secret(const std::string& prompt) {
    const bool terminal = ::isatty(STDIN_FILENO) == 1;
    termios before{};
    if (terminal) {
        fmt::print(stderr, "{}: ", prompt);
        ::tcgetattr(STDIN_FILENO, &before);
        termios quiet = before;
        quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    std::string secret;
    std::getline(std::cin, secret);
    if (terminal) {
        ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fmt::print(stderr, "\n");
    }
    return secret;
}

// The password grant (RFC 6749 4.3): leaves a refresh token, not the password.
Result<std::string> refresh_token_of(const Credentials& where, const std::string& user,
                                     const std::string& password) {
    auto client = http::connect({.base_url = where.control, .ca_pem = where.ca_pem});
    if (!client) {
        return std::unexpected(prefixed(client.error(), "connect to " + where.control));
    }
    auto answer = (*client)->send(
        "POST", "/adfs/oauth2/token", {{"Content-Type", "application/x-www-form-urlencoded"}},
        form_encode({{"grant_type", "password"},
                     {"client_id", kClientId},
                     {"username", user},
                     {"password", password},
                     {"scope", where.control + "/.default offline_access openid profile"}}));
    if (!answer) {
        return std::unexpected(prefixed(answer.error(), "sign in at " + where.control));
    }
    boost::system::error_code bad;
    const auto body = json::parse(answer->body, bad);
    if (answer->status != 200 || bad || !body.is_object()) {
        return std::unexpected(error_of(*answer, "sign in as " + user));
    }
    return field(body.get_object(), "refresh_token");
}

Result<Credentials> where_of(const Settings& settings) {
    Credentials where;
    const char* control = std::getenv("CULVERT_CONTROL");
    where.control = !settings.control.empty() ? settings.control
                    : control == nullptr      ? ""
                                              : control;
    if (where.control.empty()) {
        auto text = read_file(Layout{settings.data_dir}.installation());
        boost::system::error_code bad;
        const auto noted = text ? json::parse(*text, bad) : json::value(nullptr);
        where.control = !bad && noted.is_object() ? field(noted.get_object(), "control") : "";
    }
    if (where.control.empty()) {
        return fail(Code::kInvalidArgument,
                    "login: give the control plane's address: --control https://HOST:PORT",
                    "--control");
    }
    auto ca = find_ca(settings);
    if (!ca) {
        return std::unexpected(prefixed(ca.error(), "login"));
    }
    where.ca_pem = *ca;
    return where;
}

}  // namespace

Result<int> run_login(const Settings& settings, const LoginOptions& options) {
    auto where = where_of(settings);
    if (!where) {
        return std::unexpected(where.error());
    }
    const auto secret = options.password.empty() || options.password == "-"
                            ? read_secret(options.service_principal ? "secret" : "password")
                            : options.password;
    where->source = options.user;
    where->tenant = options.tenant;
    if (options.service_principal) {
        where->client_id = options.user;
        where->client_secret = secret;
    } else {
        auto token = refresh_token_of(*where, options.user, secret);
        if (!token) {
            return std::unexpected(token.error());
        }
        where->user = options.user;
        where->refresh_token = *token;
    }
    auto session = Session::open(*where);
    if (!session) {
        return std::unexpected(session.error());
    }
    CULVERT_TRY_STATUS((*session)->sign_in());  // what does not work is not kept
    json::object kept;
    kept["control"] = where->control;
    kept["ca_pem"] = where->ca_pem;
    kept["tenant"] = where->tenant;
    kept["client_id"] = where->client_id;
    kept["client_secret"] = where->client_secret;
    kept["user"] = where->user;
    kept["refresh_token"] = where->refresh_token;
    CULVERT_TRY_STATUS(write_private_file(login_file(), json::serialize(kept) + "\n"));
    std::error_code ignored;
    std::filesystem::permissions(login_file().parent_path(), std::filesystem::perms::owner_all,
                                 ignored);
    if (settings.json) {
        print_json(
            {{"control", where->control}, {"as", options.user}, {"file", login_file().string()}});
    } else {
        fmt::print("signed in to {} as {}; kept in {}\n", where->control, options.user,
                   login_file().string());
    }
    return 0;
}

Result<int> run_logout(const Settings& settings) {
    std::error_code bad;
    const bool existed = std::filesystem::remove(login_file(), bad);
    if (settings.json) {
        print_json({{"removed", existed}});
    } else {
        fmt::print("{}\n", existed ? "signed out" : "nobody was signed in");
    }
    return 0;
}

}  // namespace culvert::cli
