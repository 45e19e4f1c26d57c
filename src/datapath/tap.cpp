// SPDX-License-Identifier: Apache-2.0
#include "datapath/tap.hpp"

#include "runtime/fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace culvert::datapath {
namespace {

constexpr const char* kDevice = "/dev/net/tun";

}  // namespace

Status make_tap(Netlink& netlink, const TapRequest& wish) {
    const auto doing = fmt::format("make TAP interface {}", wish.name);
    const runtime::Fd tap(::open(kDevice, O_RDWR | O_CLOEXEC));
    if (!tap) {
        const int why = errno;
        if (why == ENOENT || why == ENODEV || why == ENXIO) {
            return fail(
                Code::kUnavailable,
                fmt::format("{}: the kernel has no {}; load the module tun", doing, kDevice));
        }
        return std::unexpected(error_from_errno(why, fmt::format("{}: open {}", doing, kDevice)));
    }
    ifreq request{};
    wish.name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
    if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) {
        const int why = errno;
        if (why == EBUSY || why == EEXIST || why == EINVAL) {
            return fail(Code::kConflict,
                        fmt::format("{}: an interface of that name is there already", doing));
        }
        return std::unexpected(error_from_errno(why, doing));
    }
    // until it is persistent it goes with the descriptor: nothing half made is ever left
    const auto made = netlink.link(wish.name);
    if (!made) {
        return std::unexpected(prefixed(made.error(), doing));
    }
    CULVERT_TRY_STATUS(netlink.describe(made->ifindex, wish.alias, wish.mac, wish.mtu));
    if (wish.user && ::ioctl(tap.get(), TUNSETOWNER, *wish.user) != 0) {
        return std::unexpected(error_from_errno(errno, fmt::format("{}: owner", doing)));
    }
    if (::ioctl(tap.get(), TUNSETPERSIST, 1) != 0) {
        return std::unexpected(error_from_errno(errno, fmt::format("{}: keep it", doing)));
    }
    return {};
}

}  // namespace culvert::datapath
