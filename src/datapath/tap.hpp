// SPDX-License-Identifier: Apache-2.0
// Persistent TAP interfaces: what a virtual machine's emulator opens by name.
#pragma once

#include "base/result.hpp"
#include "datapath/netlink.hpp"
#include "net/address.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace culvert::datapath {

struct TapRequest {
    std::string name;   // at most 15 characters, without '%'
    std::string alias;  // says whose it is
    net::Mac mac;       // of the host's end
    std::uint32_t mtu = 0;
    std::optional<std::uint32_t> user{};  // id of who may open it; none: root alone
};

// In the calling thread's namespace, which is that of `netlink`. One queue, frames with the header
// of virtio, so that checksums and segmentation may be left to either side. It is down and
// complete, or absent. Errors: kConflict when the name is taken, kUnavailable without /dev/net/tun.
Status make_tap(Netlink& netlink, const TapRequest& wish);

}  // namespace culvert::datapath
