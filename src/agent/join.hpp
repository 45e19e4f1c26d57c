// SPDX-License-Identifier: Apache-2.0
// How a host becomes a node: a key that never leaves it, a certificate for a one-time token.
#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <string>

namespace culvert::agent {

struct JoinOptions {
    std::string control;  // https://HOST:PORT
    std::filesystem::path ca_file;
    std::string token;
    std::string name;
    std::string outer;  // backbone address
    std::filesystem::path data_dir;
};

// Makes an EC P-256 key and a request (PKCS#10), posts them to {control}/culvert/join, stores what
// comes back. Nothing is stored on failure.
// Errors: kUnavailable, kUnauthenticated, kPermissionDenied (token), kConflict (joined already).
Status join(const JoinOptions& options);

struct KeyAndRequest {
    std::string key_pem;
    std::string request_pem;
};
// The request's common name is the node's name.
Result<KeyAndRequest> make_key_and_request(const std::string& name);

}  // namespace culvert::agent
