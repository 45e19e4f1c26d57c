// SPDX-License-Identifier: Apache-2.0
// IPv6 of network interfaces and addresses by what it is called inside (abi/six.h). Pure.
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

std::optional<net::Ipv6> six_of(const api::Nic& nic);
std::optional<net::Ipv6> six_of(const api::Address& address);
net::Ipv4 stand_in_of_nic(std::uint32_t index);
net::Ipv4 stand_in_of_link(std::uint32_t id);
// Of an interface, and of an endpoint, a NAT address or a frontend; nothing: it has no IPv6.
std::optional<datapath::SixImage> six_image(const api::Nic& nic);
std::optional<datapath::SixImage> six_image(const api::Address& address);

// What an intent says has an IPv6 address; `nics`: those here.
class SixNames {
  public:
    SixNames(const State& state, const std::map<std::uint32_t, datapath::SixImage>& nics);

    // As an address of a VNet, which the stand-ins of endpoints are, too.
    bool is_endpoint(std::uint32_t vnet, net::Ipv4 stand_in) const;
    bool has(std::uint32_t vnet, net::Ipv4 name) const;
    bool has(std::uint32_t vnet, const net::Ipv6& address) const;

  private:
    std::set<std::pair<std::uint32_t, net::Ipv4>> endpoints_;
    std::set<std::pair<std::uint32_t, net::Ipv4>> names_;
    std::set<std::pair<std::uint32_t, net::Ipv6>> addresses_;
};

}  // namespace culvert::agent
