// SPDX-License-Identifier: Apache-2.0
// The control plane's API as the signed-in caller. Signs in at the first call that needs it, on one
// kept-alive connection. Thread safety: strand-bound.
#pragma once

#include "cli/settings.hpp"
#include "http/client.hpp"

#include <boost/json/fwd.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace culvert::cli {

inline constexpr std::chrono::milliseconds kExchange{15000};  // the longest of one exchange

class Session {
  public:
    // Errors: as find_credentials and http::connect.
    static Result<std::unique_ptr<Session>> open(const Settings& settings);
    static Result<std::unique_ptr<Session>> open(Credentials credentials,
                                                 std::chrono::milliseconds timeout = kExchange);

    const Credentials& credentials() const { return credentials_; }

    // Any status is a Response. `body` empty: none is sent.
    Result<http::Response> send(const std::string& method, const std::string& target,
                                const std::string& body);
    // A status of 400 or more is an Error with the server's code, message and target.
    Result<boost::json::value> call(const std::string& method, const std::string& target,
                                    const boost::json::value& body);
    // Without a token: metadata and health.
    Result<http::Response> send_plain(const std::string& method, const std::string& target);
    // Asks for a token now. Errors: kUnauthenticated with the server's words.
    Status sign_in();

  private:
    Session(Credentials credentials, std::unique_ptr<http::Client> client);

    Credentials credentials_;
    std::unique_ptr<http::Client> client_;
    std::string token_;
};

// What the control plane says of an answer of 400 or more (arm-contract 7).
Error error_of(const http::Response& response, const std::string& doing);
// name=value&... for application/x-www-form-urlencoded.
std::string form_encode(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace culvert::cli
