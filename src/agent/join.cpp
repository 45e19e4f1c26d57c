// SPDX-License-Identifier: Apache-2.0
#include "agent/join.hpp"

#include "agent/identity.hpp"
#include "base/log.hpp"
#include "datapath/outer.hpp"
#include "http/client.hpp"
#include "runtime/files.hpp"
#include "runtime/openssl.hpp"

#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <boost/json.hpp>

#include <array>
#include <memory>

namespace culvert::agent {
namespace {

namespace json = boost::json;

std::unexpected<Error> openssl_error(std::string_view doing) {
    std::array<char, 256> text{};
    ERR_error_string_n(ERR_get_error(), text.data(), text.size());
    return fail(Code::kInternal, fmt::format("{}: {}", doing, text.data()));
}

// What the control plane said, as an error: ARM's body has error.message.
Error refusal(const http::Response& response) {
    Code code = Code::kUnavailable;
    switch (response.status) {
        case 400: code = Code::kInvalidArgument; break;
        case 401: code = Code::kUnauthenticated; break;
        case 403: code = Code::kPermissionDenied; break;
        case 404: code = Code::kNotFound; break;
        case 409: code = Code::kConflict; break;
        default: break;
    }
    std::string message = fmt::format("HTTP status {}", response.status);
    boost::system::error_code error;
    const auto parsed = json::parse(response.body, error);
    if (!error && parsed.is_object()) {
        const auto* inner = parsed.as_object().if_contains("error");
        const auto* said = inner != nullptr && inner->is_object()
                               ? inner->as_object().if_contains("message")
                               : nullptr;
        if (said != nullptr && said->is_string()) {
            message = std::string(said->as_string());
        }
    }
    return Error{code, "join: " + message, {}, {}, {}};
}

}  // namespace

Result<KeyAndRequest> make_key_and_request(const std::string& name) {
    const runtime::Key key(EVP_EC_gen("P-256"));
    const runtime::CertificateRequest request(X509_REQ_new());
    if (!key || !request) {
        return openssl_error("make key");
    }
    X509_NAME* subject = X509_REQ_get_subject_name(request.get());
    const auto* text = reinterpret_cast<const unsigned char*>(name.data());
    if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
        X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, text,
                                   static_cast<int>(name.size()), -1, 0) != 1 ||
        X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
        X509_REQ_sign(request.get(), key.get(), EVP_sha256()) <= 0) {
        return openssl_error("make certificate request");
    }
    const auto key_pem = runtime::writer();
    const auto request_pem = runtime::writer();
    if (!key_pem || !request_pem ||
        PEM_write_bio_PKCS8PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                      nullptr) != 1 ||
        PEM_write_bio_X509_REQ(request_pem.get(), request.get()) != 1) {
        return openssl_error("write key and request");
    }
    return KeyAndRequest{.key_pem = runtime::content(key_pem),
                         .request_pem = runtime::content(request_pem)};
}

Status join(const JoinOptions& options) {
    if (const auto outer = datapath::OuterAddress::parse(options.outer); !outer) {
        return std::unexpected(prefixed(outer.error(), "join: --outer"));
    }
    if (std::filesystem::exists(options.data_dir / "node.json")) {
        return fail(Code::kConflict,
                    fmt::format("join: {} belongs to a node already (remove it, or "
                                "use another --data-dir)",
                                options.data_dir.string()));
    }
    auto ca = runtime::read_file(options.ca_file);
    if (!ca) {
        return std::unexpected(prefixed(std::move(ca.error()), "join: --ca"));
    }
    const auto made = make_key_and_request(options.name);
    if (!made) {
        return std::unexpected(prefixed(made.error(), "join"));
    }
    auto client = http::connect({.base_url = options.control, .ca_pem = *ca});
    if (!client) {
        return std::unexpected(prefixed(std::move(client.error()), "join"));
    }
    const json::object body{{"token", options.token},
                            {"name", options.name},
                            {"outer", options.outer},
                            {"csr", made->request_pem}};
    const auto response = (*client)->send(
        "POST", "/culvert/join", {{"Content-Type", "application/json"}}, json::serialize(body));
    if (!response) {
        return std::unexpected(prefixed(response.error(), "join"));
    }
    if (response->status != 200) {
        return std::unexpected(refusal(*response));
    }
    Identity identity{.name = options.name,
                      .node = 0,
                      .outer = options.outer,
                      .intent = {},
                      .control = options.control,
                      .certificate_pem = {},
                      .key_pem = made->key_pem,
                      .ca_pem = {}};
    try {
        const auto answer = json::parse(response->body).as_object();
        identity.certificate_pem = std::string(answer.at("certificate").as_string());
        identity.ca_pem = std::string(answer.at("ca").as_string());
        identity.intent = std::string(answer.at("intent").as_string());
        identity.node = answer.at("node").to_number<std::uint32_t>();
    } catch (const std::exception& error) {
        return fail(Code::kUnavailable, fmt::format("join: unexpected answer: {}", error.what()));
    }
    if (auto saved = save_identity(options.data_dir, identity); !saved) {
        return std::unexpected(prefixed(std::move(saved.error()), "join"));
    }
    spdlog::info("agent: joined as {} (node {}), intent from {}", identity.name, identity.node,
                 identity.intent);
    return {};
}

}  // namespace culvert::agent
