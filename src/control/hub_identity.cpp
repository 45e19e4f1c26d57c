// SPDX-License-Identifier: Apache-2.0
#include "control/hub_streams.hpp"
#include "model/resource_id.hpp"
#include "runtime/openssl.hpp"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>

namespace culvert::control {
namespace {

void free_text(char* text) { OPENSSL_free(text); }

constexpr int kNameChars = 256;

// Empty when there is none.
std::string common_name(X509_NAME* name) {
    std::array<char, kNameChars> text{};
    const int length = X509_NAME_get_text_by_NID(name, NID_commonName, text.data(), kNameChars);
    return {text.data(), static_cast<std::size_t>(std::max(length, 0))};
}

}  // namespace

std::vector<std::string> authorities_of(const std::string& bundle_pem) {
    std::vector<std::string> out;
    const auto bundle = runtime::reader(bundle_pem);
    while (const runtime::Certificate certificate{
        PEM_read_bio_X509(bundle.get(), nullptr, nullptr, nullptr)}) {
        out.push_back(common_name(X509_get_subject_name(certificate.get())));
    }
    ERR_clear_error();  // of the bundle's end
    return out;
}

Result<StreamIdentity> identity_of(const std::string& certificate_pem) {
    const auto certificate = runtime::certificate_of(certificate_pem);
    if (!certificate) {
        return fail(Code::kInvalidArgument, "not a certificate");
    }
    std::string name = common_name(X509_get_subject_name(certificate.get()));
    const runtime::Owned<BIGNUM, BN_free> number(
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
    const runtime::Owned<char, free_text> hex(number ? BN_bn2hex(number.get()) : nullptr);
    if (name.empty() || !hex) {
        return fail(Code::kInvalidArgument, "certificate without common name or serial number");
    }
    return StreamIdentity{std::move(name), model::lower(hex.get()),
                          common_name(X509_get_issuer_name(certificate.get())),
                          runtime::time_of(X509_get0_notBefore(certificate.get())),
                          runtime::time_of(X509_get0_notAfter(certificate.get()))};
}

}  // namespace culvert::control
