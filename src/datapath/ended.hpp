// SPDX-License-Identifier: Apache-2.0
// Connections that were idle for too long and whose rule asks that both ends be reset: the sweep
// tells of them (bpf/sweep.h); and frames of the agent's own into workloads (bpf/send.h).
// Thread safety: take() on one thread, send() from any.
#pragma once

#include "datapath/transfer.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace culvert::datapath {

struct EndedFlow {
    std::chrono::nanoseconds when{0};  // of CLOCK_MONOTONIC
    FlowCopy copy{};                   // of the primary entry as it was; nothing of the other one
};

class Ended {
  public:
    // Errors: kInternal when the programs lack a part.
    static Result<std::unique_ptr<Ended>> open(const Datapath& datapath);
    virtual ~Ended() = default;

    // Those that have ended since the last call; waits for one for so long at most.
    virtual Result<std::vector<EndedFlow>> take(std::chrono::milliseconds wait) = 0;
};

// Sends a frame out of an interface of this machine, whole headers and all.
Status send_frame(const Datapath& datapath, std::uint32_t ifindex,
                  std::span<const std::uint8_t> frame);

}  // namespace culvert::datapath
