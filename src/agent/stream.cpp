// SPDX-License-Identifier: Apache-2.0
#include "agent/stream.hpp"

#include "api/intent.grpc.pb.h"
#include "base/guarded.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "runtime/bell.hpp"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

namespace culvert::agent {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kFirstPause = 50ms;
constexpr auto kLongestPause = 2000ms;
constexpr auto kShortestBeat = 100ms;
constexpr auto kFarewell = 500ms;
constexpr auto kMovePatience = 1000ms;  // less than the lease leaves between heartbeats
// A control plane that is gone without a word is noticed by heartbeats that TCP cannot deliver:
// gRPC makes the keepalive timeout the socket's TCP_USER_TIMEOUT. Its pings are rarer than servers
// allow (one in five minutes without data of theirs), else they would end the stream themselves.
constexpr int kKeepaliveMs = 600000;
constexpr int kKeepaliveTimeoutMs = 5000;

std::shared_ptr<grpc::Channel> channel_to(const Identity& identity) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = identity.ca_pem;
    tls.pem_private_key = identity.key_pem;
    tls.pem_cert_chain = identity.certificate_pem;
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(static_cast<int>(limits::kIntentMessageBytes));
    arguments.SetMaxSendMessageSize(static_cast<int>(limits::kAgentMessageBytes));
    // each attempt is a channel of its own: our pauses, not gRPC's
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    return grpc::CreateCustomChannel(identity.intent, grpc::SslCredentials(tls), arguments);
}

// A connection that may be there already, and who it says we are.
struct Connection {
    std::shared_ptr<const Identity> identity;
    std::shared_ptr<grpc::Channel> channel;
};

class Session {
  public:
    Session(Node& node, Renewal& renewal, Meter& meter, Connection connection,
            const std::string& build)
        : node_(node),
          renewal_(renewal),
          meter_(meter),
          connection_(std::move(connection)),
          identity_(*connection_.identity),
          build_(build) {}

    void cancel() { context_.TryCancel(); }
    // The connection to go on with, when this stream ended for its sake.
    std::optional<Connection> successor() {
        return successor_.with(
            [](std::optional<Connection>& next) { return std::exchange(next, std::nullopt); });
    }

    // Runs the stream to its end; says why it ended. `answered` is called with the first message.
    std::string run(const std::function<void()>& answered, std::atomic<std::uint64_t>& refused);

  private:
    using Writer = grpc::ClientReaderWriter<api::AgentMessage, api::ControlMessage>;

    bool write(const api::AgentMessage& message) {
        return writer_.with(
            [&](std::unique_ptr<Writer>& writer) { return writer->Write(message); });
    }
    // Made in its turn: what it says is never older than what an earlier message said.
    bool write_heartbeat() {
        return writer_.with([&](std::unique_ptr<Writer>& writer) {
            api::AgentMessage message;
            *message.mutable_heartbeat() = node_.heartbeat();
            return writer->Write(message);
        });
    }
    void read_all(Writer& reader, const std::function<void()>& answered,
                  std::atomic<std::uint64_t>& refused);
    std::string finish(Writer& reader, std::atomic<std::uint64_t>& refused);
    bool hello();
    static void say(const Status& done) {
        if (!done) {
            spdlog::error("agent: move: {}", done.error().message);
        }
    }
    bool take(const api::Delta& delta);
    bool take(const api::ControlMessage& message);
    void beat(const std::stop_token& stop);
    bool report();
    bool renew();
    bool move_over();

    Node& node_;
    Renewal& renewal_;
    Meter& meter_;
    const Connection connection_;
    const Identity& identity_;
    const std::string& build_;
    grpc::ClientContext context_;
    Guarded<std::unique_ptr<Writer>> writer_;  // one Write at a time; Read is apart from it
    runtime::Bell stopped_;
    std::atomic<std::uint32_t> beat_ms_{
        static_cast<std::uint32_t>(std::chrono::milliseconds(limits::kLease).count() / 3)};
    std::atomic<bool> renews_{false};  // the control plane says that it does
    std::atomic<bool> counts_{false};
    Reported reported_;  // the heartbeats' own
    Guarded<std::optional<Connection>> successor_;
    std::atomic<bool> moving_{false};
    std::string why_;
};

bool Session::hello() {
    const Held held = node_.held();
    api::AgentMessage message;
    auto* hello = message.mutable_hello();
    hello->set_node(identity_.name);
    hello->set_epoch(held.epoch);
    hello->set_version(held.version);
    hello->set_build(build_);
    hello->set_trust(digest_of(identity_.ca_pem));
    for (const auto& nic : held.plumbed) {
        hello->add_plumbed(nic);
    }
    add_in_use(held, *hello->mutable_in_use());
    for (auto& part : node_.parts()) {
        hello->add_part(std::move(part));
    }
    return write(message);
}

// False when the stream must begin anew.
bool Session::take(const api::Delta& delta) {
    const auto version = node_.receive(delta);
    api::AgentMessage message;
    if (version) {
        message.mutable_ack()->set_version(*version);
        add_in_use(node_.held(), *message.mutable_ack()->mutable_in_use());
        return write(message);
    }
    why_ = version.error().message;
    spdlog::error("agent: refused delta version={}: {}", delta.version(), why_);
    message.mutable_ack()->set_version(node_.held().version);
    message.mutable_ack()->set_error(why_);
    add_in_use(node_.held(), *message.mutable_ack()->mutable_in_use());
    static_cast<void>(write(message));
    return false;
}

void Session::beat(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        const auto seen = stopped_.rings();
        if (stop.stop_requested()) {
            return;
        }
        const auto pause = std::max<std::chrono::milliseconds>(
            kShortestBeat, std::chrono::milliseconds(beat_ms_.load()));
        if (stopped_.wait_until(seen, Clock::now() + pause)) {
            continue;
        }
        // the answer to a request comes on the stream that it was sent on: move first
        if (!write_heartbeat() || !report() || move_over() || !renew()) {
            return;
        }
    }
}

// What links carried since the last time. False when the stream is over.
bool Session::report() {
    if (!counts_) {
        return true;
    }
    const auto messages = meter_.report(reported_);
    return std::ranges::all_of(messages,
                               [&](const api::AgentMessage& each) { return write(each); });
}

// Asks for a new certificate when it is time. False when the stream is over.
bool Session::renew() {
    auto request = renews_ ? renewal_.due() : std::nullopt;
    if (!request) {
        return true;
    }
    api::AgentMessage message;
    message.mutable_renew()->set_csr(std::move(*request));
    return write(message);
}

// Once there is a new certificate or authority: connects with it, and when that has worked ends
// this stream. True: it has.
bool Session::move_over() {
    Connection next{.identity = renewal_.identity(), .channel = {}};
    if (next.identity == connection_.identity) {
        return false;
    }
    next.channel = channel_to(*next.identity);
    if (!next.channel->WaitForConnected(std::chrono::system_clock::now() + kMovePatience)) {
        spdlog::warn("agent: cannot connect with the renewed certificate yet");
        return false;
    }
    successor_.with([&](std::optional<Connection>& successor) { successor = std::move(next); });
    moving_ = true;
    context_.TryCancel();
    return true;
}

std::string Session::run(const std::function<void()>& answered,
                         std::atomic<std::uint64_t>& refused) {
    const auto stub = api::Intent::NewStub(connection_.channel);
    auto opened = stub->Connect(&context_);
    Writer* const reader = opened.get();
    writer_.with([&](std::unique_ptr<Writer>& writer) { writer = std::move(opened); });
    if (hello()) {
        std::jthread beats([this](const std::stop_token& stop) { beat(stop); });
        node_.set_sender([this](const api::AgentMessage& message) { return write(message); });
        read_all(*reader, answered, refused);
        node_.set_sender({});
        beats.request_stop();
        stopped_.ring();
    }
    return finish(*reader, refused);
}

void Session::read_all(Writer& reader, const std::function<void()>& answered,
                       std::atomic<std::uint64_t>& refused) {
    api::ControlMessage message;
    bool first = true;
    while (reader.Read(&message)) {
        if (std::exchange(first, false)) {
            answered();
        }
        if (!take(message)) {
            refused += moving_ ? 0 : 1;
            return;
        }
    }
}

// False when the stream must begin anew.
bool Session::take(const api::ControlMessage& message) {
    switch (message.kind_case()) {
        case api::ControlMessage::kLease:
            if (message.lease().ttl_ms() != 0) {
                beat_ms_ = message.lease().ttl_ms() / 3;
            }
            renews_ = message.lease().renews();
            counts_ = message.lease().counts();
            node_.leased(message.lease());
            return true;
        case api::ControlMessage::kDelta: return take(message.delta());
        case api::ControlMessage::kOrder: say(node_.order(message.order())); return true;
        case api::ControlMessage::kFlows: say(node_.take(message.flows())); return true;
        case api::ControlMessage::kIssued:
            // a failure is counted and tried again
            static_cast<void>(
                renewal_.take(message.issued().certificate(), message.issued().error()));
            return true;
        case api::ControlMessage::kTrust:
            if (auto done = renewal_.trust(message.trust().ca(), message.trust().renew()); !done) {
                spdlog::error("agent: trust: {}", done.error().message);
            }
            return true;
        case api::ControlMessage::KIND_NOT_SET: break;
    }
    why_ = "a message of no kind";
    return false;
}

std::string Session::finish(Writer& reader, std::atomic<std::uint64_t>& refused) {
    writer_.with([](std::unique_ptr<Writer>& writer) { writer->WritesDone(); });
    // Whoever could not write any more has not read everything, and gRPC does not say how a stream
    // ended before all of it is read. An error of ours must leave before the stream is cut: the
    // other end has a moment to close it.
    runtime::Bell closed;
    const auto seen = closed.rings();
    std::jthread cut([&] {
        if (!closed.wait_until(seen, Clock::now() + kFarewell)) {
            context_.TryCancel();
        }
    });
    api::ControlMessage rest;
    while (reader.Read(&rest)) {
        rest.Clear();
    }
    closed.ring();
    const auto status = reader.Finish();
    if (!why_.empty()) {
        return why_;
    }
    if (status.error_code() == grpc::StatusCode::INTERNAL ||
        status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
        ++refused;  // bytes that are no message, or too many of them
    }
    return status.ok() ? "the control plane closed the stream"
                       : fmt::format("{} ({})", status.error_message(),
                                     static_cast<int>(status.error_code()));
}

class GrpcStream final : public Stream {
  public:
    GrpcStream(Node& node, Renewal& renewal, Meter& meter, std::string build)
        : node_(node), renewal_(renewal), meter_(meter), build_(std::move(build)) {
        thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    }
    GrpcStream(const GrpcStream&) = delete;
    GrpcStream& operator=(const GrpcStream&) = delete;
    ~GrpcStream() override {
        thread_.request_stop();
        stopped_.ring();
        session_.with([](Session*& session) {
            if (session != nullptr) {
                session->cancel();
            }
        });
    }

    StreamStatus status() const override {
        StreamStatus out = status_.with([](const StreamStatus& status) { return status; });
        out.refused = refused_;
        return out;
    }

  private:
    void work(const std::stop_token& stop) {
        auto pause = std::chrono::milliseconds(kFirstPause);
        while (!stop.stop_requested()) {
            bool met = false;
            std::optional<Connection> next = connection();
            const std::string intent = next->identity->intent;
            std::string why;
            while (next && !stop.stop_requested()) {
                why = once(stop, met, next);
            }
            status_.with([&](StreamStatus& status) {
                if (!stop.stop_requested() && (met || status.last_error != why)) {
                    spdlog::warn("agent: stream to {} ended: {}", intent, why);
                }
                status.connected = false;
                status.last_error = why;
            });
            pause =
                met ? std::chrono::milliseconds(kFirstPause) : std::min(kLongestPause, pause * 2);
            const auto seen = stopped_.rings();
            if (!stop.stop_requested()) {
                stopped_.wait_until(seen, Clock::now() + pause);
            }
        }
    }

    Connection connection() const {
        auto identity = renewal_.identity();
        auto channel = channel_to(*identity);
        return {std::move(identity), std::move(channel)};
    }

    // One stream from beginning to end; `met`: it was a good one. `next`: the connection to use,
    // afterwards the one to go on with at once, if any.
    std::string once(const std::stop_token& stop, bool& met, std::optional<Connection>& next) {
        const std::string intent = next->identity->intent;
        Session session(node_, renewal_, meter_, std::move(*next), build_);
        session_.with([&](Session*& current) { current = &session; });
        std::string why;
        met = false;
        if (!stop.stop_requested()) {
            const auto before = refused_.load();
            why = session.run(
                [&] {
                    met = true;
                    status_.with([&](StreamStatus& status) {
                        status.connected = true;
                        ++status.connects;
                    });
                    spdlog::info("agent: stream to {} is up", intent);
                },
                refused_);
            met = met && refused_.load() == before;
        }
        session_.with([](Session*& current) { current = nullptr; });
        next = session.successor();
        return why;
    }

    Node& node_;
    Renewal& renewal_;
    Meter& meter_;
    const std::string build_;
    Guarded<StreamStatus> status_;
    std::atomic<std::uint64_t> refused_{0};
    Guarded<Session*> session_{nullptr};
    runtime::Bell stopped_;
    std::jthread thread_;
};

}  // namespace

std::unique_ptr<Stream> Stream::start(Node& node, Renewal& renewal, Meter& meter,
                                      std::string build) {
    return std::make_unique<GrpcStream>(node, renewal, meter, std::move(build));
}

}  // namespace culvert::agent
