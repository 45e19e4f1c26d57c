// SPDX-License-Identifier: Apache-2.0
// Private link services.
#include "control/document_handlers.hpp"
#include "control/nat_sharing.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace culvert::control {
namespace {

using model::NetworkInterface;
using model::PrivateLinkService;
namespace types = model::types;

// Who else uses the frontends and their balancers; the change requires that nobody joins meanwhile.
Status add_users(Services& services, Change& change, const PrivateLinkService& next,
                 rules::ServiceFacts& facts) {
    std::set<std::string> balancers;
    for (const model::ResourceId& frontend : next.frontends) {
        const model::ResourceId balancer = model::document_of(frontend);
        if (!balancers.insert(balancer.key()).second) {
            continue;
        }
        auto referrers = referrers_below(services.store, balancer);
        if (!referrers) {
            return std::unexpected(std::move(referrers.error()));
        }
        change.require(nothing_new_below(keys::refs_below(balancer.key()), referrers->revision));
        for (Referrer& referrer : referrers->all) {
            if (!referrer.source.is_type(types::kPrivateLinkService)) {
                continue;
            }
            if (std::ranges::find(facts.services_of_balancer, referrer.source) ==
                facts.services_of_balancer.end()) {
                facts.services_of_balancer.push_back(referrer.source);
            }
            facts.frontend_users[referrer.target].push_back(std::move(referrer.source));
        }
    }
    return {};
}

// <service>.<guid>.<region>.azure.privatelinkservice (privatelink-semantics 1.3)
std::string make_alias(Services& services, const PrivateLinkService& service) {
    std::string region = model::lower(service.location);
    std::erase(region, ' ');
    return fmt::format("{}.{}.{}.azure.privatelinkservice", service.id.name(),
                       services.random.uuid(), region);
}

// The service's own, read-only interface shows its NAT addresses.
NetworkInterface interface_of(const PrivateLinkService& service, std::string guid) {
    NetworkInterface nic;
    nic.id = service.nic;
    nic.location = service.location;
    nic.resource_guid = std::move(guid);
    nic.private_link_service = service.id;
    for (const model::NatConfiguration& nat : service.nat) {
        nic.ip_configurations.push_back(model::NicIpConfiguration{.name = nat.name,
                                                                  .subnet = nat.subnet,
                                                                  .allocation = nat.allocation,
                                                                  .address = nat.address,
                                                                  .six = nat.six,
                                                                  .primary = nat.primary,
                                                                  .pools = {}});
    }
    return nic;
}

Outcome<void> create_identity(Services& services, PrivateLinkService& next, Change& change) {
    auto number = take_number(services, change, Kind::kService, next.id.key());
    if (!number) {
        return refuse(std::move(number.error()));
    }
    next.service_index = number->number;
    next.alias = make_alias(services, next);
    const std::string alias_key = keys::alias(model::lower(next.alias));
    change.require(store::absent(alias_key));
    change.put(alias_key, next.id.str());
    next.nic = next.id.group();
    next.nic.provider = "Microsoft.Network";
    next.nic.segments.emplace_back(
        "networkInterfaces", fmt::format("{}.nic.{}", next.id.name(), services.random.uuid()));
    const std::string nic_key = keys::resource(next.nic.key());
    change.require(store::absent(nic_key));
    change.put(nic_key, wire::encode(interface_of(next, services.random.uuid())));
    return {};
}

Outcome<void> update_interface(Services& services, const PrivateLinkService& next, Change& change) {
    auto nic = fetch<NetworkInterface>(services.store, next.nic);
    if (!nic) {
        return refuse(std::move(nic.error()));
    }
    std::string document = wire::encode(interface_of(next, nic->value.resource_guid));
    if (document != nic->document) {
        const std::string key = keys::resource(next.nic.key());
        change.require(store::unchanged(key, nic->revision));
        change.put(key, std::move(document));
    }
    return {};
}

PutSteps<PrivateLinkService> service_steps(Services& services, const Call&) {
    PutSteps<PrivateLinkService> steps;
    const auto seen = std::make_shared<rules::Facts>();
    steps.admit = [&services, seen](const PrivateLinkService& next,
                                    const std::optional<Stored<PrivateLinkService>>& previous,
                                    rules::Facts facts, Change& change) -> Outcome<void> {
        rules::ServiceFacts all;
        *seen = facts;
        all.facts = std::move(facts);
        if (auto users = add_users(services, change, next, all); !users) {
            return refuse(std::move(users.error()));
        }
        return accepted(rules::admit_put(next, previous ? &previous->value : nullptr, all));
    };
    steps.complete = [&services, seen](PrivateLinkService& next,
                                       const std::optional<Stored<PrivateLinkService>>& previous,
                                       Change& change) -> Outcome<void> {
        rules::set_six(next, *seen);
        if (!previous) {
            return create_identity(services, next, change);
        }
        const bool shares = next.nat_per_connection.value_or(false) ||
                            previous->value.nat_per_connection.value_or(false);
        if (auto shared = shares ? share_nat(services, next, nullptr, change) : Outcome<void>();
            !shared) {
            return shared;
        }
        return update_interface(services, next, change);
    };
    steps.inherit = [](PrivateLinkService& next, const PrivateLinkService& previous) {
        if (!next.nat_per_connection) {
            next.nat_per_connection = previous.nat_per_connection;
        }
    };
    return steps;
}

// A service itself has no sub-resources to link to (privatelink-semantics 1.0), but clients ask
// (arm-contract 8).
void list_link_resources(Services& services, const Call& call, const ReplyFn& reply) {
    auto service = fetch<PrivateLinkService>(services.store, call.id);
    reply(service ? Reply{.status = 200,
                          .body = boost::json::object{{"value", boost::json::array{}}},
                          .headers = {}}
                  : error_reply(service.error()));
}

}  // namespace

Outcome<Removed> remove_service(Services& services, const http::Request* request,
                                const model::ResourceId& id) {
    return remove_document<PrivateLinkService>(
        services, request, id,
        [&](const Stored<PrivateLinkService>& stored, Change& change) -> Outcome<void> {
            const std::string prefix = connections_prefix(id);
            auto connections = count_below(services.store, prefix);
            if (!connections) {
                return refuse(std::move(connections.error()));
            }
            rules::ServiceFacts facts;
            facts.connections = *connections;
            if (auto errors = rules::admit_delete(stored.value, facts); !errors.empty()) {
                return refuse(std::move(errors));
            }
            change.require(store::none_below(prefix));
            change.erase(keys::alias(model::lower(stored.value.alias)));
            change.erase(keys::resource(stored.value.nic.key()));
            release_number(change, Kind::kService, stored.value.service_index, 0, id.key());
            return {};
        });
}

void add_link_service_handlers(Registry& registry, Services& services) {
    add_document_handlers<PrivateLinkService>(registry, services, types::kPrivateLinkService,
                                              service_steps, remove_service);
    const std::string type(types::kPrivateLinkService);
    registry.add(type + "/privateLinkResources", "LIST", type + "/privateLinkResources/read",
                 with(services, list_link_resources));
    add_connection_handlers(registry, services);
    add_location_handlers(registry, services);
}

}  // namespace culvert::control
