// SPDX-License-Identifier: Apache-2.0
#include "control/certificates.hpp"

#include "base/limits.hpp"
#include "runtime/files.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <ranges>

namespace culvert::control {

namespace {

template <auto Free>
struct Deleter {
    template <typename T>
    void operator()(T* p) const {
        Free(p);
    }
};
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Deleter<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Deleter<X509_REQ_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

constexpr mode_t kSecret = 0600;
constexpr mode_t kPublic = 0644;
constexpr auto kAuthorityLife = std::chrono::days(3650);
constexpr auto kBackdate = std::chrono::minutes(5);  // clocks that are a little behind
constexpr std::size_t kPemBytes = 64 * 1024;

// An encrypted key is one that cannot be read: nobody sits at a prompt.
int no_password(char*, int, int, void*) { return -1; }

BioPtr reader(const std::string& text) {
    return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const auto size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

std::string to_pem(X509* certificate) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate);
    return text_of(bio.get());
}

std::string to_pem(EVP_PKEY* key) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    return text_of(bio.get());
}

CertificatePtr parse_certificate(const std::string& pem) {
    return CertificatePtr(PEM_read_bio_X509(reader(pem).get(), nullptr, nullptr, nullptr));
}

KeyPtr parse_key(const std::string& pem) {
    return KeyPtr(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, no_password, nullptr));
}

// What a certificate of ours is to say.
struct Template {
    std::string name;
    WallTime from;
    std::chrono::seconds life{};
    std::vector<std::pair<int, std::string>> extensions;
};

void set_time(ASN1_TIME* field, WallTime at) {
    ASN1_TIME_set(field, WallTime::clock::to_time_t(at));
}

// RFC 5280 4.1.2.2: positive, at most 20 octets, unpredictable.
void set_serial(X509* certificate, Random& random) {
    std::array<unsigned char, 16> raw{};
    random.fill(raw);
    raw[0] = static_cast<unsigned char>((raw[0] & 0x7f) | 0x40);
    BIGNUM* number = BN_bin2bn(raw.data(), raw.size(), nullptr);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
}

// Signs with the authority's key; without an issuer the certificate is its own.
Result<std::string> issue(const Template& what, EVP_PKEY* subject_key, X509* issuer,
                          EVP_PKEY* issuer_key, Random& random) {
    const CertificatePtr out(X509_new());
    X509_set_version(out.get(), X509_VERSION_3);
    set_serial(out.get(), random);
    set_time(X509_getm_notBefore(out.get()), what.from - kBackdate);
    set_time(X509_getm_notAfter(out.get()), what.from + what.life);
    X509_set_pubkey(out.get(), subject_key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(what.name.data()),
                               static_cast<int>(what.name.size()), -1, 0);
    X509* signer = issuer != nullptr ? issuer : out.get();
    X509_set_issuer_name(out.get(), X509_get_subject_name(signer));
    X509V3_CTX context;
    X509V3_set_ctx(&context, signer, out.get(), nullptr, nullptr, 0);
    for (const auto& [nid, value] : what.extensions) {
        const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
        if (extension == nullptr || X509_add_ext(out.get(), extension.get(), -1) != 1) {
            return fail(Code::kInvalidArgument,
                        fmt::format("certificate: '{}' is not usable", value));
        }
    }
    if (X509_sign(out.get(), issuer_key, EVP_sha256()) == 0) {
        return fail(Code::kInternal, "certificate: cannot sign");
    }
    return to_pem(out.get());
}

bool is_address(const std::string& name) {
    std::array<unsigned char, sizeof(in6_addr)> scratch{};
    return inet_pton(AF_INET, name.c_str(), scratch.data()) == 1 ||
           inet_pton(AF_INET6, name.c_str(), scratch.data()) == 1;
}

bool covers_name(X509* certificate, const std::string& name) {
    return is_address(name)
               ? X509_check_ip_asc(certificate, name.c_str(), 0) == 1
               : X509_check_host(certificate, name.data(), name.size(), 0, nullptr) == 1;
}

bool ends_within(X509* certificate, WallTime now, std::chrono::seconds margin) {
    time_t limit = WallTime::clock::to_time_t(now + margin);
    return X509_cmp_time(X509_get0_notAfter(certificate), &limit) <= 0;
}

// Reads a pair of files; nullopt when neither is there.
Result<std::optional<KeyPair>> read_pair(const std::filesystem::path& directory,
                                         const std::string& name) {
    auto certificate = runtime::read_file(directory / (name + ".crt"), kPemBytes);
    auto key = runtime::read_file(directory / (name + ".key"), kPemBytes);
    const auto absent = [](const auto& r) { return !r && r.error().code == Code::kNotFound; };
    if (absent(certificate) && absent(key)) {
        return std::nullopt;
    }
    if (!certificate || !key) {
        auto& error = !certificate ? certificate.error() : key.error();
        return std::unexpected(
            absent(certificate) || absent(key)
                ? Error{Code::kCorrupt,
                        fmt::format("{}/{}.crt and {}.key belong together: {}", directory.string(),
                                    name, name, error.message),
                        {},
                        {},
                        {}}
                : error);
    }
    return KeyPair{std::move(*certificate), std::move(*key)};
}

Status write_pair(const std::filesystem::path& directory, const std::string& name,
                  const KeyPair& pair) {
    CULVERT_TRY_STATUS(runtime::replace_file(directory / (name + ".key"), pair.key_pem, kSecret));
    return runtime::replace_file(directory / (name + ".crt"), pair.certificate_pem, kPublic);
}

}  // namespace

bool is_node_name(std::string_view name) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !name.empty() && name.size() <= 63 && plain(name.front()) && plain(name.back()) &&
           std::ranges::all_of(name, [&](char c) { return plain(c) || c == '.' || c == '-'; });
}

Result<bool> ends_soon(const std::string& certificate_pem, WallTime now) {
    const auto certificate = parse_certificate(certificate_pem);
    if (certificate == nullptr) {
        return fail(Code::kInvalidArgument, "not a certificate");
    }
    return ends_within(certificate.get(), now, limits::kCertificateRenewBefore);
}

CertificateAuthority::CertificateAuthority(std::filesystem::path directory, Random& random,
                                           KeyPair pair)
    : directory_(std::move(directory)),
      random_(random),
      certificate_pem_(std::move(pair.certificate_pem)),
      key_pem_(std::move(pair.key_pem)) {}

Result<std::unique_ptr<CertificateAuthority>> CertificateAuthority::open(
    const std::filesystem::path& directory, WallTime now, Random& random) {
    auto pair = read_pair(directory, "ca");
    if (!pair) {
        return std::unexpected(prefixed(pair.error(), "certificate authority"));
    }
    if (!*pair) {
        const KeyPtr key(EVP_EC_gen("P-256"));
        auto certificate = issue({fmt::format("Culvert CA {}", random.hex(4)),
                                  now,
                                  kAuthorityLife,
                                  {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                   {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                   {NID_subject_key_identifier, "hash"}}},
                                 key.get(), nullptr, key.get(), random);
        if (!certificate) {
            return std::unexpected(certificate.error());
        }
        *pair = KeyPair{std::move(*certificate), to_pem(key.get())};
        CULVERT_TRY_STATUS(write_pair(directory, "ca", **pair));
        spdlog::info("certificates: made a certificate authority in {}", directory.string());
    }
    const auto certificate = parse_certificate((*pair)->certificate_pem);
    const auto key = parse_key((*pair)->key_pem);
    if (!certificate || !key || X509_check_private_key(certificate.get(), key.get()) != 1) {
        return fail(Code::kCorrupt,
                    fmt::format("certificate authority: {}/ca.crt and ca.key are damaged or do not "
                                "belong together",
                                directory.string()));
    }
    return std::unique_ptr<CertificateAuthority>(
        new CertificateAuthority(directory, random, std::move(**pair)));
}

Result<KeyPair> CertificateAuthority::server_certificate(const std::vector<std::string>& names,
                                                         WallTime now) {
    const auto authority = parse_certificate(certificate_pem_);
    const auto authority_key = parse_key(key_pem_);
    auto kept = read_pair(directory_, "server");
    if (!kept) {
        return std::unexpected(prefixed(kept.error(), "server certificate"));
    }
    if (*kept) {
        const auto certificate = parse_certificate((*kept)->certificate_pem);
        const auto key = parse_key((*kept)->key_pem);
        const bool good =
            certificate && key && X509_check_private_key(certificate.get(), key.get()) == 1 &&
            X509_verify(certificate.get(), authority_key.get()) == 1 &&
            !ends_within(certificate.get(), now, limits::kCertificateRenewBefore) &&
            std::ranges::all_of(names,
                                [&](const auto& n) { return covers_name(certificate.get(), n); });
        if (good) {
            return std::move(**kept);
        }
    }
    std::string san;
    for (const auto& name : names) {
        if (!is_address(name) && !is_node_name(name)) {
            return fail(Code::kInvalidArgument,
                        fmt::format("'{}' is neither a host name nor an address", name),
                        "advertise");
        }
        san +=
            fmt::format("{}{}:{}", san.empty() ? "" : ",", is_address(name) ? "IP" : "DNS", name);
    }
    const KeyPtr key(EVP_EC_gen("P-256"));
    auto certificate = issue({"culvertd",
                              now,
                              limits::kServerCertificateLife,
                              {{NID_basic_constraints, "critical,CA:FALSE"},
                               {NID_key_usage, "critical,digitalSignature"},
                               {NID_ext_key_usage, "serverAuth"},
                               {NID_subject_alt_name, san},
                               {NID_authority_key_identifier, "keyid"}}},
                             key.get(), authority.get(), authority_key.get(), random_);
    if (!certificate) {
        return std::unexpected(certificate.error());
    }
    KeyPair out{std::move(*certificate), to_pem(key.get())};
    CULVERT_TRY_STATUS(write_pair(directory_, "server", out));
    spdlog::info("certificates: made a server certificate for {}", fmt::join(names, ", "));
    return out;
}

Result<std::string> CertificateAuthority::issue_node_certificate(const std::string& csr_pem,
                                                                 const std::string& node_name,
                                                                 WallTime now) {
    if (!is_node_name(node_name)) {
        return fail(Code::kInvalidArgument, fmt::format("'{}' is not a node name", node_name),
                    "name");
    }
    if (csr_pem.size() > kPemBytes) {
        return fail(Code::kInvalidArgument, "certificate request is too long", "csr");
    }
    const RequestPtr request(
        PEM_read_bio_X509_REQ(reader(csr_pem).get(), nullptr, nullptr, nullptr));
    EVP_PKEY* subject_key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
    if (subject_key == nullptr) {
        return fail(Code::kInvalidArgument, "not a PKCS#10 certificate request in PEM", "csr");
    }
    if (EVP_PKEY_get_security_bits(subject_key) <
        112) {  // RSA 2048 or better, any of the EC curves in use
        return fail(Code::kInvalidArgument, "the key of the certificate request is too weak",
                    "csr");
    }
    if (X509_REQ_verify(request.get(), subject_key) != 1) {
        return fail(Code::kInvalidArgument, "the certificate request is not signed with its key",
                    "csr");
    }
    const auto authority = parse_certificate(certificate_pem_);
    const auto authority_key = parse_key(key_pem_);
    return issue({node_name,
                  now,
                  limits::kNodeCertificateLife,
                  {{NID_basic_constraints, "critical,CA:FALSE"},
                   {NID_key_usage, "critical,digitalSignature"},
                   {NID_ext_key_usage, "clientAuth"},
                   {NID_authority_key_identifier, "keyid"}}},
                 subject_key, authority.get(), authority_key.get(), random_);
}

}  // namespace culvert::control
