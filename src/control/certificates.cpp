// SPDX-License-Identifier: Apache-2.0
#include "control/certificates.hpp"

#include "base/limits.hpp"
#include "runtime/files.hpp"
#include "runtime/openssl.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <iterator>
#include <ranges>

namespace culvert::control {

namespace {

constexpr mode_t kSecret = 0600;
constexpr mode_t kPublic = 0644;
constexpr auto kAuthorityLife = std::chrono::days(3650);
// for clocks that are a little behind
constexpr std::chrono::seconds kBackdate = std::chrono::minutes(5);
constexpr int kBackdateShare = 10;  // of a life, when that is less
constexpr int kRenewShare = 3;      // of a server certificate's life is left when it is renewed
constexpr int kKeyBits = 112;       // RSA 2048 or better, any of the EC curves in use
constexpr auto kApart = std::chrono::seconds(2);  // of two authorities, in what is written down
constexpr std::size_t kPemBytes = 64 * 1024;
constexpr const char* kRetired = "ca-retired.crt";
constexpr std::ptrdiff_t kRetiredKept = 32;

std::string to_pem(X509* certificate) {
    const auto text = runtime::writer();
    PEM_write_bio_X509(text.get(), certificate);
    return runtime::content(text);
}

std::string to_pem(EVP_PKEY* key) {
    const auto text = runtime::writer();
    PEM_write_bio_PKCS8PrivateKey(text.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    return runtime::content(text);
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
    const runtime::Certificate out(X509_new());
    X509_set_version(out.get(), X509_VERSION_3);
    set_serial(out.get(), random);
    set_time(X509_getm_notBefore(out.get()),
             what.from - std::min(kBackdate, what.life / kBackdateShare));
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
        const runtime::Extension extension(
            X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
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

// A request whose key is strong enough and that is signed with it.
Result<runtime::CertificateRequest> parse_request(const std::string& csr_pem) {
    if (csr_pem.size() > kPemBytes) {
        return fail(Code::kInvalidArgument, "certificate request is too long", "csr");
    }
    runtime::CertificateRequest request(
        PEM_read_bio_X509_REQ(runtime::reader(csr_pem).get(), nullptr, nullptr, nullptr));
    EVP_PKEY* subject_key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
    if (subject_key == nullptr) {
        return fail(Code::kInvalidArgument, "not a PKCS#10 certificate request in PEM", "csr");
    }
    if (EVP_PKEY_get_security_bits(subject_key) < kKeyBits) {
        return fail(Code::kInvalidArgument, "the key of the certificate request is too weak",
                    "csr");
    }
    if (X509_REQ_verify(request.get(), subject_key) != 1) {
        return fail(Code::kInvalidArgument, "the certificate request is not signed with its key",
                    "csr");
    }
    return request;
}

Status write_pair(const std::filesystem::path& directory, const std::string& name,
                  const KeyPair& pair) {
    CULVERT_TRY_STATUS(runtime::replace_file(directory / (name + ".key"), pair.key_pem, kSecret));
    return runtime::replace_file(directory / (name + ".crt"), pair.certificate_pem, kPublic);
}

Result<KeyPair> make_authority(WallTime now, Random& random) {
    const runtime::Key key(EVP_EC_gen("P-256"));
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
    return KeyPair{std::move(*certificate), to_pem(key.get())};
}

std::string joined(const std::vector<KeyPair>& all, std::string KeyPair::* part) {
    std::string out;
    for (const KeyPair& each : all) {
        out += each.*part;
    }
    return out;
}

// New keys come first and old ones go last: whatever ca.crt names first has its key.
Status write_authorities(const std::filesystem::path& directory, const std::vector<KeyPair>& all) {
    const auto keys = joined(all, &KeyPair::key_pem);
    const auto before = runtime::read_file(directory / "ca.key", kPemBytes);
    CULVERT_TRY_STATUS(
        runtime::replace_file(directory / "ca.key", before ? *before + keys : keys, kSecret));
    CULVERT_TRY_STATUS(runtime::replace_file(directory / "ca.crt",
                                             joined(all, &KeyPair::certificate_pem), kPublic));
    return runtime::replace_file(directory / "ca.key", keys, kSecret);
}

bool has(const std::vector<KeyPair>& all, const KeyPair& one) {
    return std::ranges::any_of(
        all, [&](const KeyPair& each) { return each.certificate_pem == one.certificate_pem; });
}

// Each certificate of a bundle with its key, if there is one among the keys.
std::vector<KeyPair> matched(const std::string& certificates_pem, const std::string& keys_pem) {
    std::vector<KeyPair> out;
    const auto bundle = runtime::reader(certificates_pem);
    while (const runtime::Certificate certificate{
        PEM_read_bio_X509(bundle.get(), nullptr, nullptr, nullptr)}) {
        KeyPair pair{to_pem(certificate.get()), {}};
        const auto keys = runtime::reader(keys_pem);
        while (const auto key = runtime::next_key(keys)) {
            if (X509_check_private_key(certificate.get(), key.get()) == 1) {
                pair.key_pem = to_pem(key.get());
            }
        }
        out.push_back(std::move(pair));
    }
    ERR_clear_error();  // of the end of each bundle
    return out;
}

WallTime begin_of(X509* certificate) {
    return runtime::time_of(X509_get0_notBefore(certificate)) + kBackdate;
}

Rotation rotation_of(const std::vector<KeyPair>& all) {
    if (all.size() < 2) {
        return Rotation::kNone;
    }
    const auto signs = runtime::certificate_of(all.front().certificate_pem);
    const auto other = runtime::certificate_of(all.back().certificate_pem);
    return begin_of(other.get()) > begin_of(signs.get()) ? Rotation::kTrusting : Rotation::kIssuing;
}

// Written down before they go, so that a restore does not bring them back.
Status retire(const std::filesystem::path& directory, const std::vector<KeyPair>& held,
              const std::vector<KeyPair>& next) {
    auto retired = runtime::read_file(directory / kRetired, kPemBytes);
    if (!retired && retired.error().code != Code::kNotFound) {
        return std::unexpected(std::move(retired.error()));
    }
    std::vector<KeyPair> all = retired ? matched(*retired, {}) : std::vector<KeyPair>();
    std::ranges::copy_if(held, std::back_inserter(all),
                         [&](const KeyPair& each) { return !has(next, each) && !has(all, each); });
    if (all.size() > kRetiredKept) {
        all.erase(all.begin(), all.end() - kRetiredKept);
    }
    return all.empty() ? Status()
                       : runtime::replace_file(directory / kRetired,
                                               joined(all, &KeyPair::certificate_pem), kPublic);
}

// What there is of an authority, and what it has retired.
struct Lineage {
    std::vector<KeyPair> held;
    std::vector<KeyPair> retired;

    explicit Lineage(const AuthorityFiles& files)
        : held(matched(files.certificates, files.keys)), retired(matched(files.retired, {})) {
        if (!held.empty() && held.front().key_pem.empty()) {
            held.clear();  // damaged: as if there were none
        }
    }
    bool knows(const KeyPair& one) const { return has(held, one) || has(retired, one); }
    bool is_of(const Lineage& other) const {
        const auto known = [&](const KeyPair& each) { return other.knows(each); };
        return std::ranges::any_of(held, known) || std::ranges::any_of(retired, known);
    }
};

// The one that signs first; at most two, as in a rotation.
std::vector<KeyPair> merged(const Lineage& here, const Lineage& restored) {
    std::vector<KeyPair> out;
    for (const Lineage* each : {&here, &restored}) {
        for (const KeyPair& pair : each->held) {
            if (!has(here.retired, pair) && !has(restored.retired, pair) && !has(out, pair) &&
                out.size() < 2) {
                out.push_back(pair);
            }
        }
    }
    const auto signs =
        std::ranges::find_if(out, [](const KeyPair& pair) { return !pair.key_pem.empty(); });
    if (signs != out.end()) {
        std::rotate(out.begin(), signs, std::next(signs));
    }
    return out;
}

}  // namespace

std::string* AuthorityFiles::part(std::string_view name) {
    return name == "ca.crt"   ? &certificates
           : name == "ca.key" ? &keys
           : name == kRetired ? &retired
                              : nullptr;
}

Status merge_authority(const std::filesystem::path& directory, AuthorityFiles restored,
                       const std::string& suffix) {
    AuthorityFiles files;
    for (const char* name : {"ca.crt", "ca.key", kRetired}) {
        auto bytes = runtime::read_file(directory / name, kPemBytes);
        if (!bytes && bytes.error().code != Code::kNotFound) {
            return std::unexpected(std::move(bytes.error()));
        }
        *files.part(name) = bytes ? std::move(*bytes) : std::string();
    }
    const Lineage theirs(restored);
    if (theirs.held.empty()) {
        return fail(Code::kCorrupt, "restore: the backup has no certificate authority");
    }
    const Lineage ours(files);
    const bool same = ours.is_of(theirs);
    if (!same && !files.certificates.empty()) {
        for (const char* name : {"ca.crt", "ca.key"}) {
            CULVERT_TRY_STATUS(runtime::replace_file(directory / fmt::format("{}.{}", name, suffix),
                                                     *files.part(name), kSecret));
        }
    }
    const std::vector<KeyPair> next = same ? merged(ours, theirs) : theirs.held;
    if (next.empty() || next.front().key_pem.empty()) {
        return fail(Code::kCorrupt,
                    "restore: every certificate authority of the backup and of the directory was "
                    "retired, or lacks its key");
    }
    std::vector<KeyPair> retired = theirs.retired;
    std::ranges::copy_if(same ? ours.retired : std::vector<KeyPair>(), std::back_inserter(retired),
                         [&](const KeyPair& each) { return !has(theirs.retired, each); });
    if (!retired.empty()) {
        CULVERT_TRY_STATUS(runtime::replace_file(
            directory / kRetired, joined(retired, &KeyPair::certificate_pem), kPublic));
    }
    return write_authorities(directory, next);
}

bool is_node_name(std::string_view name) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !name.empty() && name.size() <= 63 && plain(name.front()) && plain(name.back()) &&
           std::ranges::all_of(name, [&](char c) { return plain(c) || c == '.' || c == '-'; });
}

Result<WallTime> certificate_until(const std::string& certificate_pem) {
    const auto certificate = runtime::certificate_of(certificate_pem);
    if (certificate == nullptr) {
        return fail(Code::kInvalidArgument, "not a certificate");
    }
    return runtime::time_of(X509_get0_notAfter(certificate.get()));
}

Result<bool> ends_soon(const std::string& certificate_pem, WallTime now) {
    const auto certificate = runtime::certificate_of(certificate_pem);
    if (certificate == nullptr) {
        return fail(Code::kInvalidArgument, "not a certificate");
    }
    return ends_within(certificate.get(), now, limits::kCertificateRenewBefore);
}

Result<std::string> request_name(const std::string& csr_pem) {
    const auto request = parse_request(csr_pem);
    if (!request) {
        return std::unexpected(request.error());
    }
    X509_NAME* subject = X509_REQ_get_subject_name(request->get());
    std::array<char, 256> text{};
    const int length = X509_NAME_get_text_by_NID(subject, NID_commonName, text.data(), text.size());
    return std::string(text.data(), static_cast<std::size_t>(std::max(length, 0)));
}

CertificateAuthority::CertificateAuthority(std::filesystem::path directory, Random& random,
                                           CertificateLives lives, std::vector<KeyPair> authorities)
    : directory_(std::move(directory)),
      random_(random),
      lives_(lives),
      authorities_(std::move(authorities)) {}

KeyPair CertificateAuthority::issuing() const {
    return authorities_.with([](const auto& all) { return all.front(); });
}

std::string CertificateAuthority::certificate_pem() const { return issuing().certificate_pem; }

std::string CertificateAuthority::trust_pem() const {
    return authorities_.with(
        [](const auto& all) { return joined(all, &KeyPair::certificate_pem); });
}

Rotation CertificateAuthority::rotation() const {
    return authorities_.with([](const auto& all) { return rotation_of(all); });
}

Status CertificateAuthority::replace(std::vector<KeyPair>& held, std::vector<KeyPair> next,
                                     Rotation from, const char* what) const {
    if (rotation_of(held) != from) {
        return fail(
            Code::kConflict,
            fmt::format("{}: the rotation's state is '{}'", what, to_string(rotation_of(held))), {},
            "CaRotationState");
    }
    CULVERT_TRY_STATUS(retire(directory_, held, next));
    CULVERT_TRY_STATUS(write_authorities(directory_, next));
    held = std::move(next);
    spdlog::warn("certificates: {}", what);
    return {};
}

Status CertificateAuthority::begin_rotation(WallTime now) {
    return authorities_.with([&](auto& all) -> Status {
        // later than the old one, which tells the two apart
        const auto old = runtime::certificate_of(all.front().certificate_pem);
        auto made = make_authority(std::max(now, begin_of(old.get()) + kApart), random_);
        if (!made) {
            return std::unexpected(made.error());
        }
        return replace(all, {all.front(), std::move(*made)}, Rotation::kNone,
                       "another authority is trusted from now on");
    });
}

Status CertificateAuthority::issue_from_next() {
    return authorities_.with([&](auto& all) -> Status {
        return replace(all, {all.back(), {all.front().certificate_pem, {}}}, Rotation::kTrusting,
                       "the new authority signs from now on");
    });
}

Status CertificateAuthority::finish_rotation() {
    return authorities_.with([&](auto& all) -> Status {
        return replace(all, {all.front()}, Rotation::kIssuing,
                       "the old authority is not trusted any more");
    });
}

Status CertificateAuthority::abort_rotation() {
    return authorities_.with([&](auto& all) -> Status {
        return replace(all, {all.front()}, Rotation::kTrusting, "the new authority is dropped");
    });
}

std::string_view to_string(Rotation rotation) {
    switch (rotation) {
        case Rotation::kNone: return "none";
        case Rotation::kTrusting: return "trusting";
        case Rotation::kIssuing: return "issuing";
    }
    return "none";
}

Result<std::unique_ptr<CertificateAuthority>> CertificateAuthority::open(
    const std::filesystem::path& directory, WallTime now, Random& random, CertificateLives lives) {
    auto pair = read_pair(directory, "ca");
    if (!pair) {
        return std::unexpected(prefixed(pair.error(), "certificate authority"));
    }
    if (!*pair) {
        auto made = make_authority(now, random);
        if (!made) {
            return std::unexpected(made.error());
        }
        CULVERT_TRY_STATUS(write_authorities(directory, {*made}));
        *pair = std::move(*made);
        spdlog::info("certificates: made a certificate authority in {}", directory.string());
    }
    auto authorities = matched((*pair)->certificate_pem, (*pair)->key_pem);
    if (authorities.empty() || authorities.size() > 2 || authorities.front().key_pem.empty()) {
        return fail(Code::kCorrupt,
                    fmt::format("certificate authority: {}/ca.crt and ca.key are damaged or do not "
                                "belong together",
                                directory.string()));
    }
    return std::unique_ptr<CertificateAuthority>(
        new CertificateAuthority(directory, random, lives, std::move(authorities)));
}

Result<KeyPair> CertificateAuthority::server_certificate(const std::vector<std::string>& names,
                                                         WallTime now) {
    const KeyPair signer = issuing();
    const auto authority = runtime::certificate_of(signer.certificate_pem);
    const auto authority_key = runtime::key_of(signer.key_pem);
    const auto margin = std::min<std::chrono::seconds>(limits::kCertificateRenewBefore,
                                                       lives_.server / kRenewShare);
    auto kept = read_pair(directory_, "server");
    if (!kept) {
        return std::unexpected(prefixed(kept.error(), "server certificate"));
    }
    if (*kept) {
        const auto certificate = runtime::certificate_of((*kept)->certificate_pem);
        const auto key = runtime::key_of((*kept)->key_pem);
        const bool good =
            certificate && key && X509_check_private_key(certificate.get(), key.get()) == 1 &&
            X509_verify(certificate.get(), authority_key.get()) == 1 &&
            !ends_within(certificate.get(), now, margin) &&
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
    const runtime::Key key(EVP_EC_gen("P-256"));
    auto certificate = issue({"culvertd",
                              now,
                              lives_.server,
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
    const auto request = parse_request(csr_pem);
    if (!request) {
        return std::unexpected(request.error());
    }
    EVP_PKEY* subject_key = X509_REQ_get0_pubkey(request->get());
    const KeyPair signer = issuing();
    const auto authority = runtime::certificate_of(signer.certificate_pem);
    const auto authority_key = runtime::key_of(signer.key_pem);
    return issue({node_name,
                  now,
                  lives_.node,
                  {{NID_basic_constraints, "critical,CA:FALSE"},
                   {NID_key_usage, "critical,digitalSignature"},
                   {NID_ext_key_usage, "clientAuth"},
                   {NID_authority_key_identifier, "keyid"}}},
                 subject_key, authority.get(), authority_key.get(), random_);
}

}  // namespace culvert::control
