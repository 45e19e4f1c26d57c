// SPDX-License-Identifier: Apache-2.0
#include "control/hub_streams.hpp"
#include "model/resource_id.hpp"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>

namespace culvert::control {
namespace {

template <auto Free>
struct Deleter {
    template <typename T>
    void operator()(T* pointer) const {
        Free(pointer);
    }
};
void free_text(char* text) { OPENSSL_free(text); }

constexpr int kNameChars = 256;

// Empty when there is none.
std::string common_name(X509_NAME* name) {
    std::array<char, kNameChars> text{};
    const int length = X509_NAME_get_text_by_NID(name, NID_commonName, text.data(), kNameChars);
    return {text.data(), static_cast<std::size_t>(std::max(length, 0))};
}

WallTime time_of(const ASN1_TIME* field) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(field, &parts) != 1) {
        return {};
    }
    return WallTime::clock::from_time_t(timegm(&parts));
}

}  // namespace

std::vector<std::string> authorities_of(const std::string& bundle_pem) {
    std::vector<std::string> out;
    const std::unique_ptr<BIO, Deleter<BIO_free>> bio(
        BIO_new_mem_buf(bundle_pem.data(), static_cast<int>(bundle_pem.size())));
    while (const std::unique_ptr<X509, Deleter<X509_free>> certificate{
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
        out.push_back(common_name(X509_get_subject_name(certificate.get())));
    }
    ERR_clear_error();  // of the bundle's end
    return out;
}

Result<StreamIdentity> identity_of(const std::string& certificate_pem) {
    const std::unique_ptr<BIO, Deleter<BIO_free>> bio(
        BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
    const std::unique_ptr<X509, Deleter<X509_free>> certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) {
        return fail(Code::kInvalidArgument, "not a certificate");
    }
    std::string name = common_name(X509_get_subject_name(certificate.get()));
    const std::unique_ptr<BIGNUM, Deleter<BN_free>> number(
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
    const std::unique_ptr<char, Deleter<free_text>> hex(number ? BN_bn2hex(number.get()) : nullptr);
    if (name.empty() || !hex) {
        return fail(Code::kInvalidArgument, "certificate without common name or serial number");
    }
    return StreamIdentity{std::move(name), model::lower(hex.get()),
                          common_name(X509_get_issuer_name(certificate.get())),
                          time_of(X509_get0_notBefore(certificate.get())),
                          time_of(X509_get0_notAfter(certificate.get()))};
}

}  // namespace culvert::control
