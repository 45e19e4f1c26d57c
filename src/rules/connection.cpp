// SPDX-License-Identifier: Apache-2.0
// Consent: who sees a service, how a connection starts and how its state may change
// (privatelink-semantics 1.2, 1.3).
#include "rules/common.hpp"

#include <algorithm>

namespace culvert::rules {
namespace {

using model::ConnectionState;
using model::ConnectionStatus;

bool listed(const std::vector<std::string>& list, std::string_view subscription) {
    return std::ranges::any_of(list, [subscription](const std::string& entry) {
        return entry == "*" || model::same_name(entry, subscription);
    });
}

std::string_view word(ConnectionStatus status) {
    switch (status) {
        case ConnectionStatus::kPending: return "Pending";
        case ConnectionStatus::kApproved: return "Approved";
        case ConnectionStatus::kRejected: return "Rejected";
        case ConnectionStatus::kDisconnected: return "Disconnected";
    }
    return "unknown";
}

constexpr std::string_view kStatusField = "properties.privateLinkServiceConnectionState.status";

// Why `to` cannot follow `from`; empty when it can.
std::string refusal(ConnectionStatus from, ConnectionStatus to) {
    if (from == ConnectionStatus::kDisconnected) {
        return "the connection is Disconnected, which is final; delete it and create the private "
               "endpoint again";
    }
    if (to == ConnectionStatus::kDisconnected) {
        return "Disconnected cannot be set; delete the connection to disconnect it";
    }
    if (to == ConnectionStatus::kPending && from != ConnectionStatus::kPending) {
        return fmt::format(
            "the connection is {} and cannot become Pending again; use Approved or "
            "Rejected",
            word(from));
    }
    return {};
}

}  // namespace

bool is_alias(std::string_view target) { return !target.starts_with('/'); }

bool visible(const model::PrivateLinkService& service, std::string_view subscription, bool by_alias,
             bool caller_may_read) {
    return listed(service.visibility, subscription) || (!by_alias && caller_may_read);
}

bool auto_approved(const model::PrivateLinkService& service, std::string_view subscription) {
    return listed(service.auto_approval, subscription);
}

Result<ConnectionState> initial_state(const model::LinkRequest& request,
                                      const TargetFacts& target) {
    const std::string field = fmt::format(
        "properties.{}[0].properties.privateLinkServiceId",
        request.manual ? "manualPrivateLinkServiceConnections" : "privateLinkServiceConnections");
    // INVARIANT: missing and invisible are told apart by nothing, or anyone could probe for
    // services
    if (target.service == nullptr || !visible(*target.service, target.consumer_subscription,
                                              is_alias(request.target), target.caller_may_read)) {
        return fail(Code::kInvalidArgument,
                    fmt::format("{}: private link service '{}' does not exist or is not visible to "
                                "subscription '{}'; check it, or ask its owner to add the "
                                "subscription to the service's visibility",
                                field, request.target, target.consumer_subscription),
                    field, std::string(kReference));
    }
    if (auto_approved(*target.service, target.consumer_subscription) ||
        (!request.manual && target.caller_may_approve)) {
        return ConnectionState{ConnectionStatus::kApproved, "Auto-approved", "None"};
    }
    if (request.manual) {
        return ConnectionState{
            ConnectionStatus::kPending,
            request.request_message.empty() ? "Awaiting approval" : request.request_message,
            "None"};
    }
    return fail(Code::kPermissionDenied,
                fmt::format("{}: the caller may not perform action "
                            "'Microsoft.Network/privateLinkServices/"
                            "privateEndpointConnectionsApproval/action' on linked scope '{}', and "
                            "subscription '{}' is not on its auto-approval list; put the "
                            "connection into manualPrivateLinkServiceConnections to ask for "
                            "approval",
                            field, request.target, target.consumer_subscription),
                field, "LinkedAuthorizationFailed");
}

Result<model::PrivateEndpointConnection> update_connection(
    const model::PrivateEndpointConnection& current, const ConnectionState& asked) {
    const std::string why = refusal(current.state.status, asked.status);
    if (!why.empty()) {
        return fail(Code::kInvalidArgument, fmt::format("{}: {}", kStatusField, why),
                    std::string(kStatusField), "InvalidPrivateEndpointConnectionState");
    }
    model::PrivateEndpointConnection next = current;
    next.state = asked;
    if (next.state.actions_required.empty()) {
        next.state.actions_required = "None";
    }
    if (asked.status == ConnectionStatus::kApproved &&
        current.state.status != ConnectionStatus::kApproved) {
        next.link_generation += 1;
    }
    return next;
}

Status share_nat(const model::PrivateLinkService& service,
                 std::vector<model::PrivateEndpointConnection>& connections) {
    constexpr std::string_view kField = "properties.natAddressPerConnection";
    const bool wanted = service.nat_per_connection.value_or(false);
    std::vector<const model::NatConfiguration*> free;
    for (const auto& nat : service.nat) {
        if (wanted && nat.address) {
            free.push_back(&nat);
        }
    }
    std::vector<model::PrivateEndpointConnection*> without;
    std::size_t approved = 0;
    for (auto& connection : connections) {
        const bool counts = wanted && connection.state.status == ConnectionStatus::kApproved;
        approved += counts ? 1 : 0;
        const auto own =
            counts && connection.nat
                ? std::ranges::find(free, connection.nat, &model::NatConfiguration::address)
                : free.end();
        if (own != free.end()) {
            free.erase(own);
            continue;
        }
        connection.nat.reset();
        connection.nat_six.reset();
        if (counts) {
            without.push_back(&connection);
        }
    }
    if (without.size() > free.size()) {
        return fail(Code::kConflict,
                    fmt::format("{}: {} approved connections need a NAT address each and the "
                                "service has {}; add one to properties.ipConfigurations, reject a "
                                "connection, or set natAddressPerConnection to false",
                                kField, approved, service.nat.size()),
                    std::string(kField), "NotEnoughNatAddresses");
    }
    std::ranges::sort(without, {}, &model::PrivateEndpointConnection::link_id);
    for (std::size_t at = 0; at < without.size(); ++at) {
        without[at]->nat = free[at]->address;
        without[at]->nat_six = free[at]->six;
    }
    return {};
}

}  // namespace culvert::rules
