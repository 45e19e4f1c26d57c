// SPDX-License-Identifier: Apache-2.0
// Long-running operations (arm-contract 6). An operation waits for one store revision to be true on
// the nodes; its id is that revision in the form of a GUID, so that nothing is stored and any
// replica can answer.
#pragma once

#include "control/call.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::control {

std::string operation_id(std::int64_t revision);
std::optional<std::int64_t> operation_revision(std::string_view id);

// Azure-AsyncOperation and Retry-After, and Location for a DELETE (`with_location`).
http::Headers operation_headers(const Services& services, const Call& call, std::int64_t revision,
                                bool with_location);

// GET of Microsoft.Network/locations/operations and operationResults.
void add_operation_handlers(Registry& registry, Services& services);

}  // namespace culvert::control
