// SPDX-License-Identifier: Apache-2.0
// Flow entries out of the kernel and into it, by the NIC that they concern: what the move of a NIC
// to another node needs, and the end of connections before their time (bpf/migrate.h).
// Thread safety: strand-bound; packets may use the entries meanwhile.
#pragma once

#include "abi/maps.h"
#include "base/result.hpp"
#include "datapath/loader.hpp"
#include "net/address.hpp"

#include <chrono>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <vector>

namespace culvert::datapath {

struct Volume {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    bool operator==(const Volume&) const = default;
};

// A primary entry, with what its other entry says.
struct FlowCopy {
    cv_flow_key key{};
    cv_flow flow{};
    bool paired = false;  // the other entry was there
    std::uint64_t other_last_seen_ns = 0;
    Volume other{};
    std::uint32_t other_flags = 0;
};

struct FlowEntry {
    cv_flow_key key{};
    cv_flow flow{};    // the slot is the kernel's business
    Volume answers{};  // of a primary entry, wherever they are counted
};

// Puts replace what is there, in one step for a packet that comes meanwhile; then the removals.
struct FlowWrites {
    std::vector<FlowEntry> put{};
    std::vector<cv_flow_key> remove{};
};

// How far a walk over all connections has come.
struct FlowWalk {
    std::uint32_t hand = 0;
    bool other = false;  // in those of the other layout
    bool over = false;
};

class Transfer {
  public:
    // Errors: kInternal when the programs lack a part.
    static Result<std::unique_ptr<Transfer>> open(const Datapath& datapath);
    virtual ~Transfer() = default;

    // Every connection that the NIC is an end of. Costs time by the connections of the node.
    virtual Result<std::vector<FlowCopy>> copy(std::uint32_t nic) = 0;
    // The connections of these NICs in the next piece of the walk, and perhaps some of others. A
    // piece takes a millisecond or less.
    virtual Result<std::vector<FlowCopy>> step(FlowWalk& walk,
                                               std::span<const std::uint32_t> nics) = 0;
    // Every connection that was given the NAT address, in whichever virtual network.
    virtual Result<std::vector<FlowCopy>> copy_nat(net::Ipv4 address) = 0;
    // The entry of that key if it is a primary one. Errors: kNotFound.
    virtual Result<FlowCopy> find(const cv_flow_key& key) = 0;
    virtual bool has(const cv_flow_key& key) = 0;
    // Errors: kTooLarge when the flow table is full; what came before stands.
    virtual Status write(const FlowWrites& writes) = 0;
};

// CLOCK_MONOTONIC, as the entries' times are.
inline std::chrono::nanoseconds kernel_now() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace culvert::datapath
