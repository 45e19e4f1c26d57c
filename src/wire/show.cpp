// SPDX-License-Identifier: Apache-2.0
#include "wire/show.hpp"

namespace culvert::wire {
namespace json = boost::json;

json::string text(std::string_view value) { return json::string(value.data(), value.size()); }

json::object id_object(const model::ResourceId& id) { return {{"id", id.str()}}; }

json::array id_array(const std::vector<model::ResourceId>& ids) {
    json::array out;
    for (const auto& id : ids) {
        out.push_back(id_object(id));
    }
    return out;
}

json::array string_array(const std::vector<std::string>& values) {
    json::array out;
    for (const auto& value : values) {
        out.push_back(text(value));
    }
    return out;
}

json::array raw(std::string_view compact) {
    boost::system::error_code error;
    json::parse_options options;
    options.max_depth = 64;
    json::value value = json::parse({compact.data(), compact.size()}, error, {}, options);
    return !error && value.is_array() ? std::move(value.get_array()) : json::array{};
}

json::object resource_head(const model::Resource& value, std::string_view etag) {
    json::object out{{"id", value.id.str()},
                     {"name", value.id.name()},
                     {"type", value.id.type()},
                     {"location", value.location}};
    if (!etag.empty()) {
        out["etag"] = text(etag);
    }
    if (!value.tags.empty()) {
        json::object tags;
        for (const auto& [name, tag] : value.tags) {
            tags[name] = tag;
        }
        out["tags"] = std::move(tags);
    }
    return out;
}

json::object resource(const model::Resource& value, std::string_view etag,
                      json::object properties) {
    json::object out = resource_head(value, etag);
    out["properties"] = std::move(properties);
    return out;
}

json::object element_properties(const model::Resource& value) {
    return {{"provisioningState", text(name_of(kProvisioningNames, value.provisioning))}};
}

json::object resource_properties(const model::Resource& value) {
    json::object out = element_properties(value);
    if (!value.resource_guid.empty()) {
        out["resourceGuid"] = value.resource_guid;
    }
    return out;
}

json::object element(const model::ResourceId& id, std::string_view etag, json::object properties) {
    json::object out{{"name", id.name()}, {"id", id.str()}};
    if (!etag.empty()) {
        out["etag"] = text(etag);
    }
    out["type"] = id.type();
    out["properties"] = std::move(properties);
    return out;
}

void add_address(json::object& properties, const model::ResourceId& subnet,
                 model::Allocation allocation, const std::optional<net::Ipv4>& address) {
    if (address) {
        properties["privateIPAddress"] = address->str();
    }
    properties["privateIPAllocationMethod"] = text(name_of(kAllocationNames, allocation));
    properties["privateIPAddressVersion"] = "IPv4";
    if (!subnet.empty()) {
        properties["subnet"] = id_object(subnet);
    }
}

void add_six(json::object& properties, const model::ResourceId& subnet, const net::Ipv6& address) {
    properties["privateIPAddress"] = address.str();
    properties["privateIPAllocationMethod"] = "Dynamic";
    properties["privateIPAddressVersion"] = "IPv6";
    properties["subnet"] = id_object(subnet);
}

json::object state_object(const model::ConnectionState& state) {
    return {{"status", text(name_of(kStatusNames, state.status))},
            {"description", state.description},
            {"actionsRequired", state.actions_required.empty() ? "None" : state.actions_required}};
}

}  // namespace culvert::wire
