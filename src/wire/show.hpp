// SPDX-License-Identifier: Apache-2.0
// The shapes every shown resource shares (arm-contract 5.8, 5.10). Empty arrays are always present.
#pragma once

#include "model/resources.hpp"
#include "wire/names.hpp"

#include <boost/json.hpp>

#include <optional>
#include <string_view>
#include <vector>

namespace culvert::wire {

boost::json::string text(std::string_view value);
// {"id": ...}
boost::json::object id_object(const model::ResourceId& id);
boost::json::array id_array(const std::vector<model::ResourceId>& ids);
boost::json::array string_array(const std::vector<std::string>& values);
// A kept array (see Reader::raw_array) as JSON again; "" and damage give an empty array.
boost::json::array raw(std::string_view compact);
// id, name, type, location, etag (when not empty), tags (when there are some)
boost::json::object resource_head(const model::Resource& value, std::string_view etag);
// The whole: its head, and `properties`.
boost::json::object resource(const model::Resource& value, std::string_view etag,
                             boost::json::object properties);
// properties.provisioningState and resourceGuid
boost::json::object resource_properties(const model::Resource& value);
// What the properties of its elements begin with: its own provisioningState.
boost::json::object element_properties(const model::Resource& value);
// An element of a list that is a resource of its own: name, id, etag, type, properties.
boost::json::object element(const model::ResourceId& id, std::string_view etag,
                            boost::json::object properties);
// privateIPAddress (when known), privateIPAllocationMethod, privateIPAddressVersion, subnet, added
// to `properties`
void add_address(boost::json::object& properties, const model::ResourceId& subnet,
                 model::Allocation allocation, const std::optional<net::Ipv4>& address);
// The same of IPv6.
void add_six(boost::json::object& properties, const model::ResourceId& subnet,
             const net::Ipv6& address);
template <typename T>
void add_address(boost::json::object& properties, const T& configuration) {
    if (configuration.six) {
        add_six(properties, configuration.subnet, *configuration.six);
        return;
    }
    add_address(properties, configuration.subnet, configuration.allocation, configuration.address);
}
// The ipConfigurations of an interface or a service; `more(properties, configuration)` adds what
// its own have beside address and primary.
template <typename T, typename More>
boost::json::array show_ip_configurations(const model::Resource& value,
                                          const std::vector<T>& configurations,
                                          std::string_view etag, const More& more) {
    boost::json::array out;
    for (const T& configuration : configurations) {
        boost::json::object inner = element_properties(value);
        add_address(inner, configuration);
        inner["primary"] = configuration.primary;
        more(inner, configuration);
        out.push_back(element(value.id.child("ipConfigurations", configuration.name), etag,
                              std::move(inner)));
    }
    return out;
}
boost::json::object state_object(const model::ConnectionState& state);

}  // namespace culvert::wire
