// SPDX-License-Identifier: Apache-2.0
#include "control/paths.hpp"

#include <algorithm>

namespace culvert::control {

std::vector<std::string> path_segments(std::string_view path) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < path.size();) {
        const auto end = std::min(path.find('/', at), path.size());
        if (end > at) {
            out.emplace_back(path.substr(at, end - at));
        }
        at = end + 1;
    }
    return out;
}

}  // namespace culvert::control
