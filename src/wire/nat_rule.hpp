// SPDX-License-Identifier: Apache-2.0
// inboundNatRules of a load balancer (arm-contract 5.8, 11).
#pragma once

#include "wire/reader.hpp"

#include <boost/json.hpp>

#include <string_view>
#include <vector>

namespace culvert::wire {

// Everything but the name.
void read_nat_rule(const Reader& element, model::InboundNatRule& rule);
void read_nat_rules(const Reader& properties, model::LoadBalancer& balancer);
boost::json::array show_nat_rules(const model::LoadBalancer& value, std::string_view etag);
// Documents of earlier versions have the array as it came in a body, with no effect: the rules in
// it that can be read.
std::vector<model::InboundNatRule> nat_rules_kept(std::string_view array);

}  // namespace culvert::wire
