// SPDX-License-Identifier: Apache-2.0
// Private endpoints. One transaction makes the endpoint, its interface, its address, the connection
// below the service and the link's number.
#include "control/document_handlers.hpp"
#include "control/nat_sharing.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

#include <memory>

namespace culvert::control {
namespace {

using model::ConnectionState;
using model::ConnectionStatus;
using model::LinkRequest;
using model::NetworkInterface;
using model::PrivateEndpoint;
using model::PrivateEndpointConnection;
using model::PrivateLinkService;
namespace types = model::types;

constexpr std::string_view kRead = "Microsoft.Network/privateLinkServices/read";
constexpr std::string_view kApprove =
    "Microsoft.Network/privateLinkServices/privateEndpointConnectionsApproval/action";

// The service a request means, or an empty id when there is none of that id or alias.
Result<model::ResourceId> service_id(Services& services, const std::string& target) {
    if (!rules::is_alias(target)) {
        auto id = model::ResourceId::parse(target);
        return id && id->is_type(types::kPrivateLinkService) ? model::canonical(std::move(*id))
                                                             : model::ResourceId();
    }
    auto row = services.store.get(keys::alias(model::lower(target)));
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    return *row ? model::ResourceId::parse((*row)->value) : model::ResourceId();
}

struct Target {
    std::optional<Stored<PrivateLinkService>> service;
    ConnectionState state;  // that the connection starts in
    rules::Facts facts;
};

// Finds the target and decides what the caller may do with it. The change requires that the service
// stays as it is.
Result<Target> resolve(Services& services, const Caller& caller, const PrivateEndpoint& endpoint,
                       Change& change) {
    const LinkRequest& request = endpoint.requests.front();
    auto id = service_id(services, request.target);
    if (!id) {
        return std::unexpected(std::move(id.error()));
    }
    Target target;
    rules::TargetFacts facts;
    facts.consumer_subscription = endpoint.id.subscription;
    if (!id->empty()) {
        auto service = load<PrivateLinkService>(services.store, *id);
        auto may_read = services.authorize(caller, kRead, *id);
        auto may_approve = services.authorize(caller, kApprove, *id);
        if (!service || !may_read || !may_approve) {
            return std::unexpected(!service    ? service.error()
                                   : !may_read ? may_read.error()
                                               : may_approve.error());
        }
        target.service = std::move(*service);
        facts.caller_may_read = *may_read;
        facts.caller_may_approve = *may_approve;
    }
    facts.service = target.service ? &target.service->value : nullptr;
    auto state = rules::initial_state(request, facts);
    if (!state) {
        return std::unexpected(std::move(state.error()));
    }
    target.state = std::move(*state);
    change.require(still(target.service->value.id, target.service));
    return target;
}

// The endpoint's own, read-only interface.
NetworkInterface interface_of(const PrivateEndpoint& endpoint, Random& random) {
    NetworkInterface nic;
    nic.id = endpoint.nic;
    nic.location = endpoint.location;
    nic.resource_guid = random.uuid();
    nic.private_endpoint = endpoint.id;
    const bool fixed = !endpoint.ip_configurations.empty();
    nic.ip_configurations.push_back(model::NicIpConfiguration{
        .name = fixed ? endpoint.ip_configurations.front().name
                      : fmt::format("privateEndpointIpConfig.{}", random.uuid()),
        .subnet = endpoint.subnet,
        .allocation = fixed ? model::Allocation::kStatic : model::Allocation::kDynamic,
        .address = endpoint.address,
        .primary = true,
        .pools = {}});
    if (endpoint.six) {
        nic.six = model::SixConfiguration{
            .name = fmt::format("privateEndpointIpConfig.{}", random.uuid()),
            .subnet = endpoint.subnet,
            .address = *endpoint.six,
            .pools = {}};
    }
    return nic;
}

Outcome<void> add_interface(Services& services, PrivateEndpoint& next, Change& change) {
    next.nic = next.id.group();
    next.nic.provider = "Microsoft.Network";
    next.nic.segments.emplace_back(
        "networkInterfaces", next.custom_nic_name.empty()
                                 ? fmt::format("{}.nic.{}", next.id.name(), services.random.uuid())
                                 : next.custom_nic_name);
    const std::string key = keys::resource(next.nic.key());
    auto taken = services.store.get(key);
    if (!taken) {
        return refuse(std::move(taken.error()));
    }
    if (*taken) {
        return refuse(Error{Code::kConflict,
                            fmt::format("a network interface named '{}' exists already: choose "
                                        "another customNetworkInterfaceName",
                                        next.custom_nic_name),
                            "properties.customNetworkInterfaceName",
                            "ResourceNameInUse",
                            {}});
    }
    const NetworkInterface nic = interface_of(next, services.random);
    const Bindings now = bindings(nic);
    rebind(change, nullptr, &now);
    change.require(store::absent(key));
    change.put(key, wire::encode(nic));
    return {};
}

Outcome<void> add_connection(Services& services, const Target& target, PrivateEndpoint& next,
                             Change& change) {
    PrivateEndpointConnection connection;
    connection.id = target.service->value.id.child(
        "privateEndpointConnections", fmt::format("{}.{}", next.id.name(), services.random.uuid()));
    auto number = take_number(services, change, Kind::kLink, connection.id.key());
    if (!number) {
        return refuse(std::move(number.error()));
    }
    const bool approved = target.state.status == ConnectionStatus::kApproved;
    connection.private_endpoint = next.id;
    connection.endpoint_location = next.location;
    connection.request_message = next.requests.front().request_message;
    connection.state = target.state;
    connection.link_id = number->number;
    // every entry into Approved is a generation of its own, also across re-use of the number
    connection.link_generation = approved ? number->generation : number->generation - 1;
    const PrivateLinkService& service = target.service->value;
    if (approved && service.nat_per_connection.value_or(false)) {
        if (auto shared = share_nat(services, service, &connection, change); !shared) {
            return shared;
        }
    }
    const std::string key = keys::resource(connection.id.key());
    change.require(store::absent(key));
    change.put(key, wire::encode(connection));
    next.connection = connection.id;
    return {};
}

// A changed request message reaches the owner as long as the connection exists.
Outcome<void> carry_message(Services& services, const PrivateEndpoint& next, Change& change) {
    auto found = load<PrivateEndpointConnection>(services.store, next.connection);
    if (!found) {
        return refuse(std::move(found.error()));
    }
    if (!*found) {
        return {};
    }
    PrivateEndpointConnection connection = (*found)->value;
    connection.request_message = next.requests.front().request_message;
    if (!(connection == (*found)->value)) {
        const std::string key = keys::resource(connection.id.key());
        change.require(store::unchanged(key, (*found)->revision));
        change.put(key, wire::encode(connection));
    }
    return {};
}

PutSteps<PrivateEndpoint> endpoint_steps(Services& services, const Call& call) {
    PutSteps<PrivateEndpoint> steps;
    const auto target = std::make_shared<Target>();
    steps.admit = [&services, &caller = call.caller, target](
                      const PrivateEndpoint& next,
                      const std::optional<Stored<PrivateEndpoint>>& previous, rules::Facts facts,
                      Change& change) -> Outcome<void> {
        rules::EndpointFacts all;
        all.facts = std::move(facts);
        if (!previous) {
            auto found = resolve(services, caller, next, change);
            if (!found) {
                return refuse(std::move(found.error()));
            }
            *target = std::move(*found);
            target->facts = all.facts;
            auto in_network =
                count_below(services.store, keys::refs_to(next.subnet.parent().key()));
            auto of_service =
                count_below(services.store, connections_prefix(target->service->value.id));
            if (!in_network || !of_service) {
                return refuse(std::move(!in_network ? in_network.error() : of_service.error()));
            }
            all.endpoints_in_network = *in_network;
            all.connections_of_service = *of_service;
        }
        return accepted(rules::admit_put(next, previous ? &previous->value : nullptr, all));
    };
    steps.complete = [&services, target](PrivateEndpoint& next,
                                         const std::optional<Stored<PrivateEndpoint>>& previous,
                                         Change& change) -> Outcome<void> {
        if (previous) {
            return carry_message(services, next, change);
        }
        rules::set_six(next, target->facts);
        if (auto added = add_interface(services, next, change); !added) {
            return added;
        }
        return add_connection(services, *target, next, change);
    };
    return steps;
}

}  // namespace

// The connection goes with the endpoint: its owner sees it vanish.
Outcome<Removed> remove_endpoint(Services& services, const http::Request* request,
                                 const model::ResourceId& id) {
    return remove_document<PrivateEndpoint>(
        services, request, id,
        [&](const Stored<PrivateEndpoint>& stored, Change& change) -> Outcome<void> {
            const PrivateEndpoint& endpoint = stored.value;
            auto nic = load<NetworkInterface>(services.store, endpoint.nic);
            auto connection = load<PrivateEndpointConnection>(services.store, endpoint.connection);
            if (!nic || !connection) {
                return refuse(std::move(!nic ? nic.error() : connection.error()));
            }
            change.require(still(endpoint.nic, *nic));
            if (*nic) {
                const Bindings before = bindings((*nic)->value);
                rebind(change, &before, nullptr);
                change.erase(keys::resource(endpoint.nic.key()));
            }
            change.require(still(endpoint.connection, *connection));
            if (*connection) {
                const PrivateEndpointConnection& link = (*connection)->value;
                change.erase(keys::resource(link.id.key()));
                release_number(change, Kind::kLink, link.link_id, link.link_generation,
                               link.id.key());
            }
            return {};
        });
}

void add_endpoint_handlers(Registry& registry, Services& services) {
    add_document_handlers<PrivateEndpoint>(registry, services, types::kPrivateEndpoint,
                                           endpoint_steps, remove_endpoint);
}

}  // namespace culvert::control
