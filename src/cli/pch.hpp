// SPDX-License-Identifier: Apache-2.0
// Precompiled: what nearly every file of this module includes.
#pragma once

#include <fmt/format.h>
#include <boost/json.hpp>

#include <filesystem>
#include <string>
#include <vector>
