// SPDX-License-Identifier: Apache-2.0
// virtualNetworks and their subnets (arm-contract 8, 11).
#include "base/limits.hpp"
#include "model/types.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"
#include "wire/wire.hpp"

namespace culvert::wire {
namespace json = boost::json;
namespace {

// Into `owner.prefixes` or `owner.prefixes6`.
template <typename T>
void read_prefix(const Reader& reader, const std::string& name, const std::string& text, T& owner) {
    const auto keep = [&](auto prefix, auto& list) {
        if (prefix) {
            list.push_back(*prefix);
        } else {
            reader.wrong(name, prefix.error().message);
        }
    };
    if (net::looks_like_ipv6(text)) {
        keep(net::Ipv6Prefix::parse(text), owner.prefixes6);
    } else {
        keep(net::Ipv4Prefix::parse(text), owner.prefixes);
    }
}

// How many there are.
template <typename T>
std::size_t read_prefixes(const Reader& reader, std::string_view name, std::size_t max_items,
                          T& owner) {
    const auto texts = reader.strings(name, max_items, 64);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        read_prefix(reader, fmt::format("{}[{}]", name, i), texts[i], owner);
    }
    return texts.size();
}

void read_subnet_properties(const Reader& properties, model::Subnet& subnet) {
    if (read_prefixes(properties, "addressPrefixes", limits::kPrefixesPerSubnet, subnet) != 0) {
        subnet.prefixes_as_list = true;
    } else if (const auto one = properties.string("addressPrefix", 64)) {
        read_prefix(properties, "addressPrefix", *one, subnet);
    } else if (!properties.has("addressPrefix") && !properties.has("addressPrefixes")) {
        properties.missing("addressPrefix", "give a prefix such as 10.0.0.0/24");
    }
    subnet.endpoint_policies =
        properties.choice("privateEndpointNetworkPolicies", kEndpointPolicyNames)
            .value_or(model::EndpointPolicies::kDisabled);
    subnet.service_policies =
        properties.choice("privateLinkServiceNetworkPolicies", kServicePolicyNames).value_or(true);
    subnet.service_endpoints_json = properties.raw_array("serviceEndpoints");
    subnet.delegations_json = properties.raw_array("delegations");
    properties.refuse_reference("networkSecurityGroup");
    properties.refuse_reference("routeTable");
    properties.refuse_reference("natGateway");
}

// IPv4 first.
template <typename T>
json::array prefix_array(const T& owner) {
    json::array out;
    for (const auto& prefix : owner.prefixes) {
        out.push_back(text(prefix.str()));
    }
    for (const auto& prefix : owner.prefixes6) {
        out.push_back(text(prefix.str()));
    }
    return out;
}

json::object show_subnet(const model::VirtualNetwork& network, const model::Subnet& subnet,
                         const SubnetView& view, std::string_view etag) {
    json::object properties = element_properties(network);
    if (subnet.prefixes_as_list) {
        properties["addressPrefixes"] = prefix_array(subnet);
    } else if (!subnet.prefixes.empty()) {
        properties["addressPrefix"] = subnet.prefixes.front().str();
    }
    properties["privateEndpointNetworkPolicies"] =
        text(name_of(kEndpointPolicyNames, subnet.endpoint_policies));
    properties["privateLinkServiceNetworkPolicies"] =
        text(name_of(kServicePolicyNames, subnet.service_policies));
    properties["serviceEndpoints"] = raw(subnet.service_endpoints_json);
    properties["delegations"] = raw(subnet.delegations_json);
    properties["privateEndpoints"] = id_array(view.private_endpoints);
    properties["ipConfigurations"] = id_array(view.ip_configurations);
    if (!view.private_endpoints.empty()) {
        properties["purpose"] = "PrivateEndpoints";
    }
    return element(network.id.child("subnets", subnet.name), etag, std::move(properties));
}

}  // namespace

template <>
Read<model::Subnet> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::Subnet>(body, [&](const Reader& reader, model::Subnet& subnet) {
        subnet.name = id.name();
        read_subnet_properties(reader.object("properties"), subnet);
    });
}

template <>
Read<model::VirtualNetwork> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::VirtualNetwork>(body, [&](const Reader& reader,
                                                      model::VirtualNetwork& network) {
        read_resource(reader, id, network);
        const Reader properties = reader.object("properties");
        const Reader space = properties.object("addressSpace");
        const auto prefixes =
            read_prefixes(space, "addressPrefixes", limits::kPrefixesPerVirtualNetwork, network);
        if (prefixes == 0 && !space.has("addressPrefixes")) {
            space.missing("addressPrefixes", "give at least one prefix such as 10.0.0.0/16");
        }
        network.dns_servers = properties.object("dhcpOptions")
                                  .strings("dnsServers", limits::kDnsServersPerVirtualNetwork, 64);
        for (const Reader& item : properties.list("subnets", limits::kSubnetsPerVirtualNetwork)) {
            model::Subnet& subnet = network.subnets.emplace_back();
            subnet.name = read_name(item);
            read_subnet_properties(item.object("properties"), subnet);
        }
        if (!properties.list("virtualNetworkPeerings", limits::kListedElements).empty()) {
            properties.note(
                "InvalidRequestContent", properties.path("virtualNetworkPeerings"),
                "properties.virtualNetworkPeerings: peerings are not supported yet; leave "
                "the list empty");
        }
    });
}

bool gives_subnets(const json::value& body) {
    std::vector<Error> ignored;
    return Reader(&body, "", ignored).object("properties").has("subnets");
}

json::object show(const model::VirtualNetwork& value, const NetworkView& view) {
    json::object properties = resource_properties(value);
    properties["addressSpace"] = json::object{{"addressPrefixes", prefix_array(value)}};
    if (!value.dns_servers.empty()) {
        properties["dhcpOptions"] = json::object{{"dnsServers", string_array(value.dns_servers)}};
    }
    json::array subnets;
    for (const auto& subnet : value.subnets) {
        const auto found = view.subnets.find(model::lower(subnet.name));
        subnets.push_back(show_subnet(
            value, subnet, found == view.subnets.end() ? SubnetView{} : found->second, view.etag));
    }
    properties["subnets"] = std::move(subnets);
    properties["virtualNetworkPeerings"] = json::array{};
    properties["enableDdosProtection"] = false;
    return resource(value, view.etag, std::move(properties));
}

}  // namespace culvert::wire
