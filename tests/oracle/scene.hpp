// SPDX-License-Identifier: Apache-2.0
// The two nodes that are played on: three consumers of which two have one address, three backends,
// a neighbour and a stranger; one service behind three links.
#pragma once

#include "tests/oracle/oracle.hpp"

namespace culvert::oracle {

inline constexpr std::uint32_t kFirst = 1, kSecond = 2, kNeighbour = 3, kBackendA = 4,
                               kBackendB = 5, kBackendC = 6, kStranger = 7, kNicEnd = 8;
inline constexpr std::uint32_t kFirstVnet = 100, kSecondVnet = 101, kProviderVnet = 200,
                               kStrangerVnet = 300;
// The third link's consumers are the backends themselves.
inline constexpr std::uint32_t kFirstLink = 9, kSecondLink = 10, kOwnLink = 11;
inline constexpr std::uint32_t kService = 5, kPool = 6, kSmallPool = 7;

Intent scene();
std::uint32_t endpoint_of(std::uint32_t link);
std::uint32_t vnet_prefix();
// The rules of the service by number, as a step turns them off and on.
std::vector<std::pair<RuleKey, Rule>> all_rules();
std::vector<std::uint32_t> all_nat();

}  // namespace culvert::oracle
