// SPDX-License-Identifier: Apache-2.0
#include "control/hub_streams.hpp"

#include "api/intent.grpc.pb.h"
#include "base/guarded.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "control/hub_tls.hpp"

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/security/auth_context.h>

#include <utility>

namespace culvert::control {
namespace {

constexpr int kStreamsPerConnection = 4;  // a node needs one; one more while it reconnects
constexpr int kMetadataBytes = 16 * 1024;
constexpr int kHandshakeTimeoutMs = 10'000;
constexpr int kKeepaliveMs = 10'000;
constexpr auto kShutdownPatience = std::chrono::seconds(2);

grpc::StatusCode status_code(Code code) {
    switch (code) {
        case Code::kInvalidArgument: return grpc::StatusCode::INVALID_ARGUMENT;
        case Code::kUnauthenticated: return grpc::StatusCode::UNAUTHENTICATED;
        case Code::kPermissionDenied: return grpc::StatusCode::PERMISSION_DENIED;
        case Code::kNotFound: return grpc::StatusCode::NOT_FOUND;
        case Code::kConflict: return grpc::StatusCode::ABORTED;
        case Code::kPreconditionFailed: return grpc::StatusCode::FAILED_PRECONDITION;
        case Code::kTooLarge:
        case Code::kThrottled:
        case Code::kStorageFull: return grpc::StatusCode::RESOURCE_EXHAUSTED;
        case Code::kUnavailable: return grpc::StatusCode::UNAVAILABLE;
        case Code::kTimeout: return grpc::StatusCode::DEADLINE_EXCEEDED;
        case Code::kCorrupt: return grpc::StatusCode::DATA_LOSS;
        case Code::kInternal: return grpc::StatusCode::INTERNAL;
    }
    return grpc::StatusCode::INTERNAL;
}

class Reactor;

// The streams that gRPC still knows. Reactors are used with the lock held, so that none goes away
// meanwhile.
class StreamTable {
  public:
    StreamId add(Reactor* reactor) {
        return streams_.with([&](State& state) {
            state.reactors[state.next] = reactor;
            return state.next++;
        });
    }
    void remove(StreamId id) {
        streams_.with([&](State& state) { state.reactors.erase(id); });
    }
    template <typename F>
    void with(StreamId id, F&& use) {
        streams_.with([&](State& state) {
            const auto at = state.reactors.find(id);
            if (at != state.reactors.end()) {
                use(*at->second);
            }
        });
    }
    template <typename F>
    void with_all(F&& use) {
        streams_.with([&](State& state) {
            for (const auto& [id, reactor] : state.reactors) {
                use(*reactor);
            }
        });
    }

  private:
    struct State {
        std::map<StreamId, Reactor*> reactors;
        StreamId next = 1;
    };
    Guarded<State> streams_;
};

// One stream. Deletes itself when gRPC is done with it.
class Reactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
  public:
    Reactor(StreamTable& table, StreamSink& sink)
        : table_(table), sink_(sink), id_(table.add(this)) {}

    StreamId id() const { return id_; }

    // Called by the table's owner, lock held.
    void send(const std::string& bytes) {
        if (!finished_) {
            const grpc::Slice slice(bytes);
            out_ = grpc::ByteBuffer(&slice, 1);
            StartWrite(&out_);
        }
    }
    void read() {
        if (!finished_) {
            StartRead(&in_);
        }
    }
    void finish(const grpc::Status& status) {
        if (!std::exchange(finished_, true)) {
            Finish(status);
        }
    }

    void OnReadDone(bool ok) override {
        if (!ok) {
            sink_.closed(id_);
            return;
        }
        api::AgentMessage message;
        const grpc::Status parsed =
            grpc::SerializationTraits<api::AgentMessage>::Deserialize(&in_, &message);
        if (parsed.ok()) {
            sink_.message(id_, std::move(message));
        } else {
            sink_.garbage(id_);
        }
    }
    void OnWriteDone(bool ok) override {
        if (ok) {
            sink_.writable(id_);
        }
    }
    void OnCancel() override { sink_.closed(id_); }
    void OnDone() override {
        table_.remove(id_);
        delete this;
    }

  private:
    StreamTable& table_;
    StreamSink& sink_;
    const StreamId id_;
    bool finished_ = false;  // guarded by the table
    grpc::ByteBuffer in_;
    grpc::ByteBuffer out_;
};

Result<StreamIdentity> identity_of_peer(const grpc::CallbackServerContext& context) {
    const auto auth = context.auth_context();
    if (!auth || !auth->IsPeerAuthenticated()) {
        return fail(Code::kUnauthenticated, "no client certificate");
    }
    const auto pem = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    if (pem.size() != 1) {
        return fail(Code::kUnauthenticated, "no client certificate");
    }
    return identity_of(std::string(pem.front().data(), pem.front().size()));
}

// Raw: the message's bytes come here, so that garbage is seen and counted.
class IntentService final
    : public api::Intent::WithRawCallbackMethod_Connect<api::Intent::Service> {
  public:
    IntentService(StreamTable& table, StreamSink& sink) : table_(table), sink_(sink) {}

    grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Connect(
        grpc::CallbackServerContext* context) override {
        auto identity = identity_of_peer(*context);
        auto* reactor = new Reactor(table_, sink_);  // OnDone deletes it
        const StreamId id = reactor->id();
        if (!identity) {
            spdlog::warn("hub: refuse {}: {}", context->peer(), identity.error().message);
            table_.with(id, [&](Reactor& refused) {
                refused.finish({grpc::StatusCode::UNAUTHENTICATED, identity.error().message});
            });
        } else {
            sink_.opened(id, std::move(*identity));
        }
        return reactor;
    }

  private:
    StreamTable& table_;
    StreamSink& sink_;
};

class Server final : public StreamServer {
  public:
    explicit Server(StreamSink& sink) : service_(table_, sink) {}
    ~Server() override { stop(); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    Status listen(const HubOptions& options);
    int port() const override { return port_; }
    Status replace_certificate(const std::string& certificate_pem, const std::string& key_pem,
                               const std::string& ca_pem) override {
        return tls_->replace(certificate_pem, key_pem, ca_pem);
    }

    void stop() override {
        if (!server_) {
            return;
        }
        close_all();
        server_->Shutdown(std::chrono::system_clock::now() + kShutdownPatience);
        close_all();  // what came in between
        server_->Wait();
        server_.reset();
    }

    void send(StreamId stream, const std::string& bytes) override {
        table_.with(stream, [&](Reactor& reactor) { reactor.send(bytes); });
    }
    void read(StreamId stream) override {
        table_.with(stream, [](Reactor& reactor) { reactor.read(); });
    }
    void close(StreamId stream, const Error& why) override {
        table_.with(stream, [&](Reactor& reactor) {
            reactor.finish({status_code(why.code), why.message});
        });
    }

  private:
    void close_all() {
        table_.with_all([](Reactor& reactor) {
            reactor.finish({grpc::StatusCode::UNAVAILABLE, "the control plane is stopping"});
        });
    }

    std::unique_ptr<HubTls> tls_;
    StreamTable table_;
    IntentService service_;
    std::unique_ptr<grpc::Server> server_;
    int port_ = 0;
};

Status Server::listen(const HubOptions& options) {
    auto tls = HubTls::make(options.certificate_pem, options.key_pem, options.ca_pem);
    if (!tls) {
        return std::unexpected(std::move(tls.error()));
    }
    tls_ = std::move(*tls);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(options.listen, tls_->credentials(), &port_);
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(static_cast<int>(limits::kAgentMessageBytes));
    builder.SetMaxSendMessageSize(static_cast<int>(limits::kIntentMessageBytes));
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    server_ = builder.BuildAndStart();
    if (!server_ || port_ == 0) {
        server_.reset();
        return fail(Code::kUnavailable, "hub: listen on " + options.listen + ": address in use");
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<StreamServer>> StreamServer::start(const HubOptions& options,
                                                          StreamSink& sink) {
    auto server = std::make_unique<Server>(sink);
    CULVERT_TRY_STATUS(server->listen(options));
    return server;
}

}  // namespace culvert::control
