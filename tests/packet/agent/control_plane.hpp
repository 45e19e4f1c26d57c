// SPDX-License-Identifier: Apache-2.0
// The other end of the agent's stream, for its tests: a real gRPC server with mutual TLS that sends
// what a test tells it and remembers what came.
#pragma once

#include "api/intent.grpc.pb.h"
#include "base/guarded.hpp"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace culvert::agent {

struct Certificate {
    std::string certificate_pem;
    std::string key_pem;
};
// An authority when `issuer` is null, else a leaf for that name, valid for 127.0.0.1.
Certificate make_certificate(const std::string& name, const Certificate* issuer);

class ControlPlane final : public api::Intent::Service {
  public:
    explicit ControlPlane(const Certificate& authority);
    ~ControlPlane() override;

    std::string address() const;
    // Queued for the stream that is open or the next one.
    void send(const api::ControlMessage& message);
    void send(const api::Delta& delta);
    // Ends the stream that is open.
    void hang_up();

    // The next Hello that has not been given out yet; empty when none comes in 10 s.
    std::optional<api::Hello> next_hello();
    // The acknowledgement of that version, or any with an error; empty when none comes in 10 s.
    std::optional<api::Ack> wait_ack(std::uint64_t version);
    // Heartbeats so far; waits until there are `least`.
    bool wait_heartbeats(std::size_t least);

  private:
    using Stream = grpc::ServerReaderWriter<api::ControlMessage, api::AgentMessage>;
    grpc::Status Connect(grpc::ServerContext* context, Stream* stream) override;
    void take(const api::AgentMessage& message);

    struct Talk {
        std::deque<api::ControlMessage> queue;
        std::deque<api::Hello> hellos;
        std::deque<api::Ack> acks;
        std::size_t heartbeats = 0;
        bool over = false;  // the agent has ended the open stream
        bool hang_up = false;
        bool stopping = false;
    };
    Monitor<Talk> talk_;
    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
};

}  // namespace culvert::agent
