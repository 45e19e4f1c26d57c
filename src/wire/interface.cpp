// SPDX-License-Identifier: Apache-2.0
// networkInterfaces (arm-contract 11).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"
#include "wire/wire.hpp"

namespace culvert::wire {
namespace json = boost::json;

template <>
Read<model::NetworkInterface> read(const json::value& body, const model::ResourceId& id) {
    std::vector<Error> errors;
    const Reader reader(&body, "", errors);
    model::NetworkInterface nic;
    read_resource(reader, id, nic);
    const Reader properties = reader.object("properties");
    std::vector<std::optional<bool>> primary;
    for (const Reader& item :
         properties.list("ipConfigurations", limits::kIpConfigurationsPerNic)) {
        model::NicIpConfiguration& config = nic.ip_configurations.emplace_back();
        config.name = read_name(item);
        const Reader inner = item.object("properties");
        config.subnet = inner.reference("subnet", true);
        const auto choice = read_address_choice(inner);
        config.allocation = choice.allocation;
        config.address = choice.address;
        config.pools =
            inner.references("loadBalancerBackendAddressPools", limits::kPoolsPerIpConfiguration);
        primary.push_back(inner.boolean("primary"));
    }
    const auto resolved = resolve_primary(primary);
    for (std::size_t i = 0; i < resolved.size(); ++i) {
        nic.ip_configurations[i].primary = resolved[i];
    }
    nic.ip_forwarding = properties.boolean("enableIPForwarding").value_or(false);
    if (properties.has("networkSecurityGroup")) {
        properties.note("InvalidResourceReference", properties.path("networkSecurityGroup"),
                        "properties.networkSecurityGroup: the resource does not exist (this type "
                        "is not supported yet); leave the property out");
    }
    if (!errors.empty()) {
        return std::unexpected(std::move(errors));
    }
    return nic;
}

json::object show(const model::NetworkInterface& value, const NicView& view) {
    json::object properties = resource_properties(value);
    json::array configurations;
    bool any_primary = false;
    for (const auto& config : value.ip_configurations) {
        json::object inner{
            {"provisioningState", text(name_of(kProvisioningNames, value.provisioning))}};
        add_address(inner, config.subnet, config.allocation, config.address);
        inner["primary"] = config.primary;
        inner["loadBalancerBackendAddressPools"] = id_array(config.pools);
        any_primary = any_primary || config.primary;
        configurations.push_back(
            element(value.id.child("ipConfigurations", config.name), view.etag, std::move(inner)));
    }
    properties["ipConfigurations"] = std::move(configurations);
    properties["dnsSettings"] =
        json::object{{"dnsServers", json::array{}}, {"appliedDnsServers", json::array{}}};
    properties["enableIPForwarding"] = value.ip_forwarding;
    properties["enableAcceleratedNetworking"] = false;
    properties["primary"] = any_primary;
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
    json::object out = resource_head(value, view.etag);
    out["properties"] = std::move(properties);
    return out;
}

}  // namespace culvert::wire
