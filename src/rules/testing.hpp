// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of rules/: a small world (network Vnet1 10.0.0.0/16 with subnets "s" and
// "nat", Standard balancer lb1 with frontend fe1, service pls1, endpoint pe1), valid as it stands.
#pragma once

#include "model/types.hpp"
#include "rules/rules.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace culvert::rules::testing {

inline constexpr std::string_view kSub = "11111111-1111-4111-8111-111111111111";
inline constexpr std::string_view kOtherSub = "22222222-2222-4222-8222-222222222222";

inline model::ResourceId id_of(std::string_view tail, std::string_view subscription = kSub) {
    auto id = model::ResourceId::parse("/subscriptions/" + std::string(subscription) +
                                       "/resourceGroups/rg1/providers/Microsoft.Network/" +
                                       std::string(tail));
    EXPECT_TRUE(id) << tail;
    return id.value_or(model::ResourceId{});
}
inline net::Ipv4 ip(std::string_view text) { return net::Ipv4::parse(text).value(); }
inline net::Ipv4Prefix prefix(std::string_view text) {
    return net::Ipv4Prefix::parse(text).value();
}

inline model::Subnet subnet(std::string_view name, std::string_view range) {
    model::Subnet out;
    out.name = name;
    out.prefixes = {prefix(range)};
    return out;
}
inline model::VirtualNetwork network(std::string_view name = "Vnet1") {
    model::VirtualNetwork out;
    out.id = id_of("virtualNetworks/" + std::string(name));
    out.location = "westeurope";
    out.prefixes = {prefix("10.0.0.0/16")};
    out.subnets = {subnet("s", "10.0.0.0/24"), subnet("nat", "10.0.1.0/24")};
    out.subnets[1].service_policies = false;
    return out;
}
inline model::NetworkInterface nic() {
    model::NetworkInterface out;
    out.id = id_of("networkInterfaces/nic1");
    out.location = "westeurope";
    out.ip_configurations.resize(1);
    out.ip_configurations[0].name = "c";
    out.ip_configurations[0].subnet = id_of("virtualNetworks/Vnet1/subnets/s");
    return out;
}
inline model::LoadBalancer balancer() {
    model::LoadBalancer out;
    out.id = id_of("loadBalancers/lb1");
    out.location = "westeurope";
    out.sku = "Standard";
    out.frontends.resize(1);
    out.frontends[0].name = "fe1";
    out.frontends[0].subnet = id_of("virtualNetworks/Vnet1/subnets/s");
    out.pools.resize(1);
    out.pools[0].name = "bp1";
    out.rules.resize(1);
    out.rules[0].name = "r1";
    out.rules[0].frontend = out.id.child("frontendIPConfigurations", "fe1");
    out.rules[0].pool = out.id.child("backendAddressPools", "bp1");
    out.rules[0].frontend_port = 443;
    out.rules[0].backend_port = 8443;
    return out;
}
inline model::PrivateLinkService service() {
    model::PrivateLinkService out;
    out.id = id_of("privateLinkServices/pls1");
    out.location = "westeurope";
    out.frontends = {id_of("loadBalancers/lb1/frontendIPConfigurations/fe1")};
    out.nat.resize(1);
    out.nat[0].name = "n0";
    out.nat[0].subnet = id_of("virtualNetworks/Vnet1/subnets/nat");
    out.nat[0].primary = true;
    return out;
}
inline model::PrivateEndpoint endpoint() {
    model::PrivateEndpoint out;
    out.id = id_of("privateEndpoints/pe1");
    out.location = "westeurope";
    out.subnet = id_of("virtualNetworks/Vnet1/subnets/s");
    out.requests.resize(1);
    out.requests[0].name = "c1";
    out.requests[0].target = id_of("privateLinkServices/pls1").str();
    return out;
}
inline Facts world() {
    Facts facts;
    facts.networks[network().id.key()] = network();
    facts.balancers[balancer().id.key()] = balancer();
    return facts;
}

// "arm_code target" of each error; every message must name its target and end without a full stop
inline std::vector<std::string> said(const Errors& errors) {
    std::vector<std::string> out;
    for (const auto& error : errors) {
        EXPECT_EQ(error.message.rfind(error.target, 0), 0u) << error.message;
        EXPECT_NE(error.message.back(), '.') << error.message;
        out.push_back(error.arm_code + " " + error.target);
    }
    return out;
}

}  // namespace culvert::rules::testing
