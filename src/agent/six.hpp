// SPDX-License-Identifier: Apache-2.0
// IPv6 of network interfaces and endpoints by what it is called inside (abi/six.h). Pure.
#pragma once

#include "agent/state.hpp"
#include "datapath/maps.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace culvert::agent {

// `bytes`: 16 of them, as the intent has them.
net::Ipv6 six_address(const std::string& bytes);
std::optional<net::Ipv6> six_of(const api::Nic& nic);
net::Ipv4 stand_in_of_nic(std::uint32_t index);
net::Ipv4 stand_in_of_link(std::uint32_t id);
bool is_stand_in(net::Ipv4 address);
// What a stand-in is called outside, if the intent says so; `vnet`: of the workload that calls it.
std::optional<net::Ipv6> six_named(const State& state, std::uint32_t vnet, net::Ipv4 stand_in);

// What an intent says has an IPv6 address; `nics`: those here.
class SixNames {
  public:
    SixNames(const State& state, const std::map<std::uint32_t, std::string>& nics);

    // As an address of a VNet, which the stand-ins of endpoints are, too.
    bool has(std::uint32_t vnet, net::Ipv4 stand_in) const;
    // By address in its VNet, or without a VNet by its stand-in.
    bool has(const datapath::SixImage& image) const;

  private:
    std::set<net::Ipv4> stand_ins_;
    std::set<std::pair<std::uint32_t, net::Ipv4>> endpoints_;
    std::set<std::pair<std::uint32_t, net::Ipv6>> addresses_;
};

}  // namespace culvert::agent
