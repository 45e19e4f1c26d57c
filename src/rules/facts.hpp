// SPDX-License-Identifier: Apache-2.0
// What the decisions of rules.hpp see of the world: plain values that a handler prefetches. Maps
// are keyed by ResourceId::key(). What is absent does not exist.
#pragma once

#include "model/resources.hpp"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace culvert::rules {

// The documents that rules::references() names.
struct Facts {
    std::map<std::string, model::VirtualNetwork> networks;
    std::map<std::string, model::LoadBalancer> balancers;
    std::set<std::string> others;  // keys of other referenced resources that exist
    // (network's key, address) -> the resource that holds it (keys::address); needed for every
    // address_slots() entry that has an address
    std::map<std::pair<std::string, net::Ipv4>, model::ResourceId> holders;
    // of these, what was given up and may still be known to a node or used by its connections
    std::set<std::pair<std::string, net::Ipv4>> released;
};

struct TakenAddress {
    net::Ipv4 address;
    model::ResourceId holder;
};

struct NetworkFacts {
    // lower-case subnet name -> who refers to it (keys::refs_below of the network)
    std::map<std::string, std::vector<model::ResourceId>> users;
    std::vector<TakenAddress> taken;  // keys::addresses; see needs_taken_addresses()
};

struct NicFacts {
    Facts facts;
    std::string attached_to;  // node name, empty: not attached
};

struct BalancerFacts {
    Facts facts;
    // lower-case frontend or pool name -> who refers to it (keys::refs_below of the balancer)
    std::map<std::string, std::vector<model::ResourceId>> frontend_users;
    std::map<std::string, std::vector<model::ResourceId>> pool_users;
    std::map<std::string, std::vector<model::ResourceId>> nat_rule_users{};  // and the rules'
    // keys of the pool_users that are configurations of IPv6, of pools_to_know() alone
    std::set<std::string> six_members{};
};

struct ServiceFacts {
    Facts facts;
    // frontend's key -> services that refer to it (itself may be among them)
    std::map<std::string, std::vector<model::ResourceId>> frontend_users;
    // services that refer to any frontend of the balancer (itself may be among them)
    std::vector<model::ResourceId> services_of_balancer;
    std::size_t connections = 0;  // for DELETE
};

struct EndpointFacts {
    Facts facts;
    // of a new endpoint; without itself
    std::size_t endpoints_in_network = 0;
    std::size_t connections_of_service = 0;
};

// The target of an endpoint as found by id or alias, and what the caller may do with it.
struct TargetFacts {
    const model::PrivateLinkService* service = nullptr;  // nullptr: not found
    std::string consumer_subscription;
    bool caller_may_read = false;     // Microsoft.Network/privateLinkServices/read
    bool caller_may_approve = false;  // .../privateEndpointConnectionsApproval/action
};

}  // namespace culvert::rules
