// SPDX-License-Identifier: Apache-2.0
#include "rules/testing.hpp"

#include <set>

namespace culvert::rules {
namespace {

using namespace testing;

TEST(Candidates, AreEveryUsableAddressOnceFromAnyStart) {
    auto value = subnet("s", "10.0.0.0/28");
    value.prefixes.push_back(prefix("10.0.9.0/29"));
    EXPECT_EQ(usable_count(value), 11u + 3u);
    for (const std::uint64_t start :
         {std::uint64_t{0}, std::uint64_t{5}, std::uint64_t{13}, std::uint64_t{14}, UINT64_MAX}) {
        Candidates candidates(value, start);
        std::set<net::Ipv4> seen;
        while (const auto address = candidates.next()) {
            EXPECT_TRUE(usable(value, *address)) << address->str();
            EXPECT_TRUE(seen.insert(*address).second) << address->str();
        }
        EXPECT_EQ(seen.size(), 14u);
        EXPECT_FALSE(candidates.next());
    }
}

TEST(Candidates, BeginInTheUpperHalf) {
    auto value = subnet("s", "10.0.0.0/28");
    value.prefixes.push_back(prefix("10.0.9.0/29"));
    EXPECT_EQ(Candidates(value, 0).next()->str(), "10.0.0.11");
    EXPECT_EQ(Candidates(value, 3).next()->str(), "10.0.0.14");
    EXPECT_EQ(Candidates(value, 4).next()->str(), "10.0.9.4");
    EXPECT_EQ(Candidates(value, 7).next()->str(), "10.0.0.11");
}

TEST(Candidates, OfATinySubnetAreNone) {
    EXPECT_FALSE(Candidates(subnet("s", "10.0.0.0/30"), 3).next());
    EXPECT_FALSE(Candidates(model::Subnet{}, 3).next());
    EXPECT_EQ(subnet_full(id_of("virtualNetworks/v/subnets/s"), "f").arm_code, "SubnetIsFull");
}

TEST(Candidates, WorkAtTheTopOfTheAddressSpace) {
    const auto value = subnet("s", "255.255.255.248/29");
    Candidates candidates(value, 1);
    EXPECT_EQ(candidates.next()->str(), "255.255.255.254");
    EXPECT_EQ(candidates.next()->str(), "255.255.255.252");
}

TEST(Slots, AreWhatSetAddressFills) {
    auto balancer_value = balancer();
    balancer_value.frontends.insert(balancer_value.frontends.begin(), model::Frontend{});
    balancer_value.frontends[0].name = "public";
    auto slots = address_slots(balancer_value);
    ASSERT_EQ(slots.size(), 1u) << "a public frontend needs none";
    EXPECT_EQ(slots[0].index, 1u);
    EXPECT_FALSE(slots[0].address);
    set_address(balancer_value, slots[0].index, ip("10.0.0.7"));
    EXPECT_EQ(address_slots(balancer_value)[0].address, ip("10.0.0.7"));

    auto pe = endpoint();
    EXPECT_FALSE(address_slots(pe)[0].address);
    set_address(pe, 0, ip("10.0.0.8"));
    EXPECT_EQ(pe.address, ip("10.0.0.8"));
    EXPECT_EQ(address_slots(pe)[0].address, ip("10.0.0.8"));
}

TEST(References, NameTheirFields) {
    auto value = nic();
    value.ip_configurations[0].pools = {id_of("loadBalancers/l/backendAddressPools/p")};
    const auto refs = references(value);
    ASSERT_EQ(refs.size(), 2u);
    EXPECT_EQ(refs[0].field, "properties.ipConfigurations[0].properties.subnet.id");
    EXPECT_EQ(join_permission(refs[0].id), "Microsoft.Network/virtualNetworks/subnets/join/action");
    EXPECT_EQ(join_permission(refs[1].id),
              "Microsoft.Network/loadBalancers/backendAddressPools/join/action");
    EXPECT_EQ(references(service()).size(), 2u);
    EXPECT_EQ(references(endpoint()).size(), 1u);
    EXPECT_EQ(references(balancer()).size(), 1u);
}

// --- what a PUT keeps ----------------------------------------------------------------------------

TEST(KeepServerFields, ADynamicAddressStaysWithItsConfigurationAndSubnet) {
    auto old = nic();
    old.nic_index = 7;
    old.nic_generation = 2;
    old.resource_guid = "g";
    old.ip_configurations[0].address = ip("10.0.0.9");
    auto next = nic();
    next.ip_configurations[0].name = "C";
    keep_server_fields(next, old);
    EXPECT_EQ(next.nic_index, 7u);
    EXPECT_EQ(next.nic_generation, 2u);
    EXPECT_EQ(next.resource_guid, "g");
    EXPECT_EQ(next.ip_configurations[0].address, ip("10.0.0.9"));

    next = nic();
    next.ip_configurations[0].subnet = id_of("virtualNetworks/Vnet1/subnets/nat");
    keep_server_fields(next, old);
    EXPECT_FALSE(next.ip_configurations[0].address);

    next = nic();
    next.ip_configurations[0].allocation = model::Allocation::kStatic;
    next.ip_configurations[0].address = ip("10.0.0.10");
    keep_server_fields(next, old);
    EXPECT_EQ(next.ip_configurations[0].address, ip("10.0.0.10"));
}

TEST(KeepServerFields, AServiceKeepsItsAliasAndABalancerItsPools) {
    auto old = service();
    old.alias = "a";
    old.service_index = 3;
    old.nic = nic().id;
    auto next = service();
    keep_server_fields(next, old);
    EXPECT_EQ(next, old);

    auto old_lb = balancer();
    old_lb.pools[0].pool_index = 9;
    auto next_lb = balancer();
    next_lb.pools.push_back({.name = "new", .pool_index = 0, .addresses_json = ""});
    keep_server_fields(next_lb, old_lb);
    EXPECT_EQ(next_lb.pools[0].pool_index, 9u);
    EXPECT_EQ(next_lb.pools[1].pool_index, 0u);
}

TEST(KeepServerFields, AnEndpointKeepsItsNicAddressAndConnection) {
    auto old = endpoint();
    old.nic = nic().id;
    old.address = ip("10.0.0.9");
    old.connection = id_of("privateLinkServices/p/privateEndpointConnections/c");
    old.custom_nic_name = "n";
    old.disconnected_description = "d";
    auto next = endpoint();
    keep_server_fields(next, old);
    EXPECT_EQ(next, old);
}

}  // namespace
}  // namespace culvert::rules
