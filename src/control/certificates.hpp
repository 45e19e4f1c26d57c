// SPDX-License-Identifier: Apache-2.0
// The deployment's own certificate authority: P-256, ten years, made on first start and kept in the
// data directory (ca.crt, ca.key, server.crt, server.key; keys 0600). It signs the server's
// certificate and the nodes'.
//
// Rotation: ca.crt is what is trusted, the authority that signs first. A second one behind it is
// newer while it is only trusted beside the old one, older when it has stopped signing. Each step
// is one replaced file. Thread safety: internally synchronized.
#pragma once

#include "base/clock.hpp"
#include "base/guarded.hpp"
#include "base/limits.hpp"
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

enum class Rotation { kNone, kTrusting, kIssuing };
std::string_view to_string(Rotation rotation);

// How long certificates are good for.
struct CertificateLives {
    std::chrono::seconds node = limits::kNodeCertificateLife;
    std::chrono::seconds server = limits::kServerCertificateLife;
};

// The files of an authority: ca.crt, ca.key, and ca-retired.crt with those that are trusted no
// more.
struct AuthorityFiles {
    std::string certificates;
    std::string keys;
    std::string retired;

    // Where the file of that name belongs; null: it is none of them.
    std::string* part(std::string_view name);
};

// Brings an authority from a backup into a directory that may have one. Of one installation, what
// the directory has counts: an authority that was retired since does not come back, one that signs
// now goes on; what is missing is added. One of another installation is replaced, and kept beside
// with `suffix`. Errors: kCorrupt (the backup's is none).
Status merge_authority(const std::filesystem::path& directory, AuthorityFiles restored,
                       const std::string& suffix);

class CertificateAuthority {
  public:
    // Reads the authority of `directory`, or makes one there. Errors: kCorrupt (one of the two
    // files is missing or damaged, or the key is another certificate's), kPermissionDenied.
    static Result<std::unique_ptr<CertificateAuthority>> open(
        const std::filesystem::path& directory, WallTime now, Random& random,
        CertificateLives lives = {});
    CertificateAuthority(const CertificateAuthority&) = delete;
    CertificateAuthority& operator=(const CertificateAuthority&) = delete;

    // Of the authority that signs.
    std::string certificate_pem() const;
    // Every authority that is trusted now, the one that signs first.
    std::string trust_pem() const;
    Rotation rotation() const;

    // The next one is made, and trusted beside the one that signs. Errors: kConflict (under way).
    Status begin_rotation(WallTime now);
    // The next one signs from now on; the old one is trusted still. Errors: kConflict (not begun).
    Status issue_from_next();
    // The old one is forgotten. Errors: kConflict (it signs still).
    Status finish_rotation();
    // The next one is forgotten. Errors: kConflict (nothing to abort: none is there, or it signs).
    Status abort_rotation();

    // The server certificate kept in the directory; a new one when there is none, when it ends
    // within limits::kCertificateRenewBefore (or a third of its life when that is less), was not
    // signed by this authority, or lacks one of `names` (DNS names or addresses).
    Result<KeyPair> server_certificate(const std::vector<std::string>& names, WallTime now);

    // A client certificate for the key of a PKCS#10 request, which must be signed with it. The
    // subject is `node_name`, whatever the request says. Errors: kInvalidArgument (not a request,
    // bad signature, weak key, name).
    Result<std::string> issue_node_certificate(const std::string& csr_pem,
                                               const std::string& node_name, WallTime now);

  private:
    CertificateAuthority(std::filesystem::path directory, Random& random, CertificateLives lives,
                         std::vector<KeyPair> authorities);
    KeyPair issuing() const;
    Status replace(std::vector<KeyPair>& held, std::vector<KeyPair> next, Rotation from,
                   const char* what) const;

    std::filesystem::path directory_;
    Random& random_;
    const CertificateLives lives_;
    // It covers the files' I/O on purpose: one step at a time.
    Guarded<std::vector<KeyPair>>
        authorities_;  // the one that signs first; the other's key may lack
};

// When it ends. Errors: kInvalidArgument.
Result<WallTime> certificate_until(const std::string& certificate_pem);

// Does the certificate end within limits::kCertificateRenewBefore? Errors: kInvalidArgument.
Result<bool> ends_soon(const std::string& certificate_pem, WallTime now);

// The common name that a PKCS#10 request asks for, empty when none. Errors: kInvalidArgument.
Result<std::string> request_name(const std::string& csr_pem);

// Is it a name for certificates and the store: 1..63 of a-z 0-9 . - with a letter or digit at both
// ends (RFC 1123 2.1)?
bool is_node_name(std::string_view name);

}  // namespace culvert::control
