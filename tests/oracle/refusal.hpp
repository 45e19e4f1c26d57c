// SPDX-License-Identifier: Apache-2.0
// What a workload hears when its packet is refused.
#pragma once

#include "tests/oracle/oracle.hpp"

namespace culvert::oracle {

// A frame's Ethernet header as a workload gets it.
packet::Packet towards(std::uint32_t nic);

// The fate of a packet of `nic` that is refused for `reason`; `mtu`: bytes of the backbone's
// packets.
Fate refused(std::uint32_t nic, const Frame& frame, const std::string& reason, std::uint32_t mtu);
// The answer to an echo.
Fate ponged(std::uint32_t nic, const Frame& frame);

}  // namespace culvert::oracle
