// SPDX-License-Identifier: Apache-2.0
#include "control_plane.hpp"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 10s;

std::string text_of(const std::function<int(BIO*)>& write) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> memory(BIO_new(BIO_s_mem()), BIO_free_all);
    if (write(memory.get()) != 1) {
        throw std::runtime_error("write PEM");
    }
    char* data = nullptr;
    const long length = BIO_get_mem_data(memory.get(), &data);
    return {data, static_cast<std::size_t>(length)};
}

void add_extension(X509* certificate, X509V3_CTX* context, int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, context, nid, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

}  // namespace

Certificate make_certificate(const std::string& name, const Certificate* issuer) {
    static long serial = 1;
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.data()),
                               static_cast<int>(name.size()), -1, 0);
    X509* parent = certificate;
    EVP_PKEY* parent_key = key;
    if (issuer != nullptr) {
        BIO* pem = BIO_new_mem_buf(issuer->certificate_pem.data(), -1);
        parent = PEM_read_bio_X509(pem, nullptr, nullptr, nullptr);
        BIO_free(pem);
        pem = BIO_new_mem_buf(issuer->key_pem.data(), -1);
        parent_key = PEM_read_bio_PrivateKey(pem, nullptr, nullptr, nullptr);
        BIO_free(pem);
    }
    X509_set_issuer_name(certificate, X509_get_subject_name(parent));
    X509V3_CTX context;
    X509V3_set_ctx(&context, parent, certificate, nullptr, nullptr, 0);
    add_extension(certificate, &context, NID_basic_constraints,
                  issuer == nullptr ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(certificate, &context, NID_subject_alt_name, "IP:127.0.0.1");
    X509_sign(certificate, parent_key, EVP_sha256());
    Certificate out{
        .certificate_pem = text_of([&](BIO* to) { return PEM_write_bio_X509(to, certificate); }),
        .key_pem = text_of([&](BIO* to) {
            return PEM_write_bio_PKCS8PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr);
        })};
    if (parent != certificate) {
        X509_free(parent);
        EVP_PKEY_free(parent_key);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return out;
}

ControlPlane::ControlPlane(const Certificate& authority) {
    const Certificate own = make_certificate("culvertd", &authority);
    grpc::SslServerCredentialsOptions tls(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = authority.certificate_pem;
    tls.pem_key_cert_pairs.push_back({own.key_pem, own.certificate_pem});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (!server_) {
        throw std::runtime_error("start the control plane");
    }
}

ControlPlane::~ControlPlane() {
    talk_.with([](Talk& talk) { talk.stopping = true; });
    server_->Shutdown(std::chrono::system_clock::now() + 200ms);
}

std::string ControlPlane::address() const { return "127.0.0.1:" + std::to_string(port_); }

void ControlPlane::send(const api::ControlMessage& message) {
    talk_.with([&](Talk& talk) { talk.queue.push_back(message); });
}

void ControlPlane::send(const api::Delta& delta) {
    api::ControlMessage message;
    *message.mutable_delta() = delta;
    send(message);
}

void ControlPlane::hang_up() {
    talk_.with([](Talk& talk) { talk.hang_up = true; });
}

grpc::Status ControlPlane::Connect(grpc::ServerContext* context, Stream* stream) {
    talk_.with([](Talk& talk) { talk.over = talk.hang_up = false; });
    std::thread reader([&] {
        api::AgentMessage message;
        while (stream->Read(&message)) {
            take(message);
        }
        talk_.with([](Talk& talk) { talk.over = true; });
    });
    const auto ended = [](const Talk& talk) { return talk.over || talk.stopping || talk.hang_up; };
    const auto ready = [&](const Talk& talk) { return ended(talk) || !talk.queue.empty(); };
    const auto next = [&](Talk& talk) -> std::optional<api::ControlMessage> {
        if (ended(talk)) {
            return std::nullopt;
        }
        auto out = std::move(talk.queue.front());
        talk.queue.pop_front();
        return out;
    };
    while (const auto message = talk_.wait(ready, next)) {
        stream->Write(*message);
    }
    context->TryCancel();
    reader.join();
    return grpc::Status::OK;
}

void ControlPlane::take(const api::AgentMessage& message) {
    talk_.with([&](Talk& talk) {
        if (message.has_hello()) {
            talk.hellos.push_back(message.hello());
        } else if (message.has_ack()) {
            talk.acks.push_back(message.ack());
        } else if (message.has_heartbeat()) {
            ++talk.heartbeats;
        }
    });
}

std::optional<api::Hello> ControlPlane::next_hello() {
    const auto ready = [](const Talk& talk) { return !talk.hellos.empty(); };
    return talk_.wait_for(kPatience, ready, [](Talk& talk) -> std::optional<api::Hello> {
        if (talk.hellos.empty()) {
            return std::nullopt;
        }
        auto out = talk.hellos.front();
        talk.hellos.pop_front();
        return out;
    });
}

std::optional<api::Ack> ControlPlane::wait_ack(std::uint64_t version) {
    std::optional<api::Ack> out;
    const auto ready = [&](Talk& talk) {
        while (!talk.acks.empty() && !out) {
            if (!talk.acks.front().error().empty() || talk.acks.front().version() == version) {
                out = talk.acks.front();
            }
            talk.acks.pop_front();
        }
        return out.has_value();
    };
    return talk_.wait_for(kPatience, ready, [&](Talk&) { return out; });
}

bool ControlPlane::wait_heartbeats(std::size_t least) {
    const auto ready = [least](const Talk& talk) { return talk.heartbeats >= least; };
    return talk_.wait_for(kPatience, ready, ready);
}

}  // namespace culvert::agent
