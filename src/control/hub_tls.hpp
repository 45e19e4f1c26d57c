// SPDX-License-Identifier: Apache-2.0
// The hub's TLS credentials, replaceable while it serves: gRPC looks at files once a second and
// uses what they hold for every connection from then on. The files are in memory (memfd) and are
// swapped whole, so that no private key is written to a disk for gRPC's sake and none is read half.
// Thread safety: internally synchronized.
#pragma once

#include "base/guarded.hpp"
#include "base/result.hpp"
#include "runtime/fd.hpp"

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

namespace culvert::control {

class HubTls {
  public:
    // Errors: kInvalidArgument (certificate, key, CA, or key and certificate do not match).
    static Result<std::unique_ptr<HubTls>> make(const std::string& certificate_pem,
                                                const std::string& key_pem,
                                                const std::string& ca_pem);
    HubTls(const HubTls&) = delete;
    HubTls& operator=(const HubTls&) = delete;

    Status replace(const std::string& certificate_pem, const std::string& key_pem,
                   const std::string& ca_pem);
    // Clients must have a certificate that the CA signed. Outlived by this object.
    std::shared_ptr<grpc::ServerCredentials> credentials() const;

  private:
    struct Files {
        runtime::Fd own;  // key and certificate in one, so that they change together
        runtime::Fd ca;
    };

    explicit HubTls(Files files) : files_(std::move(files)) {}

    Guarded<Files> files_;
};

}  // namespace culvert::control
