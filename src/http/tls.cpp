// SPDX-License-Identifier: Apache-2.0
#include "http/tls.hpp"

#include <boost/asio/buffer.hpp>

#include <fmt/format.h>
#include <openssl/ssl.h>

namespace culvert::http {

namespace net = boost::asio;
namespace ssl = boost::asio::ssl;

namespace {

// An encrypted key is one that cannot be read: nobody sits at a prompt.
int no_password(char*, int, int, void*) { return -1; }

// RFC 7301: only http/1.1 is spoken here; a client that offers nothing of ours goes on without
// ALPN.
int select_protocol(SSL*, const unsigned char** out, unsigned char* out_length,
                    const unsigned char* offered, unsigned int offered_length, void*) {
    static constexpr unsigned char kOurs[] = "\x08http/1.1";
    unsigned char* chosen = nullptr;
    const int found = SSL_select_next_proto(&chosen, out_length, kOurs, sizeof(kOurs) - 1, offered,
                                            offered_length);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

Result<std::shared_ptr<ssl::context>> server_context(const std::string& certificate_pem,
                                                     const std::string& key_pem) {
    auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
    boost::system::error_code ec;
    SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                                      SSL_OP_CIPHER_SERVER_PREFERENCE |
                                                      SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context->native_handle(), select_protocol, nullptr);
    SSL_CTX_set_default_passwd_cb(context->native_handle(), no_password);
    static constexpr unsigned char kSessions[] = "culvert";
    SSL_CTX_set_session_id_context(context->native_handle(), kSessions, sizeof(kSessions) - 1);
    if (context->use_certificate_chain(net::buffer(certificate_pem), ec); ec) {
        return fail(Code::kInvalidArgument, fmt::format("tls certificate: {}", ec.message()));
    }
    if (context->use_private_key(net::buffer(key_pem), ssl::context::pem, ec); ec) {
        return fail(Code::kInvalidArgument, fmt::format("tls private key: {}", ec.message()));
    }
    if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
        return fail(Code::kInvalidArgument, "tls private key: does not belong to the certificate");
    }
    return context;
}

Result<std::shared_ptr<ssl::context>> client_context(const std::string& ca_pem) {
    auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
    boost::system::error_code ec;
    SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_options(context->native_handle(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (ca_pem.empty()) {
        context->set_default_verify_paths(ec);
    } else {
        context->add_certificate_authority(net::buffer(ca_pem), ec);
    }
    if (ec) {
        return fail(Code::kInvalidArgument,
                    fmt::format("tls certificate authority: {}", ec.message()));
    }
    context->set_verify_mode(ssl::verify_peer);
    return context;
}

}  // namespace culvert::http
