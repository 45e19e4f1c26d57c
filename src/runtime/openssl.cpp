// SPDX-License-Identifier: Apache-2.0
#include "runtime/openssl.hpp"

#include <openssl/pem.h>

#include <ctime>

namespace culvert::runtime {
namespace {

int no_password(char*, int, int, void*) { return -1; }

}  // namespace

Bio reader(const std::string& text) {
    return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Bio writer() { return Bio(BIO_new(BIO_s_mem())); }

std::string content(const Bio& written) {
    char* data = nullptr;
    const long length = BIO_get_mem_data(written.get(), &data);
    return {data, static_cast<std::size_t>(length)};
}

Certificate certificate_of(const std::string& pem) {
    return Certificate(PEM_read_bio_X509(reader(pem).get(), nullptr, nullptr, nullptr));
}

Key key_of(const std::string& pem) { return next_key(reader(pem)); }

Key next_key(const Bio& from) {
    return Key(PEM_read_bio_PrivateKey(from.get(), nullptr, no_password, nullptr));
}

WallTime time_of(const ASN1_TIME* field) {
    std::tm parts{};
    return ASN1_TIME_to_tm(field, &parts) == 1 ? wall_time(timegm(&parts)) : WallTime();
}

}  // namespace culvert::runtime
