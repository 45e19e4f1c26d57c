// SPDX-License-Identifier: Apache-2.0
// TLS contexts of the server and the client. Internal to http/.
#pragma once

#include "base/result.hpp"

#include <boost/asio/ssl/context.hpp>

#include <memory>
#include <string>

namespace culvert::http {

// TLS 1.2 and 1.3, no renegotiation, ALPN http/1.1. Errors: kInvalidArgument (certificate, key, or
// the two do not match).
Result<std::shared_ptr<boost::asio::ssl::context>> server_context(
    const std::string& certificate_pem, const std::string& key_pem);

// Verifies the peer against `ca_pem`, or against the system's store when that is empty.
Result<std::shared_ptr<boost::asio::ssl::context>> client_context(const std::string& ca_pem);

}  // namespace culvert::http
