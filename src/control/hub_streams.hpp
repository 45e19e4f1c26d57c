// SPDX-License-Identifier: Apache-2.0
// The hub's gRPC server: streams of the agent protocol over mTLS, as calls without gRPC types.
// Parsing happens here, on gRPC's threads; at most one message of a stream is on its way to the
// sink, the next is read when the sink asks for it. Thread safety: internally synchronized; send,
// read and close must not be called on gRPC's threads (their completions would run inside the
// call).
#pragma once

#include "base/result.hpp"
#include "control/hub_core.hpp"

#include <memory>

namespace culvert::control {

// Called on gRPC's threads.
class StreamSink {
  public:
    virtual ~StreamSink() = default;
    virtual void opened(StreamId stream, StreamIdentity identity) = 0;
    virtual void message(StreamId stream, api::AgentMessage message) = 0;
    virtual void garbage(StreamId stream) = 0;
    virtual void writable(StreamId stream) = 0;
    virtual void closed(StreamId stream) = 0;  // of its own accord; close() it
};

class StreamServer : public Outlet {
  public:
    // Errors: kUnavailable (cannot listen there), kInvalidArgument (certificate, key or CA).
    static Result<std::unique_ptr<StreamServer>> start(const HubOptions& options, StreamSink& sink);
    virtual int port() const = 0;
    // See Hub::replace_certificate.
    virtual Status replace_certificate(const std::string& certificate_pem,
                                       const std::string& key_pem, const std::string& ca_pem) = 0;
    // Ends every stream and takes no more; returns when none of the sink's calls is running.
    virtual void stop() = 0;
};

// The common names of the certificates of a bundle (PEM), in order.
std::vector<std::string> authorities_of(const std::string& bundle_pem);

// Who a client certificate (PEM) is of: its common name, and its serial number as lower-case hex.
// Errors: kInvalidArgument.
Result<StreamIdentity> identity_of(const std::string& certificate_pem);

}  // namespace culvert::control
