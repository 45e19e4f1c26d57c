// SPDX-License-Identifier: Apache-2.0
// A blocking HTTPS client with one kept-alive connection, for the command line and the agent's
// join. Thread safety: strand-bound (one thread at a time).
#pragma once

#include "base/result.hpp"
#include "http/message.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace culvert::http {

struct ClientOptions {
    std::string base_url;                      // https://HOST:PORT
    std::string ca_pem;                        // trust only this; empty: the system's store
    std::chrono::milliseconds timeout{15000};  // of one exchange
};

class Client {
  public:
    virtual ~Client() = default;
    // `target` is path and query. Reconnects once when a kept-alive connection turns out closed.
    // Errors: kUnavailable (cannot connect), kTimeout, kUnauthenticated (certificate not trusted).
    // Any HTTP status is a Response.
    virtual Result<Response> send(std::string method, std::string target, Headers headers,
                                  std::string body) = 0;
};

Result<std::unique_ptr<Client>> connect(const ClientOptions& options);

}  // namespace culvert::http
