// SPDX-License-Identifier: Apache-2.0
// Request paths as segments.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace culvert::control {

// The segments of a path, without empty ones: doubled and trailing slashes say nothing
// (arm-contract 5.2).
std::vector<std::string> path_segments(std::string_view path);

}  // namespace culvert::control
