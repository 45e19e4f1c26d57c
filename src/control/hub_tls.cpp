// SPDX-License-Identifier: Apache-2.0
#include "control/hub_tls.hpp"

#include "runtime/files.hpp"
#include "runtime/openssl.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace culvert::control {
namespace {

constexpr unsigned kLookEverySeconds = 1;

Status check(const std::string& certificate_pem, const std::string& key_pem,
             const std::string& ca_pem) {
    const auto own = runtime::certificate_of(certificate_pem);
    const auto key = runtime::key_of(key_pem);
    if (!own || !key || X509_check_private_key(own.get(), key.get()) != 1) {
        return fail(Code::kInvalidArgument,
                    "hub: the certificate or key cannot be used, or they do not match");
    }
    if (!runtime::certificate_of(ca_pem)) {
        return fail(Code::kInvalidArgument, "hub: the CA cannot be used");
    }
    return {};
}

Result<runtime::Fd> file_of(const std::string& content) {
    runtime::Fd file(memfd_create("culvert-tls", MFD_CLOEXEC));
    if (!file) {
        return std::unexpected(error_from_errno(errno, "hub: make a file in memory"));
    }
    CULVERT_TRY_STATUS(runtime::write_all(file.get(), content));
    return file;
}

// What `to` names becomes `from`'s file, at once.
Status swap_in(const runtime::Fd& from, const runtime::Fd& to) {
    if (dup3(from.get(), to.get(), O_CLOEXEC) < 0) {
        return std::unexpected(error_from_errno(errno, "hub: replace the certificate"));
    }
    return {};
}

std::string path_of(const runtime::Fd& file) { return fmt::format("/proc/self/fd/{}", file.get()); }

}  // namespace

Result<std::unique_ptr<HubTls>> HubTls::make(const std::string& certificate_pem,
                                             const std::string& key_pem,
                                             const std::string& ca_pem) {
    CULVERT_TRY_STATUS(check(certificate_pem, key_pem, ca_pem));
    auto own = file_of(key_pem + certificate_pem);
    auto ca = file_of(ca_pem);
    if (!own || !ca) {
        return std::unexpected(!own ? own.error() : ca.error());
    }
    return std::unique_ptr<HubTls>(new HubTls(Files{std::move(*own), std::move(*ca)}));
}

Status HubTls::replace(const std::string& certificate_pem, const std::string& key_pem,
                       const std::string& ca_pem) {
    CULVERT_TRY_STATUS(check(certificate_pem, key_pem, ca_pem));
    const auto own = file_of(key_pem + certificate_pem);
    const auto ca = file_of(ca_pem);
    if (!own || !ca) {
        return std::unexpected(!own ? own.error() : ca.error());
    }
    return files_.with([&](const Files& files) -> Status {
        CULVERT_TRY_STATUS(swap_in(*ca, files.ca));
        return swap_in(*own, files.own);
    });
}

std::shared_ptr<grpc::ServerCredentials> HubTls::credentials() const {
    return files_.with([](const Files& files) {
        const std::string own = path_of(files.own);
        grpc::experimental::TlsServerCredentialsOptions options(
            std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
                own, own, path_of(files.ca), kLookEverySeconds));
        options.watch_identity_key_cert_pairs();
        options.watch_root_certs();
        options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
        return grpc::experimental::TlsServerCredentials(options);
    });
}

}  // namespace culvert::control
