// SPDX-License-Identifier: Apache-2.0
// A limit on everything, in one place (STYLE.md 11). Limits of the kernel side are in abi/limits.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace culvert::limits {

using namespace std::chrono_literals;

// HTTP
inline constexpr std::size_t kHttpBodyBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kHttpHeaderBytes = 32 * 1024;
inline constexpr std::size_t kHttpHeaderCount = 100;
inline constexpr std::size_t kHttpConnections = 2048;
inline constexpr auto kHttpHandshakeTimeout = 10s;
// from the first byte of a request to its last header
inline constexpr auto kHttpHeaderTimeout = 20s;
inline constexpr auto kHttpBodyTimeout = 60s;
inline constexpr auto kHttpIdleTimeout = 120s;
inline constexpr auto kHttpWriteTimeout = 30s;
// after a refusal the rest of the request is read and thrown away, so that the answer arrives
inline constexpr std::size_t kHttpLingerBytes = 8 * 1024 * 1024;
inline constexpr auto kHttpLingerTimeout = 5s;
inline constexpr std::size_t kHttpQueryFields = 200;
inline constexpr std::size_t kJsonDepth = 64;

// Store: etcd's own defaults (etcd 3.4 --max-txn-ops, --max-request-bytes)
inline constexpr std::size_t kTxnOperations = 128;
inline constexpr std::size_t kTxnBytes = 1536 * 1024;
inline constexpr std::size_t kWatchQueue = 65536;
inline constexpr std::size_t kWatchBytes = 16 * 1024 * 1024;
// what a restore can go back by, of the last revisions that changed more than the audit
inline constexpr std::size_t kHistoryRevisions = 20000;
// a disk that was full is written to again when it has this much
inline constexpr std::size_t kStoreReserveBytes = 1024 * 1024;

// Audit: how long records are kept, how many of a tenant, the longest diff in one, and records a
// second of what wrote nothing (refused sign-ins)
inline constexpr auto kAuditLife = 24h * 90;
inline constexpr std::size_t kAuditRecords = 100000;
inline constexpr std::size_t kAuditDiffBytes = 32 * 1024;
inline constexpr std::size_t kAuditNotes = 10;

// Names and ids
inline constexpr std::size_t kResourceNameChars = 80;
inline constexpr std::size_t kResourceGroupNameChars = 90;
inline constexpr std::size_t kResourceIdChars = 1024;
inline constexpr std::size_t kTagCount = 50;
inline constexpr std::size_t kRequestMessageChars = 140;
inline constexpr std::size_t kDescriptionChars = 512;
inline constexpr std::size_t kTagNameChars = 512;
inline constexpr std::size_t kTagValueChars = 256;
inline constexpr std::size_t kLocationChars = 64;

// Request bodies: errors told at once, and an array that is only kept and shown
inline constexpr std::size_t kErrorsPerBody = 32;
inline constexpr std::size_t kRawJsonBytes = 64 * 1024;

// Private link (privatelink-semantics 1.9)
inline constexpr std::size_t kNatAddressesPerService = 8;
inline constexpr std::size_t kServicesPerLoadBalancer = 8;
inline constexpr std::size_t kEndpointsPerVirtualNetwork = 1000;
inline constexpr std::size_t kEndpointsPerService = 1000;
inline constexpr std::size_t kVisibilitySubscriptions = 100;
inline constexpr std::size_t kAutoApprovalSubscriptions = 100;
inline constexpr std::size_t kSubnetsPerVirtualNetwork = 3000;
inline constexpr std::size_t kPrefixesPerVirtualNetwork = 500;
inline constexpr std::size_t kFrontendsPerLoadBalancer = 600;
inline constexpr std::size_t kRulesPerLoadBalancer = 1500;
inline constexpr std::size_t kPoolsPerLoadBalancer = 600;
inline constexpr std::size_t kProbesPerLoadBalancer = 600;
inline constexpr std::size_t kIpConfigurationsPerNic = 64;
inline constexpr std::size_t kPoolsPerIpConfiguration = 64;
inline constexpr std::size_t kPrefixesPerSubnet = 16;
inline constexpr std::size_t kDnsServersPerVirtualNetwork = 20;
inline constexpr std::size_t kFqdnsPerService = 20;
inline constexpr std::size_t kFqdnChars = 253;
inline constexpr std::size_t kSecurityGroupsPerEndpoint = 50;
inline constexpr std::size_t kProbePathChars = 2048;
// what a body may list before rules/ says what is wrong with it
inline constexpr std::size_t kListedElements = 256;

// Identity
inline constexpr auto kAccessTokenLife = 3600s;
inline constexpr auto kRefreshTokenLife = 24h;
inline constexpr auto kJoinTokenLife = 1h;
inline constexpr auto kNodeCertificateLife = 24h * 90;
inline constexpr auto kServerCertificateLife = 24h * 365;
inline constexpr auto kCertificateRenewBefore = 24h * 30;

// Agent stream
inline constexpr std::size_t kIntentMessageBytes = 64 * 1024 * 1024;  // a full snapshot
inline constexpr std::size_t kAgentMessageBytes = 64 * 1024;  // what an agent may send at once
inline constexpr auto kLease = 3s;
inline constexpr auto kAckWait = 2s;
inline constexpr std::uint32_t kNodes = 4096;
// NAT addresses that a node has been told to give up and that connections there still use
inline constexpr std::size_t kNatDrains = 1024;
// of these, of one service
inline constexpr std::size_t kNatDrainsOfService = 8;
// how long they may, unless the agent is told otherwise
inline constexpr auto kNatDrain = 3600s;

// Liveness: echoes that one node sends at most; with more peers each is asked less often
inline constexpr std::uint32_t kEchoesPerSecond = 8192;
inline constexpr auto kShortestEchoInterval = 10ms;
inline constexpr auto kLongestEchoInterval = 60s;
inline constexpr std::uint32_t kMostEchoMisses = 16;
// how long a node that was cut off waits for the control plane before it takes new connections
inline constexpr auto kFence = 30s;
// how long an agent that is away still knows which peers were lost
inline constexpr auto kVerdictAge = 60s;

// The move of a NIC to another node
inline constexpr std::size_t kTotalsPerMessage = 300;      // links, within kAgentMessageBytes
inline constexpr std::size_t kNatUsePerMessage = 1000;     // NAT addresses, the same
inline constexpr std::size_t kMovedFlowsPerMessage = 400;  // within kAgentMessageBytes
inline constexpr std::size_t kMovedFlows = 512 * 1024;     // of one NIC
inline constexpr auto kMovePreparation = 30s;  // until the target has its interface and the flows
inline constexpr auto kMoveTakeover = 5s;      // from the node letting go until the other carries
inline constexpr auto kMoveStragglers = 3s;    // how long the node it left passes packets on
// how long nodes take packets from either side, should the control plane not say when it is over
inline constexpr auto kMoveOtherNode = 60s;

}  // namespace culvert::limits
