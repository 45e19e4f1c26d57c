// SPDX-License-Identifier: Apache-2.0
// The deployment's own certificate authority: P-256, ten years, made on first start and kept in the
// data directory (ca.crt, ca.key, server.crt, server.key; keys 0600). It signs the server's
// certificate and the nodes'.
//
// Immutable after construction.
#pragma once

#include "base/clock.hpp"
#include "base/random.hpp"
#include "base/result.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace culvert::control {

struct KeyPair {
    std::string certificate_pem;
    std::string key_pem;
};

class CertificateAuthority {
  public:
    // Reads the authority of `directory`, or makes one there. Errors: kCorrupt (one of the two
    // files is missing or damaged, or the key is another certificate's), kPermissionDenied.
    static Result<std::unique_ptr<CertificateAuthority>> open(
        const std::filesystem::path& directory, WallTime now, Random& random);
    CertificateAuthority(const CertificateAuthority&) = delete;
    CertificateAuthority& operator=(const CertificateAuthority&) = delete;

    const std::string& certificate_pem() const { return certificate_pem_; }

    // The server certificate kept in the directory; a new one when there is none, when it ends
    // within limits::kCertificateRenewBefore, was not signed by this authority, or lacks one of
    // `names` (DNS names or addresses).
    Result<KeyPair> server_certificate(const std::vector<std::string>& names, WallTime now);

    // A client certificate for the key of a PKCS#10 request, which must be signed with it. The
    // subject is `node_name`, whatever the request says. Errors: kInvalidArgument (not a request,
    // bad signature, weak key, name).
    Result<std::string> issue_node_certificate(const std::string& csr_pem,
                                               const std::string& node_name, WallTime now);

  private:
    CertificateAuthority(std::filesystem::path directory, Random& random, KeyPair pair);

    std::filesystem::path directory_;
    Random& random_;
    std::string certificate_pem_;
    std::string key_pem_;
};

// Does the certificate end within limits::kCertificateRenewBefore? Errors: kInvalidArgument.
Result<bool> ends_soon(const std::string& certificate_pem, WallTime now);

// Is it a name for certificates and the store: 1..63 of a-z 0-9 . - with a letter or digit at both
// ends (RFC 1123 2.1)?
bool is_node_name(std::string_view name);

}  // namespace culvert::control
