// SPDX-License-Identifier: Apache-2.0
#include "control/hub_streams.hpp"
#include "model/resource_id.hpp"

#include <openssl/bn.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
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

}  // namespace

Result<StreamIdentity> identity_of(const std::string& certificate_pem) {
    const std::unique_ptr<BIO, Deleter<BIO_free>> bio(
        BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
    const std::unique_ptr<X509, Deleter<X509_free>> certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) {
        return fail(Code::kInvalidArgument, "not a certificate");
    }
    std::array<char, kNameChars> name{};
    const int length = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()),
                                                 NID_commonName, name.data(), kNameChars);
    const std::unique_ptr<BIGNUM, Deleter<BN_free>> number(
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
    const std::unique_ptr<char, Deleter<free_text>> hex(number ? BN_bn2hex(number.get()) : nullptr);
    if (length <= 0 || !hex) {
        return fail(Code::kInvalidArgument, "certificate without common name or serial number");
    }
    return StreamIdentity{std::string(name.data(), static_cast<std::size_t>(length)),
                          model::lower(hex.get())};
}

}  // namespace culvert::control
