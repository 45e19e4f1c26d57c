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
#include <optional>
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
        std::optional<net::Ipv6> six{};
        SteadyTime looked{};  // when it was last looked at; as it was made: not yet
        std::size_t connections = 0;
    };

    // `longest`: how long connections may go on. The file is for a later life of the agent.
    NatDrain(std::filesystem::path file, std::chrono::seconds longest, datapath::Maps& maps,
             datapath::Transfer& transfer)
        : file_(std::move(file)), longest_(longest), maps_(maps), transfer_(transfer) {}

    // What the last life left, before the maps are cleaned. A machine that has booted since has no
    // connections. Without the file the kernel tells: what it has and the intent has not.
    void recall(const State& state);
    // Takes the change over if it gives a NAT address up while connections may use it. What is over
    // its service's or this node's limit makes room: the connections of who drains for longest end.
    // The connections of an address that is somebody else's now end before that is true.
    Result<bool> takes(const Change& change, const State& state);
    // Ends the connections of every address: the control plane's state is another one, in which
    // nobody may know that they are used.
    Status end_all(const State& state);
    // Whether an address has not been looked at yet.
    bool fresh() const;
    // The maps were made or cleaned by what the intent says alone.
    Status stand();
    // Looks at some, those first that never were: forgets what is not used any more, ends
    // connections that carry nothing more, and all of an address that drains for too long: those
    // that carried something are returned. Returns soon, also with a large table: the next call
    // goes on.
    Result<std::vector<Connection>> look(const State& state, SteadyTime now);

    bool empty() const { return uses_.empty(); }
    const std::map<NatAddress, Use>& uses() const { return uses_; }

  private:
    struct Look {
        std::size_t left = 0;           // connections that go on
        std::vector<Connection> ended;  // that carried something
    };
    Status keep() const;
    Status ask_kernel(const State& state);
    Status forget(NatAddress which);
    static void tell(const NatAddress& which, const Look& seen);
    Status end(NatAddress which, const State& state);
    Status make_room(std::uint32_t service, const State& state);
    Result<Look> look_at(const NatAddress& which, const State& state, bool over);

    const std::filesystem::path file_;
    const std::chrono::seconds longest_;
    datapath::Maps& maps_;
    datapath::Transfer& transfer_;
    std::map<NatAddress, Use> uses_;
};

}  // namespace culvert::agent
