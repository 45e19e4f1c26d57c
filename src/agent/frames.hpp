// SPDX-License-Identifier: Apache-2.0
// Frames of the agent's own into a workload, as if its router had sent them. Pure.
#pragma once

#include "agent/connection.hpp"
#include "net/address.hpp"
#include "net/ipv6.hpp"

#include <cstdint>
#include <vector>

namespace culvert::agent {

using Frame = std::vector<std::uint8_t>;  // Ethernet header and all

// fe80::1, which the data plane answers for on every interface
inline constexpr net::Ipv6 kSixRouter{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

// What makes the end of a connection that is no more say where it is: an acknowledgement that
// cannot be right, which it answers with its own numbers (RFC 9293 3.10.7.4). The data plane, which
// knows the connection no more, turns that answer round into the exact reset (bpf/reset.h).
// As if `from` had sent it to `to`, which is an end of a TCP connection of theirs on the NIC; the
// data plane translates it for an end that speaks IPv6 (bpf/send.h).
Frame make_challenge(std::uint32_t nic, const Endpoint& from, const Endpoint& to,
                     std::uint32_t sequence);

// The router's advertisement to all of the link (RFC 4861 4.2), as bpf/router.h answers who asks;
// `mtu`: bytes.
Frame make_advertisement(std::uint32_t mtu);

}  // namespace culvert::agent
