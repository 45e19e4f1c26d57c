// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/resources.hpp"

namespace culvert::model {

// Does a private link service carry the rule? As in Azure, one of a pool only while its frontend
// has a load-balancing rule, too (privatelink-semantics 1.3).
bool is_carried(const LoadBalancer& balancer, const InboundNatRule& rule);

}  // namespace culvert::model
