// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace culvert::model {

// Whether `text` is a UUID in the form 8-4-4-4-12, hex digits of either case (RFC 9562 4).
bool is_guid(std::string_view text);

}  // namespace culvert::model
