// SPDX-License-Identifier: Apache-2.0
// What the rules of several resources share.
#pragma once

#include "rules/rules.hpp"

#include <fmt/format.h>

#include <set>
#include <string>
#include <string_view>

namespace culvert::rules {

// Collects errors, at most limits::kErrorsPerBody.
class Findings {
  public:
    // The message becomes "field: what".
    void add(std::string_view arm_code, std::string_view field, std::string_view what,
             Code code = Code::kInvalidArgument);
    Errors take() { return std::move(errors_); }

  private:
    Errors errors_;
};

// The two codes for what has none of its own (arm-contract 12).
inline constexpr std::string_view kContent = "InvalidRequestContent";
inline constexpr std::string_view kReference = "InvalidResourceReference";
// A property that is fixed once the resource exists.
inline constexpr std::string_view kImmutable = "PropertyChangeNotAllowed";

// Letters, digits, '-', '_', '.'; first a letter or digit, last a letter, digit or '_'
// (Azure naming rules, Microsoft.Network).
void check_name(Findings& findings, std::string_view field, std::string_view name,
                std::size_t max_chars);
// Names of a list's elements: each good, and no two the same.
class NameSet {
  public:
    NameSet(Findings& findings, std::string_view list) : findings_(findings), list_(list) {}
    void add(std::string_view name);  // the next element's

  private:
    Findings& findings_;
    std::string list_;
    std::size_t index_ = 0;
    std::set<std::string> seen_;
};
// The id is there and of `type`.
void check_type(Findings& findings, std::string_view field, const model::ResourceId& id,
                std::string_view type);
// The same, and of the subscription of `self`: what is joined lives in one subscription.
void check_local(Findings& findings, std::string_view field, const model::ResourceId& id,
                 std::string_view type, const model::ResourceId& self);
// Not changed by a PUT.
void check_location_kept(Findings& findings, const model::Resource& next,
                         const model::Resource* previous);

// The network and subnet a subnet id names, with errors when they do not exist.
struct Place {
    const model::VirtualNetwork* network = nullptr;
    const model::Subnet* subnet = nullptr;
};
Place find_place(const Facts& facts, const model::ResourceId& subnet);
Place require_place(Findings& findings, const Facts& facts, std::string_view field,
                    const model::ResourceId& subnet);
// A subnet that is there has an IPv6 prefix.
void check_six_prefix(Findings& findings, const Facts& facts, std::string_view field,
                      const model::ResourceId& subnet);
// Whether a frontend has IPv6.
bool speaks_six(const model::LoadBalancer& balancer);
// "IPv6" or "IPv4"
std::string_view version_name(bool six);
// A resource lives in the region of its network.
void check_region(Findings& findings, const model::Resource& value,
                  const model::VirtualNetwork& network);
// Every slot that has an address: in its subnet, not reserved, free or its own.
void check_addresses(Findings& findings, const model::ResourceId& self,
                     const std::vector<AddressSlot>& slots, const Facts& facts);

const model::Frontend* find_frontend(const model::LoadBalancer& balancer, std::string_view name);
const model::BackendPool* find_pool(const model::LoadBalancer& balancer, std::string_view name);
const model::InboundNatRule* find_nat_rule(const model::LoadBalancer& balancer,
                                           std::string_view name);
// `id` must name a child of this load balancer that its own body has.
void check_own(Findings& findings, const std::string& field, const model::LoadBalancer& value,
               const model::ResourceId& id, std::string_view type, bool known);
// idleTimeoutInMinutes of a rule at `base`.
void check_idle(Findings& findings, const std::string& base, std::uint32_t minutes);
void check_nat_rules(Findings& findings, const model::LoadBalancer& value);
// Of an interface's reference to a rule.
std::string nat_rule_field(std::size_t configuration, std::size_t at);
// "a, b, c and 4 more"
std::string some_of(const std::vector<model::ResourceId>& ids);
// `ids` without `self`
std::vector<model::ResourceId> others_than(const std::vector<model::ResourceId>& ids,
                                           const model::ResourceId& self);

}  // namespace culvert::rules
