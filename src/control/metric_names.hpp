// SPDX-License-Identifier: Apache-2.0
// The metrics of the API, by Azure's names. What cannot be measured is not among them.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace culvert::control {

inline constexpr std::string_view kEndpointIn = "PEBytesIn";
inline constexpr std::string_view kEndpointOut = "PEBytesOut";
inline constexpr std::string_view kServiceIn = "PLSBytesIn";
inline constexpr std::string_view kServiceOut = "PLSBytesOut";
inline constexpr std::string_view kNatUsage = "PLSNatPortsUsage";
inline constexpr std::string_view kByteCount = "ByteCount";
inline constexpr std::string_view kPacketCount = "PacketCount";

struct MetricName {
    std::string_view type;  // of the resource
    std::string_view name;
    std::string_view shown;
    std::string_view about;
    std::string_view unit;
    std::string_view dimension;  // empty: it has none
    bool gauge = false;          // averages, not totals
};

// Those of a resource type; empty: it has none.
std::span<const MetricName> metrics_of(std::string_view type);

}  // namespace culvert::control
