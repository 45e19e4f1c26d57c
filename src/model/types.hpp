// SPDX-License-Identifier: Apache-2.0
// The ARM types this product has, in their canonical casing.
#pragma once

#include "model/resource_id.hpp"

#include <string_view>

namespace culvert::model::types {

inline constexpr std::string_view kResourceGroup = "Microsoft.Resources/resourceGroups";
inline constexpr std::string_view kVirtualNetwork = "Microsoft.Network/virtualNetworks";
inline constexpr std::string_view kSubnet = "Microsoft.Network/virtualNetworks/subnets";
inline constexpr std::string_view kNetworkInterface = "Microsoft.Network/networkInterfaces";
inline constexpr std::string_view kLoadBalancer = "Microsoft.Network/loadBalancers";
inline constexpr std::string_view kFrontend =
    "Microsoft.Network/loadBalancers/frontendIPConfigurations";
inline constexpr std::string_view kBackendPool =
    "Microsoft.Network/loadBalancers/backendAddressPools";
inline constexpr std::string_view kLbRule = "Microsoft.Network/loadBalancers/loadBalancingRules";
inline constexpr std::string_view kInboundNatRule =
    "Microsoft.Network/loadBalancers/inboundNatRules";
inline constexpr std::string_view kProbe = "Microsoft.Network/loadBalancers/probes";
inline constexpr std::string_view kPublicAddress = "Microsoft.Network/publicIPAddresses";
inline constexpr std::string_view kPrivateLinkService = "Microsoft.Network/privateLinkServices";
inline constexpr std::string_view kConnection =
    "Microsoft.Network/privateLinkServices/privateEndpointConnections";
inline constexpr std::string_view kPrivateEndpoint = "Microsoft.Network/privateEndpoints";

}  // namespace culvert::model::types

namespace culvert::model {

// The same id with known namespaces and types in canonical casing, names as given (arm-contract
// 5.1). What is unknown stays as given.
ResourceId canonical(ResourceId id);

// The id of the document that holds `id`: of a subnet its virtual network, of a frontend, pool,
// rule or probe its load balancer, of an IP configuration its interface, service or endpoint. A
// private endpoint connection is a document of its own.
ResourceId document_of(const ResourceId& id);

}  // namespace culvert::model
