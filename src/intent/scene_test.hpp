// SPDX-License-Identifier: Apache-2.0
// Test scenes: short makers of resources, and the agent's side of the protocol: what deltas add up
// to.
#pragma once

#include "api/intent.pb.h"
#include "intent/intent.hpp"

#include <map>
#include <string>
#include <tuple>

namespace culvert::intent::scene {

using KeyTuple = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;
using Holding = std::map<KeyTuple, std::string>;  // key -> serialized api.Object

KeyTuple key_of(const api::Object& object);
// What an agent that holds `holding` holds after `delta`. Fails the test on a delta that removes
// what was never given or what it also upserts.
void accept(Holding& holding, const api::Delta& delta);
Holding holding_of(const api::Delta& snapshot);
std::string describe(const Holding& holding);

model::ResourceId id(std::string_view type, std::string_view name);

// 10.{second}.0.0/16 with subnet "apps" 10.{second}.1.0/24 and "more" 10.{second}.2.0/24
model::VirtualNetwork vnet(std::string_view name, std::uint32_t index, std::uint8_t second = 0);
model::ResourceId subnet(std::string_view vnet, std::string_view name = "apps");
net::Ipv4 ip(std::string_view text);
model::NetworkInterface nic(std::string_view name, std::uint32_t index, std::string_view vnet,
                            std::string_view address);
model::ResourceId pool(std::string_view balancer, std::string_view name = "pool");
model::ResourceId frontend(std::string_view balancer, std::string_view name = "front");
// One frontend, one pool, one TCP rule 443 -> 8443.
model::LoadBalancer balancer(std::string_view name, std::string_view vnet, std::string_view address,
                             std::uint32_t pool_index);
model::PrivateLinkService service(std::string_view name, std::uint32_t index,
                                  std::string_view balancer, std::string_view vnet,
                                  std::string_view nat);
model::ResourceId connection_id(std::string_view service, std::string_view endpoint);
model::PrivateEndpoint endpoint(std::string_view name, std::string_view vnet,
                                std::string_view address, std::string_view service);
model::PrivateEndpointConnection connection(
    std::string_view service, std::string_view endpoint, std::uint32_t link,
    model::ConnectionStatus status = model::ConnectionStatus::kApproved);
model::Node node(std::string_view name, std::uint32_t index);
model::Attachment attachment(std::string_view nic, std::string_view node,
                             std::string_view attachment_id = "a-1");

}  // namespace culvert::intent::scene
