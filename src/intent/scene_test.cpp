// SPDX-License-Identifier: Apache-2.0
#include "intent/scene_test.hpp"

#include <gtest/gtest.h>

namespace culvert::intent::scene {

KeyTuple key_of(const api::Object& object) {
    const auto kind = static_cast<std::uint32_t>(object.kind_case());
    switch (object.kind_case()) {
        case api::Object::kConfig: return {kind, object.config().node(), 0};
        case api::Object::kPeer: return {kind, object.peer().node(), 0};
        case api::Object::kNetwork: return {kind, object.network().vnet(), 0};
        case api::Object::kNic: return {kind, object.nic().index(), 0};
        case api::Object::kAddress:
            return {kind, object.address().vnet(), object.address().address()};
        case api::Object::kService: return {kind, object.service().id(), 0};
        case api::Object::kPool: return {kind, object.pool().id(), 0};
        case api::Object::kLink: return {kind, object.link().id(), 0};
        case api::Object::kMove: return {kind, object.move().nic(), 0};
        case api::Object::KIND_NOT_SET: break;
    }
    ADD_FAILURE() << "object without kind";
    return {};
}

void accept(Holding& holding, const api::Delta& delta) {
    if (delta.snapshot()) {
        holding.clear();
    }
    for (const api::Key& key : delta.remove()) {
        EXPECT_EQ(holding.erase({key.kind(), key.id(), key.address()}), 1U)
            << "removes what the node does not hold: " << key.ShortDebugString();
    }
    for (const api::Object& object : delta.upsert()) {
        std::string& slot = holding[key_of(object)];
        std::string bytes = object.SerializeAsString();
        EXPECT_NE(slot, bytes) << "sends again what the node holds: " << object.ShortDebugString();
        slot = std::move(bytes);
    }
}

Holding holding_of(const api::Delta& snapshot) {
    EXPECT_TRUE(snapshot.snapshot());
    Holding holding;
    accept(holding, snapshot);
    return holding;
}

std::string describe(const Holding& holding) {
    std::string out;
    for (const auto& [key, bytes] : holding) {
        api::Object object;
        EXPECT_TRUE(object.ParseFromString(bytes));
        out += object.ShortDebugString() + "\n";
    }
    return out;
}

model::ResourceId id(std::string_view type, std::string_view name) {
    return *model::ResourceId::parse(
        "/subscriptions/S1/resourceGroups/rg/providers/Microsoft.Network/" + std::string(type) +
        "/" + std::string(name));
}

model::VirtualNetwork vnet(std::string_view name, std::uint32_t index, std::uint8_t second) {
    const net::Ipv4 base{0x0a000000U | std::uint32_t{second} << 16};
    model::VirtualNetwork value;
    value.id = id("virtualNetworks", name);
    value.vnet_index = index;
    value.prefixes = {{base, 16}};
    model::Subnet apps;
    apps.name = "apps";
    apps.prefixes = {{net::Ipv4{base.value + 0x100}, 24}};
    model::Subnet more;
    more.name = "more";
    more.prefixes = {{net::Ipv4{base.value + 0x200}, 24}};
    value.subnets = {apps, more};
    return value;
}

model::ResourceId subnet(std::string_view vnet, std::string_view name) {
    return id("virtualNetworks", vnet).child("subnets", name);
}

net::Ipv4 ip(std::string_view text) { return *net::Ipv4::parse(text); }

model::NetworkInterface nic(std::string_view name, std::uint32_t index, std::string_view vnet,
                            std::string_view address) {
    model::NetworkInterface value;
    value.id = id("networkInterfaces", name);
    value.nic_index = index;
    value.nic_generation = 1;
    model::NicIpConfiguration configuration;
    configuration.name = "ipconfig1";
    configuration.subnet = subnet(vnet);
    configuration.address = ip(address);
    value.ip_configurations = {configuration};
    return value;
}

model::ResourceId pool(std::string_view balancer, std::string_view name) {
    return id("loadBalancers", balancer).child("backendAddressPools", name);
}
model::ResourceId frontend(std::string_view balancer, std::string_view name) {
    return id("loadBalancers", balancer).child("frontendIPConfigurations", name);
}

model::LoadBalancer balancer(std::string_view name, std::string_view vnet, std::string_view address,
                             std::uint32_t pool_index) {
    model::LoadBalancer value;
    value.id = id("loadBalancers", name);
    value.sku = "Standard";
    model::Frontend front;
    front.name = "front";
    front.subnet = subnet(vnet);
    front.address = ip(address);
    value.frontends = {front};
    model::BackendPool backends;
    backends.name = "pool";
    backends.pool_index = pool_index;
    value.pools = {backends};
    model::LbRule rule;
    rule.name = "https";
    rule.frontend = frontend(name);
    rule.pool = pool(name);
    rule.frontend_port = 443;
    rule.backend_port = 8443;
    value.rules = {rule};
    return value;
}

model::PrivateLinkService service(std::string_view name, std::uint32_t index,
                                  std::string_view balancer, std::string_view vnet,
                                  std::string_view nat) {
    model::PrivateLinkService value;
    value.id = id("privateLinkServices", name);
    value.service_index = index;
    value.frontends = {frontend(balancer)};
    model::NatConfiguration configuration;
    configuration.name = "nat";
    configuration.subnet = subnet(vnet);
    configuration.address = ip(nat);
    value.nat = {configuration};
    return value;
}

model::ResourceId connection_id(std::string_view service, std::string_view endpoint) {
    return id("privateLinkServices", service)
        .child("privateEndpointConnections", std::string(endpoint) + ".guid");
}

model::PrivateEndpoint endpoint(std::string_view name, std::string_view vnet,
                                std::string_view address, std::string_view service) {
    model::PrivateEndpoint value;
    value.id = id("privateEndpoints", name);
    value.subnet = subnet(vnet);
    value.address = ip(address);
    value.connection = connection_id(service, name);
    return value;
}

model::PrivateEndpointConnection connection(std::string_view service, std::string_view endpoint,
                                            std::uint32_t link, model::ConnectionStatus status) {
    model::PrivateEndpointConnection value;
    value.id = connection_id(service, endpoint);
    value.private_endpoint = id("privateEndpoints", endpoint);
    value.link_id = link;
    value.link_generation = 1;
    value.state.status = status;
    return value;
}

model::Node node(std::string_view name, std::uint32_t index) {
    model::Node value;
    value.name = name;
    value.index = index;
    value.outer = "192.0.2." + std::to_string(index);
    value.certificate_serial = "serial";
    return value;
}

model::Attachment attachment(std::string_view nic, std::string_view node,
                             std::string_view attachment_id) {
    model::Attachment value;
    value.nic = id("networkInterfaces", nic);
    value.node = node;
    value.id = attachment_id;
    return value;
}

}  // namespace culvert::intent::scene
