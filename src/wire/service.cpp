// SPDX-License-Identifier: Apache-2.0
// privateLinkServices and their privateEndpointConnections (arm-contract 8, 11).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"
#include "wire/wire.hpp"

namespace culvert::wire {
namespace json = boost::json;

template <>
Read<model::PrivateLinkService> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::PrivateLinkService>(body, [&](const Reader& reader,
                                                          model::PrivateLinkService& service) {
        read_resource(reader, id, service);
        const Reader properties = reader.object("properties");
        service.frontends =
            properties.references("loadBalancerFrontendIpConfigurations", limits::kListedElements);
        read_ip_configurations(
            properties, limits::kListedElements, service.nat,
            [](const Reader&, model::NatConfiguration&) {}, [](const Reader&) { return false; });
        service.visibility =
            properties.object("visibility").strings("subscriptions", limits::kListedElements, 64);
        service.auto_approval =
            properties.object("autoApproval").strings("subscriptions", limits::kListedElements, 64);
        service.fqdns = properties.strings("fqdns", limits::kListedElements, limits::kFqdnChars);
        service.proxy_protocol = properties.boolean("enableProxyProtocol").value_or(false);
        service.nat_per_connection = properties.boolean("natAddressPerConnection");
        if (properties.has("destinationIPAddress")) {
            properties.note("InvalidRequestContent", properties.path("destinationIPAddress"),
                            "properties.destinationIPAddress: not supported, use "
                            "properties.loadBalancerFrontendIpConfigurations");
        }
    });
}

template <>
Read<model::PrivateEndpointConnection> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::PrivateEndpointConnection>(
        body, [&](const Reader& reader, model::PrivateEndpointConnection& connection) {
            connection.id = model::canonical(id);
            const Reader properties = reader.object("properties");
            const Reader state = properties.object("privateLinkServiceConnectionState");
            const auto status = state.choice("status", kStatusNames);
            if (!status && !state.has("status") &&
                (state.present() || !properties.has("privateLinkServiceConnectionState"))) {
                state.missing("status", "give Approved or Rejected");
            }
            connection.state.status = status.value_or(model::ConnectionStatus::kPending);
            connection.state.description =
                state.string("description", limits::kDescriptionChars).value_or("");
            connection.state.actions_required =
                state.string("actionsRequired", limits::kDescriptionChars).value_or("");
        });
}

json::object show(const model::PrivateEndpointConnection& value, const ConnectionView& view) {
    json::object properties{
        {"provisioningState", text(name_of(kProvisioningNames, value.provisioning))},
        {"privateLinkServiceConnectionState", state_object(value.state)},
        // a number as a string: what Azure sends and clients expect
        {"linkIdentifier", std::to_string(value.link_id)}};
    if (value.nat) {
        properties["natAddress"] = value.nat_six ? value.nat_six->str() : value.nat->str();
    }
    if (!value.private_endpoint.empty()) {
        properties["privateEndpoint"] = id_object(value.private_endpoint);
    }
    if (!value.endpoint_location.empty()) {
        properties["privateEndpointLocation"] = value.endpoint_location;
    }
    return element(value.id, view.etag, std::move(properties));
}

json::object show(const model::PrivateLinkService& value, const ServiceView& view) {
    json::object properties = resource_properties(value);
    properties["loadBalancerFrontendIpConfigurations"] = id_array(value.frontends);
    properties["ipConfigurations"] = show_ip_configurations(
        value, value.nat, view.etag, [](json::object&, const model::NatConfiguration&) {});
    properties["visibility"] = json::object{{"subscriptions", string_array(value.visibility)}};
    properties["autoApproval"] = json::object{{"subscriptions", string_array(value.auto_approval)}};
    properties["fqdns"] = string_array(value.fqdns);
    properties["enableProxyProtocol"] = value.proxy_protocol;
    if (value.nat_per_connection) {
        properties["natAddressPerConnection"] = *value.nat_per_connection;
    }
    properties["alias"] = value.alias;
    properties["networkInterfaces"] = value.nic.empty() ? json::array{} : id_array({value.nic});
    json::array connections;
    for (const auto& connection : view.connections) {
        connections.push_back(show(connection.value, ConnectionView{connection.etag}));
    }
    properties["privateEndpointConnections"] = std::move(connections);
    return resource(value, view.etag, std::move(properties));
}

}  // namespace culvert::wire
