// SPDX-License-Identifier: Apache-2.0
// The agent's end of culvert.api.Intent: one mTLS stream, opened again for ever (50 ms to 2 s
// between attempts). A delta is acknowledged when the kernel has it; one that breaks a rule is
// answered with an error, and the stream begins anew from a snapshot. With a renewed certificate a
// new connection is made first, and only when it stands does the stream move over to it.
// Thread safety: internally synchronized; its own threads.
#pragma once

#include "agent/meter.hpp"
#include "agent/node.hpp"
#include "agent/renewal.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace culvert::agent {

struct StreamStatus {
    bool connected = false;      // the control plane has answered on this stream
    std::uint64_t connects = 0;  // streams that were
    std::uint64_t refused = 0;   // messages that were no valid delta
    std::string last_error;      // of the last stream that ended; empty: none yet
};

class Stream {
  public:
    // Starts at once. The other parts outlive it. The destructor ends the stream and waits.
    static std::unique_ptr<Stream> start(Node& node, Renewal& renewal, Meter& meter,
                                         std::string build);
    virtual ~Stream() = default;
    virtual StreamStatus status() const = 0;
};

}  // namespace culvert::agent
