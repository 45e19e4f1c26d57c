// SPDX-License-Identifier: Apache-2.0
// What the running kernel has. Debian 12's own, 6.1, is older than tcx.
#pragma once

#include <sys/utsname.h>

#include <cstdio>
#include <utility>

namespace culvert::packet {

// tcx is there from 6.6 on.
inline bool kernel_has_tcx() {
    utsname name{};
    int major = 0;
    int minor = 0;
    if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) {
        return true;
    }
    return std::pair(major, minor) >= std::pair(6, 6);
}

}  // namespace culvert::packet
