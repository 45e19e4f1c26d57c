// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <boost/json.hpp>

#include <string>
#include <vector>
