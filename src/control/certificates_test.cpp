// SPDX-License-Identifier: Apache-2.0
#include "control/certificates.hpp"

#include "base/limits.hpp"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace culvert::control {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class CertificatesTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "culvert-certificates-XXXXXX";
        directory_ = mkdtemp(pattern.data());
    }
    void TearDown() override { fs::remove_all(directory_); }

    Result<std::unique_ptr<CertificateAuthority>> open() {
        return CertificateAuthority::open(directory_, now_, random_);
    }
    std::string file(const char* name) {
        std::ifstream in(directory_ / name);
        std::stringstream out;
        out << in.rdbuf();
        return out.str();
    }
    static std::shared_ptr<X509> parse(const std::string& pem) {
        BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
        std::shared_ptr<X509> out(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), X509_free);
        BIO_free(bio);
        return out;
    }
    // A request for a key, signed with it or with another.
    static std::string request(const char* curve, bool right_key = true) {
        EVP_PKEY* key = curve != nullptr ? EVP_EC_gen(curve) : EVP_RSA_gen(1024);
        EVP_PKEY* other = EVP_EC_gen("P-256");
        X509_REQ* req = X509_REQ_new();
        X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>("someone-else"), -1, -1,
                                   0);
        X509_REQ_set_pubkey(req, key);
        X509_REQ_sign(req, right_key ? key : other, EVP_sha256());
        BIO* bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509_REQ(bio, req);
        char* data = nullptr;
        const long size = BIO_get_mem_data(bio, &data);
        std::string out(data, static_cast<std::size_t>(size));
        BIO_free(bio);
        X509_REQ_free(req);
        EVP_PKEY_free(key);
        EVP_PKEY_free(other);
        return out;
    }
    // Does the authority vouch for the certificate for this use, now?
    bool trusted(const std::string& ca, const std::string& pem, int purpose, WallTime at) {
        X509_STORE* store = X509_STORE_new();
        X509_STORE_add_cert(store, parse(ca).get());
        X509_STORE_CTX* context = X509_STORE_CTX_new();
        const auto leaf = parse(pem);
        X509_STORE_CTX_init(context, store, leaf.get(), nullptr);
        X509_STORE_CTX_set_purpose(context, purpose);
        X509_STORE_CTX_set_time(context, 0, WallTime::clock::to_time_t(at));
        const bool good = X509_verify_cert(context) == 1;
        X509_STORE_CTX_free(context);
        X509_STORE_free(store);
        return good;
    }

    fs::path directory_;
    SystemRandom random_;
    WallTime now_ = std::chrono::system_clock::now();
    const std::vector<std::string> names_{"localhost", "127.0.0.1", "::1"};
};

TEST_F(CertificatesTest, IsMadeOnceAndKeptPrivate) {
    const auto first = open();
    ASSERT_TRUE(first.has_value()) << first.error().message;
    const auto mode = fs::status(directory_ / "ca.key").permissions();
    EXPECT_EQ(mode, fs::perms::owner_read | fs::perms::owner_write);
    const auto second = open();
    ASSERT_TRUE(second.has_value());
    EXPECT_EQ((*first)->certificate_pem(), (*second)->certificate_pem());
}

TEST_F(CertificatesTest, ADamagedOrHalfAuthorityIsRefused) {
    ASSERT_TRUE(open().has_value());
    const auto key = file("ca.key");
    std::ofstream(directory_ / "ca.key") << "nonsense";
    EXPECT_EQ(open().error().code, Code::kCorrupt);
    fs::remove(directory_ / "ca.key");
    EXPECT_EQ(open().error().code, Code::kCorrupt);
    EXPECT_TRUE(fs::exists(directory_ / "ca.crt"));
    std::ofstream(directory_ / "ca.key") << key;
    EXPECT_TRUE(open().has_value());
}

TEST_F(CertificatesTest, TheServerCertificateNamesAllAndIsKept) {
    const auto ca = open();
    const auto one = (*ca)->server_certificate(names_, now_);
    ASSERT_TRUE(one.has_value()) << one.error().message;
    const auto cert = parse(one->certificate_pem);
    EXPECT_EQ(X509_check_host(cert.get(), "localhost", 0, 0, nullptr), 1);
    EXPECT_EQ(X509_check_ip_asc(cert.get(), "127.0.0.1", 0), 1);
    EXPECT_EQ(X509_check_ip_asc(cert.get(), "::1", 0), 1);
    EXPECT_EQ(X509_check_ip_asc(cert.get(), "127.0.0.2", 0), 0);
    EXPECT_TRUE(
        trusted((*ca)->certificate_pem(), one->certificate_pem, X509_PURPOSE_SSL_SERVER, now_));
    EXPECT_EQ((*ca)->server_certificate(names_, now_)->certificate_pem, one->certificate_pem);
    // without a name that it has: still good; with a new one: made anew
    EXPECT_EQ((*ca)->server_certificate({"localhost"}, now_)->certificate_pem,
              one->certificate_pem);
    auto more = names_;
    more.emplace_back("culvert.example");
    EXPECT_NE((*ca)->server_certificate(more, now_)->certificate_pem, one->certificate_pem);
    EXPECT_EQ((*ca)->server_certificate({"no good"}, now_).error().code, Code::kInvalidArgument);
    EXPECT_EQ((*ca)->server_certificate({"a,IP:1.2.3.4"}, now_).error().code,
              Code::kInvalidArgument);
}

TEST_F(CertificatesTest, TheServerCertificateIsRenewedBeforeItEnds) {
    const auto ca = open();
    const auto one = (*ca)->server_certificate(names_, now_);
    const auto renewal = now_ + limits::kServerCertificateLife - limits::kCertificateRenewBefore;
    EXPECT_FALSE(*ends_soon(one->certificate_pem, renewal - 10s));
    EXPECT_EQ((*ca)->server_certificate(names_, renewal - 10s)->certificate_pem,
              one->certificate_pem);
    EXPECT_TRUE(*ends_soon(one->certificate_pem, renewal + 10s));
    const auto two = (*ca)->server_certificate(names_, renewal + 10s);
    EXPECT_NE(two->certificate_pem, one->certificate_pem);
    EXPECT_TRUE(trusted((*ca)->certificate_pem(), two->certificate_pem, X509_PURPOSE_SSL_SERVER,
                        renewal + 10s));
}

TEST_F(CertificatesTest, AnotherAuthoritysServerCertificateIsReplaced) {
    const auto ca = open();
    const auto one = (*ca)->server_certificate(names_, now_);
    fs::remove(directory_ / "ca.key");
    fs::remove(directory_ / "ca.crt");
    const auto next = open();
    const auto two = (*next)->server_certificate(names_, now_);
    EXPECT_NE(two->certificate_pem, one->certificate_pem);
    EXPECT_TRUE(
        trusted((*next)->certificate_pem(), two->certificate_pem, X509_PURPOSE_SSL_SERVER, now_));
}

TEST_F(CertificatesTest, TheAuthorityIsRotatedInStepsThatOutliveARestart) {
    auto ca = *open();
    const auto old = ca->certificate_pem();
    EXPECT_EQ(ca->rotation(), Rotation::kNone);
    EXPECT_EQ(ca->issue_from_next().error().code, Code::kConflict);
    EXPECT_EQ(ca->finish_rotation().error().code, Code::kConflict);
    EXPECT_EQ(ca->abort_rotation().error().code, Code::kConflict);

    ASSERT_TRUE(ca->begin_rotation(now_));
    EXPECT_EQ(ca->begin_rotation(now_).error().code, Code::kConflict);
    ca = *open();
    EXPECT_EQ(ca->rotation(), Rotation::kTrusting);
    EXPECT_EQ(ca->certificate_pem(), old) << "the old one signs still";
    EXPECT_TRUE(ca->trust_pem().starts_with(old));
    EXPECT_EQ(file("ca.crt"), ca->trust_pem());
    EXPECT_TRUE(trusted(old, ca->server_certificate(names_, now_)->certificate_pem,
                        X509_PURPOSE_SSL_SERVER, now_));

    ASSERT_TRUE(ca->issue_from_next());
    EXPECT_EQ(ca->abort_rotation().error().code, Code::kConflict);
    ca = *open();
    EXPECT_EQ(ca->rotation(), Rotation::kIssuing);
    const auto next = ca->certificate_pem();
    EXPECT_NE(next, old);
    EXPECT_EQ(ca->trust_pem(), next + old);
    const auto later = now_ + 1min;
    EXPECT_TRUE(trusted(next, ca->server_certificate(names_, later)->certificate_pem,
                        X509_PURPOSE_SSL_SERVER, later));
    EXPECT_TRUE(trusted(next, *ca->issue_node_certificate(request("P-256"), "n", later),
                        X509_PURPOSE_SSL_CLIENT, later));

    ASSERT_TRUE(ca->finish_rotation());
    ca = *open();
    EXPECT_EQ(ca->rotation(), Rotation::kNone);
    EXPECT_EQ(ca->trust_pem(), next);
    EXPECT_EQ(file("ca.key").find("PRIVATE KEY", file("ca.key").find("END PRIVATE KEY") + 20),
              std::string::npos)
        << "the old key is gone";
}

TEST_F(CertificatesTest, ARotationThatHasNotSignedIsAborted) {
    auto ca = *open();
    const auto old = ca->certificate_pem();
    const auto key = file("ca.key");
    ASSERT_TRUE(ca->begin_rotation(now_));
    EXPECT_NE(file("ca.key"), key);
    ASSERT_TRUE(ca->abort_rotation());
    EXPECT_EQ(ca->trust_pem(), old);
    EXPECT_EQ(file("ca.key"), key);
    ASSERT_TRUE(ca->begin_rotation(now_)) << "and may begin again";
}

TEST_F(CertificatesTest, ARestoreDoesNotTakeARotationBack) {
    auto ca = *open();
    const auto first = ca->certificate_pem();
    AuthorityFiles backup{file("ca.crt"), file("ca.key"), ""};
    ASSERT_TRUE(ca->begin_rotation(now_) && ca->issue_from_next());
    const auto second = ca->certificate_pem();
    // halfway: both are trusted, the new one signs
    ASSERT_TRUE(merge_authority(directory_, backup, "aside"));
    EXPECT_EQ((*open())->trust_pem(), second + first);
    EXPECT_EQ((*open())->rotation(), Rotation::kIssuing);
    ASSERT_TRUE((*open())->finish_rotation());
    // over: whoever has the old key must not become somebody again
    ASSERT_TRUE(merge_authority(directory_, backup, "aside"));
    EXPECT_EQ((*open())->trust_pem(), second);
    EXPECT_EQ(file("ca.key").find("PRIVATE KEY", file("ca.key").find("END PRIVATE KEY") + 20),
              std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(directory_ / "ca.crt.aside"));
    // and a newer backup is not taken back by an older directory
    const AuthorityFiles newer{file("ca.crt"), file("ca.key"), file("ca-retired.crt")};
    std::filesystem::remove(directory_ / "ca-retired.crt");
    std::ofstream(directory_ / "ca.crt") << backup.certificates;
    std::ofstream(directory_ / "ca.key") << backup.keys;
    ASSERT_TRUE(merge_authority(directory_, newer, "aside"));
    EXPECT_EQ((*open())->trust_pem(), second);
    EXPECT_EQ(file("ca-retired.crt"), first);
}

TEST_F(CertificatesTest, ARestoreReplacesAnotherInstallationsAuthorityAndKeepsItBeside) {
    const auto mine = (*open())->certificate_pem();
    const AuthorityFiles backup{file("ca.crt"), file("ca.key"), ""};
    for (const char* name : {"ca.crt", "ca.key", "server.crt", "server.key"}) {
        std::filesystem::remove(directory_ / name);
    }
    const auto other = (*open())->certificate_pem();
    ASSERT_TRUE(merge_authority(directory_, backup, "aside"));
    EXPECT_EQ((*open())->trust_pem(), mine);
    EXPECT_EQ(file("ca.crt.aside"), other);
    EXPECT_EQ(merge_authority(directory_, {}, "aside").error().code, Code::kCorrupt);
    EXPECT_EQ(merge_authority(directory_, {backup.certificates, "", ""}, "aside").error().code,
              Code::kCorrupt)
        << "an authority without its key";
    EXPECT_EQ((*open())->trust_pem(), mine);
}

TEST_F(CertificatesTest, ANodeGetsItsNameAndClientUseOnly) {
    const auto ca = open();
    const auto issued = (*ca)->issue_node_certificate(request("P-256"), "node-1", now_);
    ASSERT_TRUE(issued.has_value()) << issued.error().message;
    char name[64] = {};
    X509_NAME_get_text_by_NID(X509_get_subject_name(parse(*issued).get()), NID_commonName, name,
                              sizeof(name));
    EXPECT_STREQ(name, "node-1");
    const auto& root = (*ca)->certificate_pem();
    EXPECT_TRUE(trusted(root, *issued, X509_PURPOSE_SSL_CLIENT, now_));
    EXPECT_FALSE(trusted(root, *issued, X509_PURPOSE_SSL_SERVER, now_));
    EXPECT_FALSE(
        trusted(root, *issued, X509_PURPOSE_SSL_CLIENT, now_ + limits::kNodeCertificateLife + 1s));
}

TEST_F(CertificatesTest, BadRequestsAreRefused) {
    const auto ca = open();
    EXPECT_FALSE((*ca)->issue_node_certificate("nonsense", "n", now_).has_value());
    EXPECT_FALSE((*ca)->issue_node_certificate(request("P-256", false), "n", now_).has_value());
    EXPECT_FALSE((*ca)->issue_node_certificate(request(nullptr), "n", now_).has_value());
    EXPECT_FALSE((*ca)->issue_node_certificate(std::string(100'000, 'x'), "n", now_).has_value());
    for (const char* name : {"", "Upper", "a b", "-a", "a-", "a/b", "a|b", "a\nb"}) {
        EXPECT_FALSE((*ca)->issue_node_certificate(request("P-256"), name, now_).has_value())
            << name;
    }
    EXPECT_FALSE(is_node_name(std::string(64, 'a')));
    EXPECT_TRUE(is_node_name(std::string(63, 'a')));
}

}  // namespace
}  // namespace culvert::control
