// SPDX-License-Identifier: Apache-2.0
// The words ARM uses for our enumerations: one table each for reading, showing and storing.
#pragma once

#include "model/resources.hpp"

#include <array>
#include <string_view>
#include <utility>

namespace culvert::wire {

template <typename E, std::size_t N>
using Names = std::array<std::pair<E, std::string_view>, N>;

inline constexpr Names<model::Provisioning, 4> kProvisioningNames{
    {{model::Provisioning::kSucceeded, "Succeeded"},
     {model::Provisioning::kUpdating, "Updating"},
     {model::Provisioning::kDeleting, "Deleting"},
     {model::Provisioning::kFailed, "Failed"}}};
inline constexpr Names<model::Allocation, 2> kAllocationNames{
    {{model::Allocation::kDynamic, "Dynamic"}, {model::Allocation::kStatic, "Static"}}};
inline constexpr Names<model::EndpointPolicies, 4> kEndpointPolicyNames{
    {{model::EndpointPolicies::kDisabled, "Disabled"},
     {model::EndpointPolicies::kEnabled, "Enabled"},
     {model::EndpointPolicies::kNetworkSecurityGroupEnabled, "NetworkSecurityGroupEnabled"},
     {model::EndpointPolicies::kRouteTableEnabled, "RouteTableEnabled"}}};
// privateLinkServiceNetworkPolicies
inline constexpr Names<bool, 2> kServicePolicyNames{{{true, "Enabled"}, {false, "Disabled"}}};
inline constexpr Names<model::Protocol, 3> kProtocolNames{{{model::Protocol::kTcp, "Tcp"},
                                                           {model::Protocol::kUdp, "Udp"},
                                                           {model::Protocol::kAll, "All"}}};
// noHealthyBackendsBehavior
inline constexpr Names<bool, 2> kAllDownNames{{{false, "AllProbedDown"}, {true, "AllProbedUp"}}};
inline constexpr Names<model::Affinity, 3> kAffinityNames{
    {{model::Affinity::kDefault, "Default"},
     {model::Affinity::kSourceIp, "SourceIP"},
     {model::Affinity::kSourceIpProtocol, "SourceIPProtocol"}}};
inline constexpr Names<model::ConnectionStatus, 4> kStatusNames{
    {{model::ConnectionStatus::kPending, "Pending"},
     {model::ConnectionStatus::kApproved, "Approved"},
     {model::ConnectionStatus::kRejected, "Rejected"},
     {model::ConnectionStatus::kDisconnected, "Disconnected"}}};
// ipVersionType
inline constexpr Names<model::IpVersion, 3> kIpVersionNames{
    {{model::IpVersion::kIpv4, "IPv4"},
     {model::IpVersion::kDualStack, "DualStack"},
     {model::IpVersion::kIpv6, "IPv6"}}};
// a probe's protocol is kept as text: these are its words
inline constexpr Names<std::string_view, 3> kProbeProtocolNames{
    {{"Tcp", "Tcp"}, {"Http", "Http"}, {"Https", "Https"}}};
inline constexpr Names<std::string_view, 3> kSkuNames{
    {{"Basic", "Basic"}, {"Standard", "Standard"}, {"Gateway", "Gateway"}}};
inline constexpr Names<std::string_view, 2> kTierNames{
    {{"Regional", "Regional"}, {"Global", "Global"}}};

template <typename E, std::size_t N>
constexpr std::string_view name_of(const Names<E, N>& names, E value) {
    for (const auto& [known, name] : names) {
        if (known == value) {
            return name;
        }
    }
    return names[0].second;
}

}  // namespace culvert::wire
