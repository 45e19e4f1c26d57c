// SPDX-License-Identifier: Apache-2.0
// Features of network interfaces, by the names that ethtool -k shows.
#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

namespace culvert::datapath {

// Turns a feature off on an interface of the namespace in which `socket` was opened; one that the
// kernel does not know is off. Errors: kNotFound (no such interface), kPermissionDenied.
Status disable_feature(int socket, const std::string& ifname, std::string_view feature);

}  // namespace culvert::datapath
