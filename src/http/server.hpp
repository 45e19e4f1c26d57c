// SPDX-License-Identifier: Apache-2.0
// The HTTPS server: HTTP/1.1 with keep-alive over TLS 1.2+, every size and time bounded by
// base/limits.hpp: slow, silent or over-large clients are cut, and counted. Boost.Beast coroutines
// inside. Thread safety: start() once; stop() from any thread.
#pragma once

#include "base/limits.hpp"
#include "base/result.hpp"
#include "http/message.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace culvert::http {

// What one server bears; the defaults are base/limits.hpp.
struct ServerLimits {
    std::size_t body_bytes = limits::kHttpBodyBytes;
    std::size_t header_bytes = limits::kHttpHeaderBytes;
    std::size_t header_count = limits::kHttpHeaderCount;
    std::size_t connections = limits::kHttpConnections;
    std::chrono::milliseconds handshake = limits::kHttpHandshakeTimeout;
    std::chrono::milliseconds header = limits::kHttpHeaderTimeout;
    std::chrono::milliseconds body = limits::kHttpBodyTimeout;
    std::chrono::milliseconds idle = limits::kHttpIdleTimeout;
    std::chrono::milliseconds write = limits::kHttpWriteTimeout;
};

struct ServerOptions {
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;       // 0: any free one
    std::string certificate_pem;  // chain, leaf first
    std::string key_pem;
    unsigned threads = 2;
    ServerLimits limits;
    // Sees every answer that is given without asking the handler (413, 431, malformed requests)
    // before it is sent, on one of the server's threads; may add headers. May be empty.
    std::function<void(Response&)> refused;
};

struct ServerStats {
    std::uint64_t connections = 0;  // open now
    std::uint64_t accepted = 0;
    std::uint64_t requests = 0;
    std::uint64_t refused_limit = 0;  // over kHttpConnections
    std::uint64_t cut_timeout = 0;
    std::uint64_t cut_too_large = 0;
    std::uint64_t failed_handshakes = 0;
    std::uint64_t malformed = 0;  // requests that are not HTTP
};

class Server {
  public:
    virtual ~Server() = default;  // stops
    virtual std::uint16_t port() const = 0;
    // New certificate for connections from now on (renewal without a restart).
    virtual Status replace_certificate(const std::string& certificate_pem,
                                       const std::string& key_pem) = 0;
    virtual ServerStats stats() const = 0;
    // Stops accepting, lets requests under way finish for at most `grace_ms`, closes the rest.
    virtual void stop(unsigned grace_ms) = 0;
};

// Errors: kInvalidArgument (address, certificate), kConflict (port in use), kPermissionDenied.
Result<std::unique_ptr<Server>> serve(const ServerOptions& options, Handler handler);

}  // namespace culvert::http
