// SPDX-License-Identifier: Apache-2.0
#include "agent/renewal.hpp"
#include "runtime/files.hpp"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <functional>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

std::string pem_of(const std::function<int(BIO*)>& write) {
    BIO* memory = BIO_new(BIO_s_mem());
    EXPECT_EQ(write(memory), 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(memory, &data);
    std::string out(data, static_cast<std::size_t>(size));
    BIO_free(memory);
    return out;
}

std::string certificate_for(EVP_PKEY* key, WallTime from, WallTime until) {
    X509* certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    ASN1_TIME_set(X509_getm_notBefore(certificate), WallTime::clock::to_time_t(from));
    ASN1_TIME_set(X509_getm_notAfter(certificate), WallTime::clock::to_time_t(until));
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    auto out = pem_of([&](BIO* to) { return PEM_write_bio_X509(to, certificate); });
    X509_free(certificate);
    return out;
}

class RenewalTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "culvert-renewal-XXXXXX";
        directory = mkdtemp(pattern.data());
        EVP_PKEY* key = EVP_EC_gen("P-256");
        first = {.name = "n1",
                 .node = 7,
                 .outer = "192.0.2.1",
                 .intent = "198.51.100.1:8444",
                 .control = "https://198.51.100.1:8443",
                 .certificate_pem = certificate_for(key, clock.wall(), clock.wall() + 90h),
                 .key_pem = pem_of([&](BIO* to) {
                     return PEM_write_bio_PKCS8PrivateKey(to, key, nullptr, nullptr, 0, nullptr,
                                                          nullptr);
                 }),
                 .ca_pem = "authority\n"};
        EVP_PKEY_free(key);
        ASSERT_TRUE(save_identity(directory, first).has_value());
    }
    void TearDown() override { std::filesystem::remove_all(directory); }

    // What an authority makes of a request.
    std::string sign(const std::string& csr_pem) {
        BIO* memory = BIO_new_mem_buf(csr_pem.data(), static_cast<int>(csr_pem.size()));
        X509_REQ* request = PEM_read_bio_X509_REQ(memory, nullptr, nullptr, nullptr);
        BIO_free(memory);
        EXPECT_NE(request, nullptr);
        EVP_PKEY* wanted = X509_REQ_get_pubkey(request);
        EXPECT_EQ(X509_REQ_verify(request, wanted), 1);
        X509* certificate = X509_new();
        X509_set_version(certificate, X509_VERSION_3);
        ASN1_TIME_set(X509_getm_notBefore(certificate), WallTime::clock::to_time_t(clock.wall()));
        ASN1_TIME_set(X509_getm_notAfter(certificate),
                      WallTime::clock::to_time_t(clock.wall() + 90h));
        X509_set_pubkey(certificate, wanted);
        EVP_PKEY* authority = EVP_EC_gen("P-256");
        X509_sign(certificate, authority, EVP_sha256());
        auto out = pem_of([&](BIO* to) { return PEM_write_bio_X509(to, certificate); });
        X509_free(certificate);
        X509_REQ_free(request);
        EVP_PKEY_free(wanted);
        EVP_PKEY_free(authority);
        return out;
    }
    std::string key_on_disk() {
        const auto identity = load_identity(directory);
        EXPECT_TRUE(identity.has_value());
        return identity ? identity->key_pem : "";
    }

    ManualClock clock{WallTime(1'700'000'000s)};
    std::filesystem::path directory;
    Identity first;
};

TEST_F(RenewalTest, an_identity_comes_back_from_disk_as_it_was) {
    const auto back = load_identity(directory);
    ASSERT_TRUE(back.has_value()) << back.error().message;
    EXPECT_EQ(back->key_pem, first.key_pem);
    EXPECT_EQ(back->certificate_pem, first.certificate_pem);
    EXPECT_EQ(back->ca_pem, first.ca_pem);
    EXPECT_EQ(std::filesystem::status(directory / "node.pem").permissions(),
              std::filesystem::perms(0600));
    ASSERT_TRUE(runtime::replace_file(directory / "node.pem", "neither", 0600).has_value());
    EXPECT_EQ(load_identity(directory).error().code, Code::kCorrupt);
}

TEST_F(RenewalTest, it_is_time_when_two_thirds_of_the_life_are_over) {
    Renewal renewal(directory, first, clock);
    EXPECT_EQ(renewal.status().until, clock.wall() + 90h);
    clock.advance(60h - 1s);
    EXPECT_FALSE(renewal.due().has_value());
    clock.advance(1s);
    const auto request = renewal.due();
    ASSERT_TRUE(request.has_value());
    EXPECT_FALSE(renewal.due().has_value()) << "asked once, then after a while";
    clock.advance(60s);
    const auto again = renewal.due();
    ASSERT_TRUE(again.has_value());
    EXPECT_NE(*again, *request) << "a new key for each request";
}

TEST_F(RenewalTest, what_is_used_is_on_disk_first) {
    Renewal renewal(directory, first, clock);
    const auto before = renewal.identity();
    clock.advance(61h);
    const auto request = renewal.due();
    EXPECT_EQ(key_on_disk(), first.key_pem) << "nothing is stored before the answer";
    const std::string certificate = sign(*request);
    ASSERT_TRUE(renewal.take(certificate, "").has_value());
    const auto after = renewal.identity();
    EXPECT_NE(after, before);
    EXPECT_EQ(after->certificate_pem, certificate);
    EXPECT_NE(after->key_pem, first.key_pem);
    EXPECT_EQ(after->name, "n1");
    EXPECT_EQ(key_on_disk(), after->key_pem);
    EXPECT_EQ(load_identity(directory)->certificate_pem, certificate);
    EXPECT_EQ(renewal.status().renewed, 1U);
    EXPECT_FALSE(renewal.due().has_value()) << "the new one is young";
    clock.advance(61h);
    EXPECT_TRUE(renewal.due().has_value());
}

TEST_F(RenewalTest, anything_but_a_certificate_for_the_last_key_leaves_the_old_one) {
    Renewal renewal(directory, first, clock);
    const auto before = renewal.identity();
    clock.advance(61h);
    const auto lost = renewal.due();
    clock.advance(60s);
    const auto request = renewal.due();
    EXPECT_FALSE(renewal.take("", "not now").has_value());
    EXPECT_FALSE(renewal.take("garbage", "").has_value());
    EXPECT_FALSE(renewal.take(sign(*lost), "").has_value()) << "another key's";
    EXPECT_FALSE(renewal.take(first.certificate_pem, "").has_value());
    EXPECT_EQ(renewal.identity(), before);
    EXPECT_EQ(key_on_disk(), first.key_pem);
    EXPECT_EQ(renewal.status().failures, 4U);
    EXPECT_TRUE(renewal.take(sign(*request), "").has_value());
    EXPECT_FALSE(renewal.take(sign(*request), "").has_value()) << "never asked for";
}

TEST_F(RenewalTest, what_is_trusted_changes_on_disk_and_in_use_at_once) {
    Renewal renewal(directory, first, clock);
    const auto before = renewal.identity();
    EXPECT_FALSE(renewal.trust("garbage", true).has_value());
    EXPECT_TRUE(renewal.trust("", false).has_value());
    EXPECT_TRUE(renewal.trust(first.ca_pem, false).has_value());
    EXPECT_EQ(renewal.identity(), before) << "nothing has changed";
    const std::string both = first.certificate_pem + first.certificate_pem;
    ASSERT_TRUE(renewal.trust(both, false).has_value());
    EXPECT_EQ(renewal.identity()->ca_pem, both);
    EXPECT_EQ(renewal.identity()->key_pem, first.key_pem);
    EXPECT_EQ(load_identity(directory)->ca_pem, both);
    EXPECT_NE(digest_of(both), digest_of(first.ca_pem));
    EXPECT_EQ(digest_of("abc").substr(0, 16), "ba7816bf8f01cfea");  // FIPS 180-4
    EXPECT_FALSE(renewal.due().has_value());
    ASSERT_TRUE(renewal.trust("", true).has_value());
    EXPECT_TRUE(renewal.due().has_value()) << "asked to renew";
}

TEST_F(RenewalTest, a_disk_that_takes_nothing_leaves_the_old_one) {
    Renewal renewal(directory, first, clock);
    const auto before = renewal.identity();
    clock.advance(61h);
    const auto request = renewal.due();
    std::filesystem::remove_all(directory);
    EXPECT_FALSE(renewal.take(sign(*request), "").has_value());
    EXPECT_EQ(renewal.identity(), before);
}

}  // namespace
}  // namespace culvert::agent
