// SPDX-License-Identifier: Apache-2.0
#include "control/hub_pki_test.hpp"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace culvert::control::scene {
namespace {

constexpr long kHour = 3600;

template <typename Write>
std::string pem_of(Write write) {
    BIO* bio = BIO_new(BIO_s_mem());
    EXPECT_EQ(write(bio), 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string pem(data, static_cast<std::size_t>(size));
    BIO_free(bio);
    return pem;
}

std::string pem_of_key(EVP_PKEY* key) {
    return pem_of([&](BIO* bio) {
        return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
}

std::string pem_of_certificate(X509* certificate) {
    return pem_of([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

void set_name(X509_NAME* name, const std::string& common_name) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                               0);
}

void extend(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    ASSERT_NE(extension, nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

X509* blank(EVP_PKEY* key, const std::string& common_name, std::uint64_t serial, long from) {
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), from);
    X509_gmtime_adj(X509_getm_notAfter(certificate), from + kHour);
    set_name(X509_get_subject_name(certificate), common_name);
    X509_set_pubkey(certificate, key);
    return certificate;
}

}  // namespace

Authority::Authority(const std::string& name) : name_(name), key_(EVP_EC_gen("P-256")) {
    certificate_ = blank(key_, name, 1, -60);
    X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
    extend(certificate_, certificate_, NID_basic_constraints, "critical,CA:TRUE");
    extend(certificate_, certificate_, NID_key_usage, "critical,keyCertSign,cRLSign");
    X509_sign(certificate_, key_, EVP_sha256());
    pem_ = pem_of_certificate(certificate_);
}

Authority::~Authority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
}

std::string Authority::issue_for(EVP_PKEY* key, const std::string& common_name,
                                 std::uint64_t serial, bool expired) const {
    X509* certificate = blank(key, common_name, serial, expired ? -2 * kHour : -60);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate_));
    extend(certificate, certificate_, NID_subject_alt_name, "IP:127.0.0.1");
    X509_sign(certificate, key_, EVP_sha256());
    std::string pem = pem_of_certificate(certificate);
    X509_free(certificate);
    return pem;
}

KeyPair Authority::issue(const std::string& common_name, std::uint64_t serial, bool expired) const {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    KeyPair made{issue_for(key, common_name, serial, expired), pem_of_key(key)};
    EVP_PKEY_free(key);
    return made;
}

std::string Authority::sign(const std::string& csr_pem, const std::string& common_name,
                            std::uint64_t serial) const {
    BIO* bio = BIO_new_mem_buf(csr_pem.data(), static_cast<int>(csr_pem.size()));
    X509_REQ* wanted = PEM_read_bio_X509_REQ(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    EXPECT_NE(wanted, nullptr);
    std::string pem = issue_for(X509_REQ_get0_pubkey(wanted), common_name, serial, false);
    X509_REQ_free(wanted);
    return pem;
}

HubOptions hub_options(const Authority& authority) {
    const KeyPair server = authority.issue("hub", 5);
    return {.listen = "127.0.0.1:0",
            .certificate_pem = server.certificate_pem,
            .key_pem = server.key_pem,
            .ca_pem = authority.pem(),
            .intent = {}};
}

KeyPair request(const std::string& common_name) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509_REQ* wanted = X509_REQ_new();
    set_name(X509_REQ_get_subject_name(wanted), common_name);
    X509_REQ_set_pubkey(wanted, key);
    X509_REQ_sign(wanted, key, EVP_sha256());
    KeyPair made{pem_of([&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, wanted); }),
                 pem_of_key(key)};
    X509_REQ_free(wanted);
    EVP_PKEY_free(key);
    return made;
}

}  // namespace culvert::control::scene
