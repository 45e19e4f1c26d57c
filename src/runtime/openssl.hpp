// SPDX-License-Identifier: Apache-2.0
// OpenSSL's objects as values that free themselves, and what several modules read and write with
// them.
#pragma once

#include "base/clock.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace culvert::runtime {

template <auto Free>
struct Release {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};
template <typename T, auto Free>
using Owned = std::unique_ptr<T, Release<Free>>;

using Bio = Owned<BIO, BIO_free_all>;
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using Certificate = Owned<X509, X509_free>;
using CertificateRequest = Owned<X509_REQ, X509_REQ_free>;
using Extension = Owned<X509_EXTENSION, X509_EXTENSION_free>;

// Reads from the text, which outlives it; an empty one to write to.
Bio reader(const std::string& text);
Bio writer();
std::string content(const Bio& written);

// The first one of the text; null: there is none. A key that is encrypted is none: nobody sits at a
// prompt.
Certificate certificate_of(const std::string& pem);
Key key_of(const std::string& pem);
Key next_key(const Bio& from);

// The epoch when the field is malformed.
WallTime time_of(const ASN1_TIME* field);

}  // namespace culvert::runtime
