// SPDX-License-Identifier: Apache-2.0
#include "control/views.hpp"

#include "model/types.hpp"

namespace culvert::control {

namespace types = model::types;

Result<boost::json::object> view(Services&, const model::ResourceGroup& value, std::int64_t) {
    return wire::show(value);
}

Result<boost::json::object> view(Services& services, const model::VirtualNetwork& value,
                                 std::int64_t revision) {
    wire::NetworkView about;
    about.etag = wire::etag(revision);
    auto referrers = referrers_below(services.store, value.id);
    if (!referrers) {
        return std::unexpected(std::move(referrers.error()));
    }
    for (auto& [subnet, sources] : by_child(*referrers, "subnets")) {
        wire::SubnetView& shown = about.subnets[subnet];
        for (model::ResourceId& source : sources) {
            const bool endpoint = source.is_type(types::kPrivateEndpoint);
            (endpoint ? shown.private_endpoints : shown.ip_configurations)
                .push_back(std::move(source));
        }
    }
    return wire::show(value, about);
}

Result<boost::json::object> view(Services&, const model::NetworkInterface& value,
                                 std::int64_t revision) {
    return wire::show(value, wire::NicView{.etag = wire::etag(revision), .virtual_machine = {}});
}

Result<boost::json::object> view(Services& services, const model::LoadBalancer& value,
                                 std::int64_t revision) {
    auto referrers = referrers_below(services.store, value.id);
    if (!referrers) {
        return std::unexpected(std::move(referrers.error()));
    }
    return wire::show(
        value, wire::BalancerView{.etag = wire::etag(revision),
                                  .pool_members = by_child(*referrers, "backendAddressPools")});
}

std::string connections_prefix(const model::ResourceId& service) {
    return keys::resource(service.key()) + "/privateendpointconnections/";
}

Result<std::vector<Stored<model::PrivateEndpointConnection>>> connections_of(
    store::Store& store, const model::ResourceId& service) {
    auto rows = store.list(connections_prefix(service));
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    std::vector<Stored<model::PrivateEndpointConnection>> out;
    for (store::KeyValue& row : rows->kvs) {
        auto value = wire::decode<model::PrivateEndpointConnection>(row.value);
        if (!value) {
            return std::unexpected(std::move(value.error()));
        }
        out.push_back({std::move(*value), row.mod_revision, std::move(row.value)});
    }
    return out;
}

Result<boost::json::object> view(Services& services, const model::PrivateLinkService& value,
                                 std::int64_t revision) {
    auto connections = connections_of(services.store, value.id);
    if (!connections) {
        return std::unexpected(std::move(connections.error()));
    }
    wire::ServiceView about{.etag = wire::etag(revision), .connections = {}};
    for (auto& connection : *connections) {
        about.connections.push_back({std::move(connection.value), wire::etag(connection.revision)});
    }
    return wire::show(value, about);
}

Result<boost::json::object> view(Services&, const model::PrivateEndpointConnection& value,
                                 std::int64_t revision) {
    return wire::show(value, wire::ConnectionView{.etag = wire::etag(revision)});
}

Result<boost::json::object> view(Services& services, const model::PrivateEndpoint& value,
                                 std::int64_t revision) {
    wire::EndpointView about{.etag = wire::etag(revision), .state = std::nullopt};
    if (!value.connection.empty()) {
        auto connection = load<model::PrivateEndpointConnection>(services.store, value.connection);
        if (!connection) {
            return std::unexpected(std::move(connection.error()));
        }
        if (*connection) {
            about.state = (*connection)->value.state;
        }
    }
    return wire::show(value, about);
}

}  // namespace culvert::control
