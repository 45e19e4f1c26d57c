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

class Session {
  public:
    Session(Node& node, const Identity& identity, const std::string& build)
        : node_(node), identity_(identity), build_(build) {}

    void cancel() { context_.TryCancel(); }

    // Runs the stream to its end; says why it ended. `answered` is called with the first message.
    std::string run(const std::function<void()>& answered, std::atomic<std::uint64_t>& refused);

  private:
    using Writer = grpc::ClientReaderWriter<api::AgentMessage, api::ControlMessage>;

    bool write(const api::AgentMessage& message) {
        return writer_.with(
            [&](std::unique_ptr<Writer>& writer) { return writer->Write(message); });
    }
    void read_all(Writer& reader, const std::function<void()>& answered,
                  std::atomic<std::uint64_t>& refused);
    std::string finish(Writer& reader, std::atomic<std::uint64_t>& refused);
    bool hello();
    bool take(const api::Delta& delta);
    void beat(const std::stop_token& stop);

    Node& node_;
    const Identity& identity_;
    const std::string& build_;
    grpc::ClientContext context_;
    Guarded<std::unique_ptr<Writer>> writer_;  // one Write at a time; Read is apart from it
    runtime::Bell stopped_;
    std::atomic<std::uint32_t> beat_ms_{
        static_cast<std::uint32_t>(std::chrono::milliseconds(limits::kLease).count() / 3)};
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
    for (const auto& nic : held.plumbed) {
        hello->add_plumbed(nic);
    }
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
        return write(message);
    }
    why_ = version.error().message;
    spdlog::error("agent: refused delta version={}: {}", delta.version(), why_);
    message.mutable_ack()->set_version(node_.held().version);
    message.mutable_ack()->set_error(why_);
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
        api::AgentMessage message;
        message.mutable_heartbeat()->set_version(node_.held().version);
        if (const auto remaining = node_.remaining_flows()) {
            message.mutable_heartbeat()->set_draining(true);
            message.mutable_heartbeat()->set_remaining_flows(*remaining);
        }
        if (!write(message)) {
            return;
        }
    }
}

std::string Session::run(const std::function<void()>& answered,
                         std::atomic<std::uint64_t>& refused) {
    const auto stub = api::Intent::NewStub(channel_to(identity_));
    auto opened = stub->Connect(&context_);
    Writer* const reader = opened.get();
    writer_.with([&](std::unique_ptr<Writer>& writer) { writer = std::move(opened); });
    if (hello()) {
        std::jthread beats([this](const std::stop_token& stop) { beat(stop); });
        read_all(*reader, answered, refused);
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
        switch (message.kind_case()) {
            case api::ControlMessage::kLease:
                if (message.lease().ttl_ms() != 0) {
                    beat_ms_ = message.lease().ttl_ms() / 3;
                }
                node_.leased(message.lease());
                continue;
            case api::ControlMessage::kDelta:
                if (take(message.delta())) {
                    continue;
                }
                break;
            case api::ControlMessage::KIND_NOT_SET: why_ = "a message of no kind"; break;
        }
        ++refused;
        return;
    }
}

std::string Session::finish(Writer& reader, std::atomic<std::uint64_t>& refused) {
    writer_.with([](std::unique_ptr<Writer>& writer) { writer->WritesDone(); });
    if (!why_.empty()) {
        // the error must leave before the stream is cut: the other end has a moment to close it
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
        static_cast<void>(reader.Finish());
        return why_;
    }
    const auto status = reader.Finish();
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
    GrpcStream(Node& node, const Identity& identity, std::string build)
        : node_(node), identity_(identity), build_(std::move(build)) {
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
            const std::string why = once(stop, met);
            status_.with([&](StreamStatus& status) {
                if (!stop.stop_requested() && (met || status.last_error != why)) {
                    spdlog::warn("agent: stream to {} ended: {}", identity_.intent, why);
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

    // One stream from beginning to end; `met`: it was a good one.
    std::string once(const std::stop_token& stop, bool& met) {
        Session session(node_, identity_, build_);
        session_.with([&](Session*& current) { current = &session; });
        std::string why;
        if (!stop.stop_requested()) {
            const auto before = refused_.load();
            why = session.run(
                [&] {
                    met = true;
                    status_.with([&](StreamStatus& status) {
                        status.connected = true;
                        ++status.connects;
                    });
                    spdlog::info("agent: stream to {} is up", identity_.intent);
                },
                refused_);
            met = met && refused_.load() == before;
        }
        session_.with([](Session*& current) { current = nullptr; });
        return why;
    }

    Node& node_;
    const Identity identity_;
    const std::string build_;
    Guarded<StreamStatus> status_;
    std::atomic<std::uint64_t> refused_{0};
    Guarded<Session*> session_{nullptr};
    runtime::Bell stopped_;
    std::jthread thread_;
};

}  // namespace

std::unique_ptr<Stream> Stream::start(Node& node, const Identity& identity, std::string build) {
    return std::make_unique<GrpcStream>(node, identity, std::move(build));
}

}  // namespace culvert::agent
