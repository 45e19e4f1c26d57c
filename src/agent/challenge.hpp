// SPDX-License-Identifier: Apache-2.0
// What makes the end of a connection that is no more say where it is: an acknowledgement that
// cannot be right, which it answers with its own numbers (RFC 9293 3.10.7.4). The data plane, which
// knows the connection no more, turns that answer round into the exact reset (bpf/reset.h). Pure.
#pragma once

#include "agent/connection.hpp"
#include "net/address.hpp"

#include <array>
#include <cstdint>

namespace culvert::agent {

using ChallengeFrame = std::array<std::uint8_t, 54>;  // Ethernet, IPv4 and TCP headers

// As if `from` had sent it to `to`, which is an end of a TCP connection of theirs on the NIC.
ChallengeFrame make_challenge(std::uint32_t nic, const Endpoint& from, const Endpoint& to,
                              std::uint32_t sequence);

}  // namespace culvert::agent
