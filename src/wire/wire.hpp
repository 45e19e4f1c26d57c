// SPDX-License-Identifier: Apache-2.0
// wire turns ARM JSON into typed resources and back. It promises: what read() accepts has the right
// JSON types, parsed ids and bounded sizes (rules/ judges the meaning); show() is exactly what az
// and the SDKs need (arm-contract 5, 7, 8, 11); decode(encode(x)) == x. Pure: no I/O, no clock.
//
// T is one of model::{ResourceGroup, VirtualNetwork, Subnet, NetworkInterface, LoadBalancer,
// BackendPool, InboundNatRule, PrivateLinkService, PrivateEndpointConnection, PrivateEndpoint}.
//
// A PUT:  auto body = wire::read<T>(call.body, call.id);     all errors at once
//         rules::keep_server_fields(*body, previous);        when the resource exists
//         rules::validate, rules::admit; store encode(*body); answer show(*body, view)
#pragma once

#include "model/resources.hpp"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::wire {

template <typename T>
using Read = std::expected<T, std::vector<Error>>;

// The body of a PUT. `id` comes from the path (its casing of names is kept, types become canonical)
// and wins over "id" and "name" in the body. Unknown properties are ignored, null means absent,
// enums are read without case (arm-contract 5.4). Server-owned fields ("R" in model/) are ignored.
// Errors (kInvalidArgument) have the field path as target, such as
// "properties.ipConfigurations[0].properties.subnet.id", and the arm_code: LocationRequired,
// InvalidRequestFormat (JSON type, id, address, number, enum), InvalidRequestContent (missing).
//
// Allocation: "Static" or an address without a method: kStatic with that address. "Dynamic": the
// address in the body is ignored (clients echo what show() told them).
// PrivateEndpoint: a static ipConfigurations[0] is also its `address`.
// PrivateEndpointConnection: only `state` is read, everything else is server-owned.
template <typename T>
Read<T> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::ResourceGroup> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::VirtualNetwork> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::Subnet> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::NetworkInterface> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::LoadBalancer> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::BackendPool> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::InboundNatRule> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::PrivateLinkService> read(const boost::json::value& body, const model::ResourceId& id);
template <>
Read<model::PrivateEndpointConnection> read(const boost::json::value& body,
                                            const model::ResourceId& id);
template <>
Read<model::PrivateEndpoint> read(const boost::json::value& body, const model::ResourceId& id);

// Does the body of a virtual network PUT say anything about its subnets? If not, the existing ones
// stay (Azure since 2023): `if (!gives_subnets(body)) next.subnets = previous.subnets;`
bool gives_subnets(const boost::json::value& body);

// The body of a PATCH: {"tags": {...}}.
Read<std::map<std::string, std::string>> read_tags(const boost::json::value& body);

// `W/"<revision>"`, as ETag header and "etag" property. The revision is the store's.
std::string etag(std::int64_t revision);

// What show() needs besides the resource: derived data that the handler prefetches. Everything may
// be left empty; arrays are then shown empty.
struct GroupView {};

struct SubnetView {
    std::vector<model::ResourceId> private_endpoints;  // endpoints in the subnet
    std::vector<model::ResourceId> ip_configurations;  // .../ipConfigurations/x of NICs and so on
};
struct NetworkView {
    std::string etag;
    std::map<std::string, SubnetView> subnets;  // by lower-case subnet name
};
struct NicView {
    std::string etag;
    model::ResourceId virtual_machine;  // the workload it is attached to, empty: none
};
struct BalancerView {
    std::string etag;
    // by lower-case pool name: the NIC IP configurations in the pool
    std::map<std::string, std::vector<model::ResourceId>> pool_members;
};
struct ConnectionView {
    std::string etag;
};
struct ServiceView {
    std::string etag;
    struct Connection {
        model::PrivateEndpointConnection value;
        std::string etag;
    };
    std::vector<Connection> connections;
};
struct EndpointView {
    std::string etag;
    // its connection's state; absent: the connection is gone, shown as Disconnected
    std::optional<model::ConnectionState> state;
};

boost::json::object show(const model::ResourceGroup& value, const GroupView& view = {});
boost::json::object show(const model::VirtualNetwork& value, const NetworkView& view);
boost::json::object show(const model::NetworkInterface& value, const NicView& view);
boost::json::object show(const model::LoadBalancer& value, const BalancerView& view);
boost::json::object show(const model::PrivateLinkService& value, const ServiceView& view);
boost::json::object show(const model::PrivateEndpointConnection& value, const ConnectionView& view);
boost::json::object show(const model::PrivateEndpoint& value, const EndpointView& view);

// The child `name` of collection `type` ("subnets", "frontendIPConfigurations",
// "backendAddressPools", "ipConfigurations", ...; without case) out of a shown parent: how GET of a
// child resource is answered. And the whole collection, for LIST. nullopt: no such child / type.
std::optional<boost::json::object> child(const boost::json::object& shown, std::string_view type,
                                         std::string_view name);
std::optional<boost::json::array> children(const boost::json::object& shown, std::string_view type);

// The action queryInboundNatRulePortMapping of a pool: the configuration or the address that the
// body asks about, and the answer about the interface of that id.
struct PortQuery {
    model::ResourceId configuration;  // empty: the address is given
    std::optional<net::Ipv4> address;
};
Read<PortQuery> read_port_query(const boost::json::value& body);
boost::json::object show_ports(const model::LoadBalancer& value, const model::ResourceId& pool,
                               const model::ResourceId& nic);

// The stored document: JSON, versioned ("v": 1), complete with server-owned fields. decode never
// trusts it: kCorrupt for anything encode does not write, and for a newer version. T: the seven
// types with an id (subnets and pools live in their parents).
template <typename T>
std::string encode(const T& value);
template <typename T>
Result<T> decode(std::string_view document);

}  // namespace culvert::wire
