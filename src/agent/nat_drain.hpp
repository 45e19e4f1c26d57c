// SPDX-License-Identifier: Apache-2.0
// NAT addresses that were taken from a service while connections to backends here use them: they
// take no new ones, those that are there go on, and until the last has ended the control plane is
// told, so that nobody else gets the address (docs/decisions/0014).
// Thread safety: strand-bound, as the transfer that it uses.
#pragma once

#include "agent/connection.hpp"
#include "agent/state.hpp"
#include "base/clock.hpp"
#include "datapath/maps.hpp"
#include "datapath/transfer.hpp"

#include <chrono>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <vector>

namespace culvert::agent {

struct NatAddress {
    std::uint32_t vnet = 0;
    net::Ipv4 address{};
    auto operator<=>(const NatAddress&) const = default;
};

class NatDrain {
  public:
    struct Use {
        std::uint32_t service = 0;  // whose it was
        SteadyTime since{};
        std::size_t connections = 0;  // when it was last looked
    };

    // `longest`: how long connections may go on. The file is for a later life of the agent.
    NatDrain(std::filesystem::path file, std::chrono::seconds longest, datapath::Maps& maps,
             datapath::Transfer& transfer)
        : file_(std::move(file)), longest_(longest), maps_(maps), transfer_(transfer) {}

    // What the last life left. A machine that has booted since has no connections.
    void recall();
    // Takes the change over if it gives a NAT address up; one that is somebody's again is
    // forgotten.
    Result<bool> takes(const Change& change);
    // Whether takes() has begun something since the last look().
    bool fresh() const { return fresh_; }
    // The maps were made or cleaned by what the intent says alone.
    Status stand();
    // Forgets what is not used any more. Ends connections that carry nothing more, and all of an
    // address that drains for too long: those are returned.
    Result<std::vector<Connection>> look(const State& state, SteadyTime now);

    bool empty() const { return uses_.empty(); }
    const std::map<NatAddress, Use>& uses() const { return uses_; }

  private:
    Status keep() const;
    Status forget(const NatAddress& which);
    Result<std::size_t> look_at(const NatAddress& which, const State& state, bool over,
                                std::vector<Connection>& ended);

    const std::filesystem::path file_;
    const std::chrono::seconds longest_;
    datapath::Maps& maps_;
    datapath::Transfer& transfer_;
    std::map<NatAddress, Use> uses_;
    bool fresh_ = false;
};

}  // namespace culvert::agent
