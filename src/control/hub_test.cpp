// SPDX-License-Identifier: Apache-2.0
// The hub over real mTLS on the loopback, with real clients and a real store.
#include "control/hub.hpp"
#include "api/intent.grpc.pb.h"
#include "base/guarded.hpp"
#include "base/limits.hpp"
#include "control/hub_pki_test.hpp"
#include "control/hub_scene_test.hpp"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <deque>
#include <set>
#include <thread>

namespace culvert::control {
namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 10s;  // for what must happen; no test passes by waiting it out

// One agent: reads everything in a thread, acknowledges when told to.
class FakeNode {
  public:
    FakeNode(int port, const std::string& ca, const scene::KeyPair& identity) {
        grpc::SslCredentialsOptions tls;
        tls.pem_root_certs = ca;
        tls.pem_cert_chain = identity.certificate_pem;
        tls.pem_private_key = identity.key_pem;
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        channel_ = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                             grpc::SslCredentials(tls), arguments);
        stub_ = api::Intent::NewStub(channel_);
        context_.set_deadline(std::chrono::system_clock::now() + 60s);
        stream_ = stub_->Connect(&context_);
    }
    ~FakeNode() { leave(); }
    FakeNode(const FakeNode&) = delete;
    FakeNode& operator=(const FakeNode&) = delete;

    bool hello(const std::string& node, const std::string& epoch = "", std::uint64_t version = 0) {
        api::AgentMessage message;
        message.mutable_hello()->set_node(node);
        message.mutable_hello()->set_epoch(epoch);
        message.mutable_hello()->set_version(version);
        message.mutable_hello()->set_build("test");
        const bool written = stream_->Write(message);
        reader_ = std::thread([this] { read(); });
        return written;
    }
    bool ack(std::uint64_t version) {
        api::AgentMessage message;
        message.mutable_ack()->set_version(version);
        return stream_->Write(message);
    }
    // The next delta; acknowledges nothing. Fails the test when none comes.
    api::Delta next() {
        return state_.wait_for(
            kPatience, [](const State& state) { return !state.deltas.empty() || state.over; },
            [](State& state) {
                if (state.deltas.empty()) {
                    ADD_FAILURE() << "no delta: " << state.status.error_message();
                    return api::Delta();
                }
                api::Delta delta = std::move(state.deltas.front());
                state.deltas.pop_front();
                return delta;
            });
    }
    api::Delta next_and_ack() {
        api::Delta delta = next();
        ack(delta.version());
        return delta;
    }
    // How the server ended the stream.
    grpc::Status ended() {
        return state_.wait_for(
            kPatience, [](const State& state) { return state.over; },
            [](State& state) {
                EXPECT_TRUE(state.over) << "the stream is still open";
                return state.status;
            });
    }
    std::size_t leases() {
        return state_.wait_for(
            kPatience, [](const State& state) { return state.leases > 0; },
            [](State& state) { return state.leases; });
    }
    void leave() {
        context_.TryCancel();
        if (reader_.joinable()) {
            reader_.join();
        }
    }

  private:
    struct State {
        std::deque<api::Delta> deltas;
        std::size_t leases = 0;
        bool over = false;
        grpc::Status status;
    };
    void read() {
        api::ControlMessage message;
        while (stream_->Read(&message)) {
            state_.with([&](State& state) {
                if (message.has_delta()) {
                    state.deltas.push_back(message.delta());
                } else {
                    ++state.leases;
                }
            });
        }
        const grpc::Status status = stream_->Finish();
        state_.with([&](State& state) {
            state.status = status;
            state.over = true;
        });
    }

    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<api::Intent::Stub> stub_;
    grpc::ClientContext context_;
    std::unique_ptr<grpc::ClientReaderWriter<api::AgentMessage, api::ControlMessage>> stream_;
    Monitor<State> state_;
    std::thread reader_;
};

class HubTest : public testing::Test {
  protected:
    static constexpr std::uint64_t kFirstSerial = 0xabc1;

    void SetUp() override {
        scene::write(*store, {scene::vnet(), scene::nic("web", 1), scene::nic("app", 2),
                              scene::node("n1", 1, "abc1"), scene::node("n2", 2, "abc2"),
                              scene::node("n3", 3, "abc3"), scene::attachment("web", "n1")});
        start();
    }
    void start() {
        auto started = Hub::start(scene::hub_options(authority), *store, clock, random);
        ASSERT_TRUE(started.has_value()) << started.error().message;
        hub = std::move(*started);
    }
    std::unique_ptr<FakeNode> node(int number) {
        const std::string name = "n" + std::to_string(number);
        const auto serial = kFirstSerial + static_cast<std::uint64_t>(number) - 1;
        auto made =
            std::make_unique<FakeNode>(hub->port(), authority.pem(), authority.issue(name, serial));
        return made;
    }
    // 1 settled, 0 not, -1 no answer yet
    std::shared_ptr<Monitor<int>> settle(std::int64_t revision) {
        auto answer = std::make_shared<Monitor<int>>(-1);
        hub->settle(revision, [answer](bool settled) {
            answer->with([&](int& value) { value = settled ? 1 : 0; });
        });
        return answer;
    }
    static int wait(Monitor<int>& answer) {
        return answer.wait_for(
            kPatience, [](int value) { return value >= 0; }, [](int value) { return value; });
    }
    static int peek(Monitor<int>& answer) {
        return answer.wait_for(0s, [](int) { return true; }, [](int value) { return value; });
    }
    std::vector<NodeStatus> status() {
        Monitor<std::optional<std::vector<NodeStatus>>> answer;
        hub->status([&](std::vector<NodeStatus> all) {
            answer.with([&](auto& value) { value = std::move(all); });
        });
        return answer.wait([](const auto& value) { return value.has_value(); },
                           [](auto& value) { return *value; });
    }

    SystemClock clock;
    SystemRandom random;
    scene::Authority authority{"test ca"};
    std::unique_ptr<store::Store> store = store::open_memory();
    std::unique_ptr<Hub> hub;
};

TEST_F(HubTest, hello_snapshot_change_acknowledgement_settled) {
    auto first = node(1);
    auto second = node(2);
    ASSERT_TRUE(first->hello("n1"));
    ASSERT_TRUE(second->hello("n2"));
    const api::Delta snapshot = first->next_and_ack();
    EXPECT_TRUE(snapshot.snapshot());
    EXPECT_EQ(snapshot.epoch(), hub->epoch());
    EXPECT_EQ(snapshot.upsert_size(), 4);
    EXPECT_EQ(second->next_and_ack().upsert_size(), 1);
    EXPECT_GE(first->leases(), 1U);

    const auto revision = scene::write(*store, {scene::attachment("app", "n2")});
    auto settled = settle(revision);
    const api::Delta for_second = second->next();
    const api::Delta for_first = first->next_and_ack();
    EXPECT_FALSE(for_second.snapshot());
    EXPECT_EQ(for_second.version(), 2U);
    EXPECT_EQ(for_first.upsert_size(), 3);  // peer, NIC, address
    EXPECT_EQ(peek(*settled), -1) << "settled before the second node has acknowledged";
    second->ack(for_second.version());
    EXPECT_EQ(wait(*settled), 1);
    const auto all = status();
    ASSERT_EQ(all.size(), 3U);
    EXPECT_TRUE(all[1].live);
    EXPECT_EQ(all[1].acked, 2U);
    EXPECT_EQ(all[1].build, "test");
    EXPECT_FALSE(all[2].connected);
}

TEST_F(HubTest, a_change_that_concerns_nobody_settles_at_once) {
    auto first = node(1);
    first->hello("n1");
    first->next_and_ack();
    auto settled = settle(scene::write(*store, {scene::nic("nowhere", 9)}));
    EXPECT_EQ(wait(*settled), 1);
    settled = settle(scene::write(*store, {{"/tenant/x", "unrelated"}}));
    EXPECT_EQ(wait(*settled), 1);
}

TEST_F(HubTest, a_lost_node_is_waited_for_only_while_its_lease_lasts) {
    auto first = node(1);
    first->hello("n1");
    first->next_and_ack();
    first->leave();
    auto settled = settle(scene::write(*store, {scene::attachment("app", "n1")}));
    EXPECT_EQ(wait(*settled), 0) << "its lease is longer than a settle waits";
    while (status()[0].live) {
        std::this_thread::sleep_for(20ms);
    }
    settled =
        settle(scene::write(*store, {scene::nic("late", 3), scene::attachment("late", "n1")}));
    EXPECT_EQ(wait(*settled), 1);
}

TEST_F(HubTest, a_stream_of_the_same_epoch_resumes_by_deltas) {
    auto first = node(1);
    first->hello("n1");
    const api::Delta snapshot = first->next_and_ack();
    first->leave();
    scene::write(*store, {scene::attachment("app", "n1")});
    auto again = node(1);
    again->hello("n1", snapshot.epoch(), snapshot.version());
    const api::Delta missed = again->next_and_ack();
    EXPECT_FALSE(missed.snapshot());
    EXPECT_EQ(missed.version(), snapshot.version() + 1);
    EXPECT_EQ(missed.upsert_size(), 2);
    hub.reset();
    start();
    auto third = node(1);
    third->hello("n1", snapshot.epoch(), missed.version());
    EXPECT_TRUE(third->next().snapshot()) << "another life of the control plane";
}

TEST_F(HubTest, after_a_restore_numbers_are_known_once_every_node_has_the_restored_state) {
    hub.reset();
    scene::write(*store, {{std::string(keys::kEpoch), "2"}});
    start();
    EXPECT_EQ(hub->restore_number(), 2U);
    EXPECT_TRUE(hub->epoch().starts_with("2/"));
    for (const int number : {1, 2}) {
        auto one = node(number);
        one->hello("n" + std::to_string(number), "1/before", 9);
        EXPECT_TRUE(one->next_and_ack().snapshot());
        wait(*settle(store->revision()));
    }
    EXPECT_FALSE(hub->numbers_are_known()) << "the third may hold anything";
    hub.reset();
    start();
    EXPECT_FALSE(hub->numbers_are_known()) << "also in the next life";
    scene::erase(*store, keys::node("n3"));
    for (const int number : {1, 2}) {
        auto one = node(number);
        one->hello("n" + std::to_string(number), "2/before", 9);
        one->next_and_ack();
        while (status()[static_cast<std::size_t>(number) - 1].acked == 0) {
            std::this_thread::sleep_for(5ms);
        }
    }
    while (!hub->numbers_are_known()) {
        std::this_thread::sleep_for(5ms);
    }
    hub.reset();
    start();
    EXPECT_TRUE(hub->numbers_are_known());
}

TEST_F(HubTest, what_nobody_holds_any_more_is_freed) {
    scene::erase(*store, keys::node("n2"));
    scene::erase(*store, keys::node("n3"));
    auto first = node(1);
    first->hello("n1");
    first->next_and_ack();
    scene::write(*store, {{keys::index("nic", 5), "released 3 /x"},
                          {"/released/one", keys::index("nic", 5)}});
    while (store->get("/released/one")->has_value()) {
        std::this_thread::sleep_for(5ms);
    }
    EXPECT_EQ((*store->get(keys::index("nic", 5)))->value, "free 3");
}

// A store that forgets its history on demand and cannot be read for a while.
class Forgetful final : public store::Store {
  public:
    explicit Forgetful(store::Store& real) : real_(real) {}

    Result<store::TxnResult> txn(const store::Txn& txn) override {
        if (failures > 0) {
            --failures;
            return fail(Code::kUnavailable, "locked");
        }
        return real_.txn(txn);
    }
    Result<store::RangeResult> range(const store::Range& range) override {
        return real_.range(range);
    }
    Result<std::unique_ptr<store::Watch>> watch(std::string key, std::string range_end,
                                                std::int64_t after_revision,
                                                store::WatchFn fn) override {
        watcher.with([&](store::WatchFn& slot) { slot = fn; });
        return real_.watch(std::move(key), std::move(range_end), after_revision,
                           [this, fn, number = ++watches](const store::WatchBatch& batch) {
                               if (number > deaf) {
                                   fn(batch);
                               }
                           });
    }
    std::int64_t revision() override { return real_.revision(); }

    void forget() {
        watcher.with(
            [](store::WatchFn& fn) { fn({.revision = 0, .events = {}, .compacted = true}); });
    }

    std::atomic<int> failures{0};
    std::atomic<int> watches{0};
    std::atomic<int> deaf{0};  // the watches up to this one hear nothing
    Guarded<store::WatchFn> watcher;

  private:
    store::Store& real_;
};

TEST_F(HubTest, a_store_that_has_dropped_history_is_read_anew_also_when_it_takes_some_tries) {
    hub.reset();
    auto real = std::move(store);
    auto forgetful = std::make_unique<Forgetful>(*real);
    Forgetful& control = *forgetful;
    store = std::move(forgetful);
    start();
    auto first = node(1);
    first->hello("n1");
    first->next_and_ack();
    control.deaf = control.watches.load();
    const auto revision = scene::write(*real, {scene::attachment("app", "n1")});
    control.failures = 2;
    control.forget();
    const api::Delta again = first->next_and_ack();
    EXPECT_TRUE(again.snapshot());
    EXPECT_EQ(again.upsert_size(), 6);
    EXPECT_GT(revision, 0);
    while (status()[0].acked < again.version()) {
        std::this_thread::sleep_for(5ms);
    }
    scene::write(*store, {scene::nic("late", 3), scene::attachment("late", "n1")});
    EXPECT_FALSE(first->next().snapshot()) << "followed again";
    hub.reset();
    store = std::move(real);
}

TEST_F(HubTest, a_second_stream_of_a_node_replaces_the_first) {
    auto first = node(1);
    first->hello("n1");
    first->next_and_ack();
    auto second = node(1);
    second->hello("n1");
    EXPECT_EQ(first->ended().error_code(), grpc::StatusCode::ABORTED);
    EXPECT_EQ(hub->counters().replaced, 1U);
    second->next_and_ack();
    scene::write(*store, {scene::attachment("app", "n1")});
    EXPECT_FALSE(second->next().snapshot());
}

TEST_F(HubTest, only_certificates_of_the_authority_get_in) {
    const scene::Authority other("another ca");
    FakeNode stranger(hub->port(), authority.pem(), other.issue("n1", kFirstSerial));
    stranger.hello("n1");
    EXPECT_EQ(stranger.ended().error_code(), grpc::StatusCode::UNAVAILABLE);
    FakeNode late(hub->port(), authority.pem(), authority.issue("n1", kFirstSerial, true));
    late.hello("n1");
    EXPECT_EQ(late.ended().error_code(), grpc::StatusCode::UNAVAILABLE);
    FakeNode naked(hub->port(), authority.pem(), {});
    naked.hello("n1");
    EXPECT_EQ(naked.ended().error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(hub->counters().snapshots, 0U);
}

TEST_F(HubTest, a_node_is_who_its_certificate_says) {
    auto liar = node(2);
    liar->hello("n1");
    EXPECT_EQ(liar->ended().error_code(), grpc::StatusCode::PERMISSION_DENIED);
    FakeNode revoked(hub->port(), authority.pem(), authority.issue("n1", 0x999));
    revoked.hello("n1");
    EXPECT_EQ(revoked.ended().error_code(), grpc::StatusCode::PERMISSION_DENIED);
    FakeNode unknown(hub->port(), authority.pem(), authority.issue("n9", 9));
    unknown.hello("n9");
    EXPECT_EQ(unknown.ended().error_code(), grpc::StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(hub->counters().refused, 3U);
}

TEST_F(HubTest, removing_a_node_ends_its_stream) {
    auto second = node(2);
    second->hello("n2");
    second->next_and_ack();
    scene::erase(*store, keys::node("n2"));
    EXPECT_EQ(second->ended().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

// Sends bytes that are no message, as a raw call of the same method.
grpc::Status send_raw(int port, const std::string& ca, const scene::KeyPair& identity,
                      const std::string& bytes) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = ca;
    tls.pem_cert_chain = identity.certificate_pem;
    tls.pem_private_key = identity.key_pem;
    auto channel =
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::SslCredentials(tls));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const grpc::internal::RpcMethod method("/culvert.api.Intent/Connect",
                                           grpc::internal::RpcMethod::BIDI_STREAMING);
    const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
        grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
            channel.get(), method, &context));
    const grpc::Slice slice(bytes);
    stream->Write(grpc::ByteBuffer(&slice, 1));
    grpc::ByteBuffer answer;
    while (stream->Read(&answer)) {
    }
    return stream->Finish();
}

TEST_F(HubTest, garbage_closes_the_stream_and_leaves_the_node_alone) {
    auto first = node(1);
    first->hello("n1");
    first->next_and_ack();
    const auto identity = authority.issue("n2", kFirstSerial + 1);
    EXPECT_EQ(send_raw(hub->port(), authority.pem(), identity, "\xff\xff\xff garbage").error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(send_raw(hub->port(), authority.pem(), identity, "").error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(hub->counters().garbage, 2U);
    EXPECT_FALSE(send_raw(hub->port(), authority.pem(), identity,
                          std::string(limits::kAgentMessageBytes + 1, 'x'))
                     .ok());
    scene::write(*store, {scene::attachment("app", "n1")});
    EXPECT_EQ(first->next().version(), 2U);
}

TEST_F(HubTest, many_changes_arrive_in_order_and_add_up) {
    auto first = node(1);
    first->hello("n1");
    first->next_and_ack();
    std::int64_t last = 0;
    for (std::uint32_t i = 10; i < 60; ++i) {
        const std::string name = "nic" + std::to_string(i);
        last = scene::write(*store, {scene::nic(name, i), scene::attachment(name, "n1")});
    }
    auto settled = settle(last);
    std::set<std::uint32_t> nics;
    std::uint64_t version = 1;
    while (nics.size() < 50) {
        const api::Delta delta = first->next_and_ack();
        ASSERT_EQ(delta.version(), ++version);
        for (const api::Object& object : delta.upsert()) {
            if (object.has_nic()) {
                nics.insert(object.nic().index());
            }
        }
    }
    EXPECT_EQ(wait(*settled), 1);
}

TEST_F(HubTest, stopping_ends_streams_and_answers_settles) {
    auto first = node(1);
    first->hello("n1");
    first->next();
    auto settled = settle(store->revision());
    hub.reset();
    EXPECT_EQ(wait(*settled), 0);
    EXPECT_EQ(first->ended().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(HubStartTest, an_address_in_use_is_an_error) {
    const auto store = store::open_memory();
    const scene::Authority authority("test ca");
    SystemClock clock;
    SystemRandom random;
    HubOptions options = scene::hub_options(authority);
    auto first = Hub::start(options, *store, clock, random);
    ASSERT_TRUE(first.has_value());
    options.listen = "127.0.0.1:" + std::to_string((*first)->port());
    const auto second = Hub::start(options, *store, clock, random);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace culvert::control
