// SPDX-License-Identifier: Apache-2.0
// What went through links and to backends, as the kernel counts it (bpf/totals.h). It goes on
// across agents and, where they understand each other's, across layouts.
// Thread safety: fold() on one thread at a time; the rest from any.
#pragma once

#include "abi/totals.h"
#include "base/random.hpp"
#include "base/result.hpp"
#include "datapath/loader.hpp"
#include "net/address.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace culvert::datapath {

struct TotalsEntry {
    std::uint32_t link = 0;  // 0: a NIC
    std::uint32_t nic = 0;
    cv_totals totals{};
};

// Ports of a NAT address that connections to a backend here have.
struct NatUse {
    std::uint32_t backend = 0;  // NIC index
    net::Ipv4 address{};
    std::uint8_t protocol = 0;
    std::uint32_t ports = 0;
};

class Totals {
  public:
    // Errors: kInternal when the programs lack a part.
    static Result<std::unique_ptr<Totals>> open(const Datapath& datapath, Random& random);
    virtual ~Totals() = default;

    // Names the life of these totals: they only grow while it stays the same. Never 0.
    virtual std::uint64_t epoch() const = 0;
    // Adds what open connections have counted. Costs time by the connections of the node.
    virtual Status fold() = 0;
    virtual Result<std::vector<TotalsEntry>> read() const = 0;
    // As the last fold() found it; ascending by address and backend.
    virtual Result<std::vector<NatUse>> nat_use() const = 0;
    // Forgets totals that nobody wants any more.
    virtual Status remove(const TotalsEntry& entry) = 0;
};

}  // namespace culvert::datapath
