// SPDX-License-Identifier: Apache-2.0
// Certificates while streams are up: real mTLS, the real authority, a real store.
#include "api/intent.grpc.pb.h"
#include "control/certificates.hpp"
#include "control/hub.hpp"
#include "control/hub_pki_test.hpp"
#include "control/hub_scene_test.hpp"
#include "control/hub_streams.hpp"
#include "control/renewal.hpp"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

namespace culvert::control {
namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 60s;  // for what must happen; no test passes by waiting it out

// An agent's end of a stream, one message at a time.
class Peer {
  public:
    Peer(int port, const std::string& ca, const KeyPair& own, const std::string& node) {
        grpc::SslCredentialsOptions tls;
        tls.pem_root_certs = ca;
        tls.pem_cert_chain = own.certificate_pem;
        tls.pem_private_key = own.key_pem;
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        context_.set_deadline(std::chrono::system_clock::now() + kPatience);
        stub_ = api::Intent::NewStub(grpc::CreateCustomChannel(
            "127.0.0.1:" + std::to_string(port), grpc::SslCredentials(tls), arguments));
        stream_ = stub_->Connect(&context_);
        api::AgentMessage message;
        message.mutable_hello()->set_node(node);
        stream_->Write(message);
    }
    ~Peer() {
        context_.TryCancel();
        stream_->Finish();
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    // A lease comes for every heartbeat: the stream works. Acknowledges what comes before.
    bool works() {
        api::AgentMessage message;
        message.mutable_heartbeat();
        if (!stream_->Write(message)) {
            return false;
        }
        api::ControlMessage answer;
        while (stream_->Read(&answer)) {
            if (answer.has_lease()) {
                return answer.lease().renews();
            }
        }
        return false;
    }
    api::Issued renew(const std::string& csr) {
        api::AgentMessage message;
        message.mutable_renew()->set_csr(csr);
        stream_->Write(message);
        api::ControlMessage answer;
        while (stream_->Read(&answer)) {
            if (answer.has_issued()) {
                return answer.issued();
            }
        }
        ADD_FAILURE() << "no answer: the stream has ended";
        return {};
    }

  private:
    grpc::ClientContext context_;
    std::unique_ptr<api::Intent::Stub> stub_;
    std::unique_ptr<grpc::ClientReaderWriter<api::AgentMessage, api::ControlMessage>> stream_;
};

class HubRenewalTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "culvert-renewals-XXXXXX";
        directory = mkdtemp(pattern.data());
        authority = *CertificateAuthority::open(directory, clock.wall(), random);
        const KeyPair server = *authority->server_certificate({"127.0.0.1"}, clock.wall());
        for (const auto& [name, index] : {std::pair{"n1", 1U}, {"n2", 2U}}) {
            own[name] = issued_long_ago(name);
            scene::write(*store, {scene::node(name, index, serial_of(own[name]))});
        }
        HubOptions options{.listen = "127.0.0.1:0",
                           .certificate_pem = server.certificate_pem,
                           .key_pem = server.key_pem,
                           .ca_pem = authority->certificate_pem(),
                           .issue =
                               [this](const std::string& csr, const std::string& name) {
                                   return authority->issue_node_certificate(csr, name,
                                                                            clock.wall());
                               },
                           .intent = {}};
        auto started = Hub::start(options, *store, clock, random);
        ASSERT_TRUE(started.has_value()) << started.error().message;
        hub = std::move(*started);
    }
    void TearDown() override {
        hub.reset();
        std::filesystem::remove_all(directory);
    }

    // In the second half of its life.
    KeyPair issued_long_ago(const std::string& name) {
        const auto asked = scene::request(name);
        return {
            *authority->issue_node_certificate(
                asked.certificate_pem, name, clock.wall() - limits::kNodeCertificateLife / 2 - 1h),
            asked.key_pem};
    }
    static std::string serial_of(const KeyPair& pair) {
        return identity_of(pair.certificate_pem)->serial;
    }
    model::Node document(const std::string& name) {
        return *decode_node((*store->get(keys::node(name)))->value);
    }
    std::unique_ptr<Peer> peer(const std::string& name, const KeyPair& with) {
        return std::make_unique<Peer>(hub->port(), authority->certificate_pem(), with, name);
    }

    SystemClock clock;
    SystemRandom random;
    std::filesystem::path directory;
    std::unique_ptr<store::Store> store = store::open_memory();
    std::unique_ptr<CertificateAuthority> authority;
    std::map<std::string, KeyPair> own;
    std::unique_ptr<Hub> hub;
};

TEST_F(HubRenewalTest, a_node_renews_over_its_stream_and_the_old_one_is_revoked_when_it_is_used) {
    auto first = peer("n1", own["n1"]);
    ASSERT_TRUE(first->works());
    const auto asked = scene::request("n1");
    const auto answer = first->renew(asked.certificate_pem);
    ASSERT_EQ(answer.error(), "");
    const KeyPair next{answer.certificate(), asked.key_pem};
    EXPECT_EQ(document("n1").certificate_serial, serial_of(own["n1"]));
    ASSERT_EQ(document("n1").next.size(), 1U);
    EXPECT_EQ(document("n1").next[0].serial, serial_of(next));
    EXPECT_TRUE(first->works()) << "the old stream goes on";
    EXPECT_TRUE(peer("n1", own["n1"])->works()) << "and the old certificate is good still";
    auto moved = peer("n1", next);
    EXPECT_TRUE(moved->works());
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!document("n1").next.empty() && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(5ms);
    }
    EXPECT_EQ(document("n1").certificate_serial, serial_of(next));
    EXPECT_EQ(document("n1").certificate_until, identity_of(next.certificate_pem)->until);
    EXPECT_TRUE(moved->works());
    EXPECT_FALSE(peer("n1", own["n1"])->works()) << "revoked";
    EXPECT_TRUE(moved->works()) << "whoever tries the old one disturbs nobody";
    EXPECT_EQ(hub->counters().renewals, 1U);
}

TEST_F(HubRenewalTest, a_node_that_asks_for_another_nodes_name_is_refused_and_counted) {
    auto victim = peer("n2", own["n2"]);
    ASSERT_TRUE(victim->works());
    auto hostile = peer("n1", own["n1"]);
    for (const char* name : {"n2", "n1.n2", "N1", "culvertd"}) {
        const auto answer = hostile->renew(scene::request(name).certificate_pem);
        EXPECT_THAT(answer.error(), testing::HasSubstr("is for '" + std::string(name) + "'"));
        EXPECT_EQ(answer.certificate(), "");
    }
    EXPECT_NE(hostile->renew("garbage").error(), "");
    EXPECT_EQ(hub->counters().renewals_refused, 5U);
    EXPECT_EQ(hub->counters().renewals, 0U);
    EXPECT_TRUE(document("n1").next.empty());
    EXPECT_TRUE(document("n2").next.empty());
    EXPECT_TRUE(victim->works());
    EXPECT_EQ(hostile->renew(scene::request("n1").certificate_pem).error(), "") << "its own: yes";
}

class RenewalsTest : public HubRenewalTest {
  protected:
    StreamIdentity identity(const KeyPair& pair) const {
        return *identity_of(pair.certificate_pem);
    }
    KeyPair renewed(const StreamIdentity& who) {
        const auto asked = scene::request(who.node);
        auto made = renewals.renew(who, asked.certificate_pem);
        EXPECT_TRUE(made.has_value());
        return made ? KeyPair{made->certificate_pem, asked.key_pem} : KeyPair();
    }
    bool is_revoked(const std::string& serial) {
        return store->get(keys::revocation(serial))->has_value();
    }
    Renewals renewals{*store, clock, [this](const std::string& csr, const std::string& name) {
                          return authority->issue_node_certificate(csr, name, clock.wall());
                      }};
};

TEST_F(RenewalsTest, a_second_renewal_does_not_forget_what_the_node_may_have_stored) {
    const auto old = identity(own["n1"]);
    const KeyPair stored = renewed(old);
    const KeyPair lost = renewed(old);  // it had not come back with the first, and asked again
    EXPECT_TRUE(peer("n1", stored)->works()) << "stopped between storing it and using it";
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!document("n1").next.empty() && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(5ms);
    }
    EXPECT_EQ(document("n1").certificate_serial, serial_of(stored));
    EXPECT_TRUE(is_revoked(old.serial));
    EXPECT_TRUE(is_revoked(serial_of(lost)));
    EXPECT_FALSE(is_revoked(serial_of(stored)));
    EXPECT_FALSE(peer("n1", lost)->works());
    EXPECT_FALSE(renewals.renew(old, scene::request("n1").certificate_pem));
}

TEST_F(RenewalsTest, a_node_that_asks_and_uses_nothing_is_given_few) {
    const auto old = identity(own["n1"]);
    const KeyPair first = renewed(old);
    for (int i = 0; i < 4; ++i) {
        renewed(old);
    }
    EXPECT_EQ(document("n1").next.size(), 4U);
    EXPECT_TRUE(is_revoked(serial_of(first)));
    EXPECT_FALSE(renewals.confirm(identity(first)));
    EXPECT_EQ(document("n1").certificate_serial, old.serial);
}

TEST_F(RenewalsTest, a_forgotten_certificate_is_written_down_unless_it_was_revoked_or_is_older) {
    const auto old = identity(own["n1"]);
    const KeyPair later{*authority->issue_node_certificate(scene::request("n1").certificate_pem,
                                                           "n1", clock.wall()),
                        ""};
    scene::write(*store, {scene::node("n1", 1, "of the backup")});
    EXPECT_FALSE(renewals.adopt(identity(later))) << "nobody knows when the stored one was made";
    auto known = document("n1");
    known.certificate_from = identity(later).from;
    scene::write(*store, {{keys::node("n1"), encode(known)}});
    EXPECT_FALSE(renewals.adopt(identity(later))) << "not later";
    known.certificate_from = old.from;
    scene::write(*store, {{keys::node("n1"), encode(known)}});
    EXPECT_FALSE(renewals.adopt(old)) << "not later";
    scene::write(*store, {{keys::revocation(serial_of(later)), encode(Revocation{"n1", {}})}});
    EXPECT_FALSE(renewals.adopt(identity(later))) << "revoked";
    scene::erase(*store, keys::revocation(serial_of(later)));
    ASSERT_TRUE(renewals.adopt(identity(later)));
    EXPECT_EQ(document("n1").certificate_serial, serial_of(later));
    EXPECT_EQ(document("n1").certificate_from, identity(later).from);
    EXPECT_TRUE(is_revoked("of the backup"));
    EXPECT_TRUE(renewals.adopt(identity(later))) << "twice is once";
    scene::erase(*store, keys::node("n1"));
    EXPECT_FALSE(renewals.adopt(identity(later)));
}

TEST_F(RenewalsTest, records_of_revoked_certificates_go_when_those_would_have_ended) {
    scene::write(*store, {{keys::revocation("ended"),
                           encode(Revocation{"n1", clock.wall() - std::chrono::days(2)})},
                          {keys::revocation("not yet"),
                           encode(Revocation{"n1", clock.wall() + std::chrono::days(1)})}});
    const KeyPair next = renewed(identity(own["n1"]));
    ASSERT_TRUE(renewals.confirm(identity(next)));
    EXPECT_FALSE(is_revoked("ended"));
    EXPECT_TRUE(is_revoked("not yet"));
}

TEST_F(HubRenewalTest, a_removed_node_gets_nothing) {
    auto first = peer("n1", own["n1"]);
    ASSERT_TRUE(first->works());
    const auto asked = scene::request("n1");
    const KeyPair next{first->renew(asked.certificate_pem).certificate(), asked.key_pem};
    scene::erase(*store, keys::node("n1"));
    EXPECT_FALSE(peer("n1", next)->works());
    EXPECT_FALSE(peer("n1", own["n1"])->works());
}

TEST_F(HubRenewalTest, a_new_server_certificate_serves_new_connections_and_old_streams_go_on) {
    auto before = peer("n1", own["n1"]);
    ASSERT_TRUE(before->works());
    const scene::Authority other("another authority");
    const auto server = other.issue("culvertd", 77);
    EXPECT_FALSE(hub->replace_certificate(server.certificate_pem, own["n1"].key_pem, other.pem()))
        << "a key that is not the certificate's";
    EXPECT_TRUE(peer("n2", own["n2"])->works()) << "what cannot be used changes nothing";
    ASSERT_TRUE(hub->replace_certificate(server.certificate_pem, server.key_pem,
                                         authority->certificate_pem() + other.pem()));
    const auto end = std::chrono::steady_clock::now() + kPatience;
    bool served = false;
    while (!served && std::chrono::steady_clock::now() < end) {
        served = Peer(hub->port(), other.pem(), own["n2"], "n2").works();
    }
    EXPECT_TRUE(served) << "who trusts the new authority alone is served";
    EXPECT_FALSE(peer("n2", own["n2"])->works()) << "who trusts the old one alone is not";
    EXPECT_TRUE(before->works()) << "a stream that stands has nothing to do with it";
}

}  // namespace
}  // namespace culvert::control
