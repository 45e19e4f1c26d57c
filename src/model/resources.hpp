// SPDX-License-Identifier: Apache-2.0
// What every tracked resource has, and the includes of all of them.
#pragma once

#include "model/balancer.hpp"
#include "model/parts.hpp"
#include "model/resource_id.hpp"
#include "model/six.hpp"
#include "net/address.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace culvert::model {

enum class Provisioning { kSucceeded, kUpdating, kDeleting, kFailed };

// Server-owned fields are marked "R": a PUT keeps them (arm-contract 5.6).
struct Resource {
    ResourceId id;
    std::string location;
    std::map<std::string, std::string> tags;
    Provisioning provisioning = Provisioning::kSucceeded;  // R
    std::string resource_guid;                             // R, made on creation, never re-used

    bool operator==(const Resource&) const = default;
};

struct ResourceGroup : Resource {
    bool operator==(const ResourceGroup&) const = default;
};

// "Enabled", "Disabled", "NetworkSecurityGroupEnabled", "RouteTableEnabled"
enum class EndpointPolicies {
    kDisabled,
    kEnabled,
    kNetworkSecurityGroupEnabled,
    kRouteTableEnabled
};

struct Subnet {
    std::string name;
    std::vector<net::Ipv4Prefix> prefixes;   // first is addressPrefix
    std::vector<net::Ipv6Prefix> prefixes6;  // at most one, a /64
    bool prefixes_as_list = false;           // the caller used addressPrefixes
    EndpointPolicies endpoint_policies = EndpointPolicies::kDisabled;
    bool service_policies = true;  // privateLinkServiceNetworkPolicies Enabled
    // stored and shown, without effect yet: compact JSON objects or arrays, "" when absent
    std::string service_endpoints_json;
    std::string delegations_json;

    bool operator==(const Subnet&) const = default;
};

struct VirtualNetwork : Resource {
    std::vector<net::Ipv4Prefix> prefixes;
    std::vector<net::Ipv6Prefix> prefixes6;
    std::vector<Subnet> subnets;
    std::vector<std::string> dns_servers;
    std::uint32_t vnet_index = 0;  // R: VNet id on the wire, 23 bits

    bool operator==(const VirtualNetwork&) const = default;
};

struct NetworkInterface : Resource {
    std::vector<NicIpConfiguration> ip_configurations;
    std::optional<SixConfiguration> six;
    bool ip_forwarding = false;
    std::uint32_t nic_index = 0;       // R
    std::uint32_t nic_generation = 0;  // R
    ResourceId private_endpoint;       // R: set on an endpoint's own, read-only NIC
    ResourceId private_link_service;   // R: set on a service's own, read-only NIC

    bool operator==(const NetworkInterface&) const = default;
};

struct LoadBalancer : Resource {
    std::string sku = "Basic";  // Basic | Standard | Gateway
    std::string tier = "Regional";
    std::vector<Frontend> frontends;
    std::vector<BackendPool> pools;
    std::vector<LbRule> rules;
    std::vector<Probe> probes;
    std::vector<InboundNatRule> nat_rules;
    // stored and shown, no effect yet, compact JSON arrays ("" when absent)
    std::string outbound_rules_json;
    std::string inbound_nat_pools_json;

    bool operator==(const LoadBalancer&) const = default;
};

// The configuration of the interface by which a rule of the balancer leads to it: the one that
// names the rule or is in its pool. Null: there is none.
const NicIpConfiguration* target_of(const LoadBalancer& balancer, const InboundNatRule& rule,
                                    const NetworkInterface& nic);

struct PrivateLinkService : Resource {
    std::vector<ResourceId> frontends;
    std::vector<NatConfiguration> nat;
    std::vector<std::string> visibility;     // subscription ids or "*"
    std::vector<std::string> auto_approval;  // subscription ids or "*"
    std::vector<std::string> fqdns;
    bool proxy_protocol = false;
    // each approved connection has a NAT address of its own; a body that says nothing leaves it
    std::optional<bool> nat_per_connection;
    std::string alias;                // R, immutable
    std::uint32_t service_index = 0;  // R
    ResourceId nic;                   // R

    bool operator==(const PrivateLinkService&) const = default;
};

enum class ConnectionStatus { kPending, kApproved, kRejected, kDisconnected };

struct ConnectionState {
    ConnectionStatus status = ConnectionStatus::kPending;
    std::string description;
    std::string actions_required;

    bool operator==(const ConnectionState&) const = default;
};

// The provider's view of one endpoint: child of the service, document of its own. Name:
// {endpoint}.{guid}.
struct PrivateEndpointConnection {
    ResourceId id;
    ResourceId private_endpoint;
    std::string endpoint_location;
    std::string request_message;
    ConnectionState state;
    std::uint32_t link_id = 0;          // linkIdentifier, 23 bits
    std::uint32_t link_generation = 0;  // grows with every approval
    std::optional<net::Ipv4> nat;       // R: of the service's NAT addresses its own, if it has one
    std::optional<net::Ipv6> nat_six;   // R: the same as backends of IPv6 see it
    Provisioning provisioning = Provisioning::kSucceeded;

    bool operator==(const PrivateEndpointConnection&) const = default;
};

// One entry of privateLinkServiceConnections or manualPrivateLinkServiceConnections.
struct LinkRequest {
    std::string name;
    std::string target;  // resource id, or an alias (manual only)
    std::vector<std::string> group_ids;
    std::string request_message;
    bool manual = false;

    bool operator==(const LinkRequest&) const = default;
};

struct EndpointIpConfiguration {
    std::string name;
    std::string group_id;
    std::string member_name;
    net::Ipv4 address;

    bool operator==(const EndpointIpConfiguration&) const = default;
};

struct PrivateEndpoint : Resource {
    ResourceId subnet;
    std::vector<LinkRequest> requests;  // exactly one once admitted
    std::vector<EndpointIpConfiguration> ip_configurations;
    std::vector<ResourceId> security_groups;  // applicationSecurityGroups
    std::string custom_nic_name;
    ResourceId nic;                             // R
    IpVersion ip_version = IpVersion::kUnsaid;  // ipVersionType
    net::Ipv4 address;                          // R
    std::optional<net::Ipv6> six;               // R: unless it is IPv4 alone
    // R: the connection's document; when it is gone the endpoint is Disconnected
    ResourceId connection;
    std::string disconnected_description;  // R

    bool operator==(const PrivateEndpoint&) const = default;
};

}  // namespace culvert::model
