// SPDX-License-Identifier: Apache-2.0
// privateEndpoints (arm-contract 8, 11).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"
#include "wire/wire.hpp"

namespace culvert::wire {
namespace json = boost::json;
namespace {

constexpr std::string_view kAutomatic = "privateLinkServiceConnections";
constexpr std::string_view kManual = "manualPrivateLinkServiceConnections";

void read_requests(const Reader& properties, bool manual, std::vector<model::LinkRequest>& out) {
    for (const Reader& item :
         properties.list(manual ? kManual : kAutomatic, limits::kListedElements)) {
        model::LinkRequest& request = out.emplace_back();
        request.manual = manual;
        request.name = read_name(item);
        const Reader inner = item.object("properties");
        const auto target = inner.string("privateLinkServiceId", limits::kResourceIdChars);
        if (target && target->starts_with('/')) {
            const auto id = model::ResourceId::parse(*target);
            if (id && !id->empty()) {
                request.target = model::canonical(*id).str();
            } else {
                inner.wrong("privateLinkServiceId",
                            id ? "names no subscription" : id.error().message);
            }
        } else if (target && !target->empty()) {
            request.target = *target;  // an alias
        } else if (target || !inner.has("privateLinkServiceId")) {
            inner.missing("privateLinkServiceId", "give the target's id, or its alias");
        }
        request.group_ids = inner.strings("groupIds", limits::kListedElements, 128);
        // rules/ says how long it may be
        request.request_message = inner.string("requestMessage", 4096).value_or("");
    }
}

void read_fixed_addresses(const Reader& properties, model::PrivateEndpoint& endpoint) {
    for (const Reader& item : properties.list("ipConfigurations", limits::kListedElements)) {
        model::EndpointIpConfiguration& config = endpoint.ip_configurations.emplace_back();
        config.name = read_name(item);
        const Reader inner = item.object("properties");
        config.group_id = inner.string("groupId", 128).value_or("");
        config.member_name = inner.string("memberName", 128).value_or("");
        const auto address = inner.address("privateIPAddress");
        if (!inner.has("privateIPAddress")) {
            inner.missing("privateIPAddress", "give an address of the endpoint's subnet");
        }
        config.address = address.value_or(net::Ipv4{});
    }
    if (!endpoint.ip_configurations.empty()) {
        endpoint.address = endpoint.ip_configurations.front().address;
    }
}

json::object show_request(const model::PrivateEndpoint& value, const model::LinkRequest& request,
                          const EndpointView& view) {
    const model::ConnectionState state = view.state.value_or(model::ConnectionState{
        model::ConnectionStatus::kDisconnected, value.disconnected_description, ""});
    json::object inner = element_properties(value);
    inner["privateLinkServiceId"] = request.target;
    inner["groupIds"] = string_array(request.group_ids);
    inner["privateLinkServiceConnectionState"] = state_object(state);
    if (!request.request_message.empty()) {
        inner["requestMessage"] = request.request_message;
    }
    return element(value.id.child(request.manual ? kManual : kAutomatic, request.name), view.etag,
                   std::move(inner));
}

}  // namespace

template <>
Read<model::PrivateEndpoint> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::PrivateEndpoint>(body, [&](const Reader& reader,
                                                       model::PrivateEndpoint& endpoint) {
        read_resource(reader, id, endpoint);
        const Reader properties = reader.object("properties");
        endpoint.subnet = properties.reference("subnet", true);
        read_requests(properties, false, endpoint.requests);
        read_requests(properties, true, endpoint.requests);
        read_fixed_addresses(properties, endpoint);
        endpoint.ip_version =
            properties.choice("ipVersionType", kIpVersionNames).value_or(model::IpVersion::kUnsaid);
        endpoint.security_groups =
            properties.references("applicationSecurityGroups", limits::kSecurityGroupsPerEndpoint);
        endpoint.custom_nic_name =
            properties.string("customNetworkInterfaceName", limits::kResourceNameChars)
                .value_or("");
    });
}

json::object show(const model::PrivateEndpoint& value, const EndpointView& view) {
    json::object properties = resource_properties(value);
    properties["subnet"] = id_object(value.subnet);
    json::array automatic;
    json::array manual;
    for (const auto& request : value.requests) {
        (request.manual ? manual : automatic).push_back(show_request(value, request, view));
    }
    properties[kAutomatic] = std::move(automatic);
    properties[kManual] = std::move(manual);
    json::array configurations;
    for (const auto& config : value.ip_configurations) {
        json::object inner{{"privateIPAddress", config.address.str()}};
        if (!config.group_id.empty()) {
            inner["groupId"] = config.group_id;
        }
        if (!config.member_name.empty()) {
            inner["memberName"] = config.member_name;
        }
        configurations.push_back(
            element(value.id.child("ipConfigurations", config.name), view.etag, std::move(inner)));
    }
    properties["ipConfigurations"] = std::move(configurations);
    properties["ipVersionType"] = text(name_of(kIpVersionNames, value.ip_version));
    properties["applicationSecurityGroups"] = id_array(value.security_groups);
    properties["customDnsConfigs"] = json::array{};
    properties["customNetworkInterfaceName"] = value.custom_nic_name;
    properties["networkInterfaces"] = value.nic.empty() ? json::array{} : id_array({value.nic});
    return resource(value, view.etag, std::move(properties));
}

}  // namespace culvert::wire
