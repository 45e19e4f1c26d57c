// SPDX-License-Identifier: Apache-2.0
// networkInterfaces (arm-contract 11).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"
#include "wire/wire.hpp"

#include <algorithm>

namespace culvert::wire {
namespace json = boost::json;

template <>
Read<model::NetworkInterface> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::NetworkInterface>(
        body, [&](const Reader& reader, model::NetworkInterface& nic) {
            read_resource(reader, id, nic);
            const Reader properties = reader.object("properties");
            read_ip_configurations(
                properties, limits::kIpConfigurationsPerNic, nic.ip_configurations,
                [](const Reader& inner, model::NicIpConfiguration& config) {
                    config.pools = inner.references("loadBalancerBackendAddressPools",
                                                    limits::kPoolsPerIpConfiguration);
                });
            nic.ip_forwarding = properties.boolean("enableIPForwarding").value_or(false);
            properties.refuse_reference("networkSecurityGroup");
        });
}

json::object show(const model::NetworkInterface& value, const NicView& view) {
    json::object properties = resource_properties(value);
    properties["ipConfigurations"] = show_ip_configurations(
        value, value.ip_configurations, view.etag,
        [](json::object& inner, const model::NicIpConfiguration& config) {
            inner["loadBalancerBackendAddressPools"] = id_array(config.pools);
        });
    properties["dnsSettings"] =
        json::object{{"dnsServers", json::array{}}, {"appliedDnsServers", json::array{}}};
    properties["enableIPForwarding"] = value.ip_forwarding;
    properties["enableAcceleratedNetworking"] = false;
    properties["primary"] =
        std::ranges::any_of(value.ip_configurations, &model::NicIpConfiguration::primary);
    if (value.nic_index != 0) {
        properties["macAddress"] = net::Mac::of_nic(value.nic_index).arm_str();
    }
    if (!value.private_endpoint.empty()) {
        properties["privateEndpoint"] = id_object(value.private_endpoint);
    }
    if (!value.private_link_service.empty()) {
        properties["privateLinkService"] = id_object(value.private_link_service);
    }
    if (!view.virtual_machine.empty()) {
        properties["virtualMachine"] = id_object(view.virtual_machine);
    }
    return resource(value, view.etag, std::move(properties));
}

}  // namespace culvert::wire
