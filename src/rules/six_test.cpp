// SPDX-License-Identifier: Apache-2.0
// IPv6: prefixes that make sense, and addresses that follow from those of IPv4.
#include "rules/testing.hpp"

#include <algorithm>

namespace culvert::rules {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

net::Ipv6Prefix six(std::string_view text) { return net::Ipv6Prefix::parse(text).value(); }

model::VirtualNetwork dual() {
    auto out = testing::network();
    out.prefixes6 = {six("fd00:1::/48")};
    out.subnets[0].prefixes6 = {six("fd00:1::/64")};
    return out;
}

model::NetworkInterface dual_nic() {
    auto out = testing::nic();
    out.ip_configurations[0].address = testing::ip("10.0.0.9");
    out.six = {.name = "six", .subnet = out.ip_configurations[0].subnet, .address = {}};
    return out;
}

Facts facts_of(const model::VirtualNetwork& network) {
    Facts out;
    out.networks[network.id.key()] = network;
    return out;
}

std::vector<std::string> messages(const Errors& errors) {
    std::vector<std::string> out;
    std::ranges::transform(errors, std::back_inserter(out), &Error::message);
    return out;
}

TEST(Six, ADualStackNetworkIsGood) { EXPECT_THAT(validate(dual()), IsEmpty()); }

TEST(Six, PrefixesHaveTheirSizesAndRanges) {
    const auto refuses = [](auto change, const std::string& why) {
        auto value = dual();
        change(value);
        EXPECT_THAT(messages(validate(value)), Contains(HasSubstr(why)));
    };
    refuses([](auto& v) { v.prefixes6 = {six("fd00::/47")}; }, "is not from /48 to /64");
    refuses([](auto& v) { v.prefixes6.push_back(six("fe80::/64")); }, "neither unique local");
    refuses([](auto& v) { v.prefixes6.push_back(six("ff02::/48")); }, "neither unique local");
    refuses([](auto& v) { v.prefixes6.push_back(six("::/48")); }, "neither unique local");
    refuses([](auto& v) { v.prefixes6.push_back(six("fd00:1:0:8::/61")); }, "overlaps");
    refuses([](auto& v) { v.subnets[0].prefixes6 = {six("fd00:1::/63")}; }, "is not a /64");
    refuses([](auto& v) { v.subnets[0].prefixes6 = {six("fd00:2::/64")}; }, "outside");
    refuses([](auto& v) { v.subnets[1].prefixes6 = {six("fd00:1::/64")}; }, "overlaps");
    refuses([](auto& v) { v.subnets[0].prefixes6.push_back(six("fd00:1:0:1::/64")); }, "leave one");
    refuses([](auto& v) { v.subnets[0].prefixes.clear(); }, "IPv6 needs an IPv4 prefix");
    refuses([](auto& v) { v.prefixes.clear(); }, "has IPv6 alone");
}

TEST(Six, APrefixInUseStays) {
    const auto old = dual();
    auto next = old;
    next.subnets[0].prefixes6 = {six("fd00:1:0:9::/64")};
    NetworkFacts facts;
    EXPECT_THAT(admit_put(next, &old, facts), IsEmpty());
    facts.users["s"] = {testing::nic().id};
    EXPECT_THAT(messages(admit_put(next, &old, facts)), Contains(HasSubstr("keep it or delete")));
    EXPECT_THAT(admit_put(old, &next, NetworkFacts{}), IsEmpty());
    auto without = old;
    without.subnets[0].prefixes6.clear();
    EXPECT_THAT(admit_put(old, &without, facts), IsEmpty()) << "one that comes hurts nobody";
}

TEST(Six, AnInterfaceIsInTheSubnetOfItsPrimaryConfiguration) {
    auto value = dual_nic();
    EXPECT_THAT(validate(value), IsEmpty());
    value.six->subnet = testing::id_of("virtualNetworks/Vnet1/subnets/nat");
    EXPECT_THAT(messages(validate(value)), Contains(HasSubstr("use that one")));
    value = dual_nic();
    value.six->name = value.ip_configurations[0].name;
    EXPECT_FALSE(validate(value).empty()) << "one name twice";
}

TEST(Six, AnInterfaceNeedsAPrefixAndStaysAsItIsWhileAttached) {
    const auto value = dual_nic();
    NicFacts facts{.facts = facts_of(dual()), .attached_to = {}};
    EXPECT_THAT(admit_put(value, nullptr, facts), IsEmpty());
    facts.facts = facts_of(testing::network());
    EXPECT_THAT(messages(admit_put(value, nullptr, facts)), Contains(HasSubstr("add a /64")));
    facts = {.facts = facts_of(dual()), .attached_to = "node1"};
    auto before = value;
    before.six.reset();
    EXPECT_THAT(messages(admit_put(value, &before, facts)), Contains(HasSubstr("culvert detach")));
    EXPECT_THAT(messages(admit_put(before, &value, facts)), Contains(HasSubstr("culvert detach")));
    EXPECT_THAT(admit_put(value, &value, facts), IsEmpty());
}

TEST(Six, AddressesFollowFromThoseOfIpv4) {
    auto nic = dual_nic();
    set_six(nic, facts_of(dual()));
    EXPECT_EQ(nic.six->address.str(), "fd00:1::a00:9");
    auto endpoint = testing::endpoint();
    endpoint.address = testing::ip("10.0.0.10");
    set_six(endpoint, facts_of(dual()));
    EXPECT_FALSE(endpoint.six) << "not asked for";
    endpoint.ip_version = model::IpVersion::kIpv6;
    set_six(endpoint, facts_of(dual()));
    EXPECT_EQ(endpoint.six->str(), "fd00:1::a00:a");
}

// Frontend and NAT address of IPv6, and a member by it.
model::LoadBalancer six_balancer() {
    auto out = testing::balancer();
    out.frontends[0].six.emplace();
    return out;
}
model::PrivateLinkService six_service() {
    auto out = testing::service();
    out.nat[0].subnet = testing::id_of("virtualNetworks/Vnet1/subnets/s");
    out.nat[0].six.emplace();
    return out;
}
model::NetworkInterface six_member() {
    auto out = dual_nic();
    out.six->pools = {testing::id_of("loadBalancers/lb1/backendAddressPools/bp1")};
    return out;
}
Facts dual_world(const model::LoadBalancer& balancer) {
    auto network = dual();
    network.subnets[0].service_policies = false;
    Facts out = facts_of(network);
    out.balancers[balancer.id.key()] = balancer;
    return out;
}

template <typename AllFacts>
AllFacts seeing(Facts facts) {
    AllFacts out;
    out.facts = std::move(facts);
    return out;
}

TEST(Six, AServiceOfIt) {
    const Facts facts = dual_world(six_balancer());
    EXPECT_THAT(validate(six_balancer()), IsEmpty());
    EXPECT_THAT(admit_put(six_balancer(), nullptr, seeing<BalancerFacts>(facts)), IsEmpty());
    EXPECT_THAT(validate(six_service()), IsEmpty());
    EXPECT_THAT(admit_put(six_service(), nullptr, seeing<ServiceFacts>(facts)), IsEmpty());
    EXPECT_THAT(validate(six_member()), IsEmpty());
    EXPECT_THAT(admit_put(six_member(), nullptr, NicFacts{.facts = facts, .attached_to = {}}),
                IsEmpty());
    auto service = six_service();
    service.nat[0].address = testing::ip("10.0.0.200");
    set_six(service, facts);
    EXPECT_EQ(service.nat[0].six->str(), "fd00:1::a00:c8");
    auto balancer = six_balancer();
    balancer.frontends[0].address = testing::ip("10.0.0.100");
    set_six(balancer, facts);
    EXPECT_EQ(balancer.frontends[0].six->str(), "fd00:1::a00:64");
    auto next = six_balancer();
    keep_server_fields(next, balancer);
    EXPECT_EQ(next, balancer) << "the same again is the same";
}

TEST(Six, ItNeedsPrefixesThere) {
    Facts facts = dual_world(six_balancer());
    facts.networks[testing::network().id.key()] = testing::network();
    EXPECT_THAT(messages(admit_put(six_balancer(), nullptr, seeing<BalancerFacts>(facts))),
                Contains(HasSubstr("add a /64")));
    EXPECT_THAT(messages(admit_put(six_service(), nullptr, seeing<ServiceFacts>(facts))),
                Contains(HasSubstr("add a /64")));
    auto outside = six_balancer();
    outside.frontends[0].subnet = {};
    outside.frontends[0].public_ip = testing::id_of("publicIPAddresses/ip");
    EXPECT_THAT(messages(validate(outside)), Contains(HasSubstr("internal frontend")));
}

TEST(Six, AServiceHasOneVersionAndKeepsIt) {
    auto mixed = six_service();
    mixed.nat.push_back(mixed.nat[0]);
    mixed.nat[1].name = "n1";
    mixed.nat[1].primary = false;
    mixed.nat[1].six.reset();
    EXPECT_THAT(messages(validate(mixed)), Contains(HasSubstr("of one version")));
    const auto six = seeing<ServiceFacts>(dual_world(six_balancer()));
    const auto four = seeing<ServiceFacts>(dual_world(testing::balancer()));
    auto plain = six_service();
    plain.nat[0].six.reset();
    EXPECT_THAT(messages(admit_put(six_service(), nullptr, four)),
                Contains(HasSubstr("frontend 'fe1' is of IPv4")));
    EXPECT_THAT(messages(admit_put(plain, nullptr, six)),
                Contains(HasSubstr("frontend 'fe1' is of IPv6")));
    const auto old = six_service();
    EXPECT_THAT(messages(admit_put(plain, &old, four)), Contains(HasSubstr("create another one")));
    auto used = seeing<BalancerFacts>(six.facts);
    used.frontend_users["fe1"] = {old.id};
    const auto before = six_balancer();
    EXPECT_THAT(messages(admit_put(testing::balancer(), &before, used)),
                Contains(HasSubstr("stays IPv6")));
}

TEST(Six, BackendsOfAPoolAreReachedByOneVersion) {
    auto both = six_balancer();
    both.frontends.push_back(testing::balancer().frontends[0]);
    both.frontends[1].name = "fe2";
    EXPECT_EQ(reached_by_six(both, "BP1"), true);
    EXPECT_EQ(reached_by_six(both, "none"), std::nullopt);
    both.rules.push_back(both.rules[0]);
    both.rules[1].name = "r2";
    both.rules[1].frontend = both.id.child("frontendIPConfigurations", "fe2");
    EXPECT_THAT(messages(validate(both)), Contains(HasSubstr("of IPv4 and of IPv6")));
}

TEST(Six, AMemberIsOneByTheVersionOfItsPool) {
    const auto told = [](const model::NetworkInterface& nic, const model::LoadBalancer& balancer) {
        return messages(
            admit_put(nic, nullptr, NicFacts{.facts = dual_world(balancer), .attached_to = {}}));
    };
    auto four = six_member();
    std::swap(four.six->pools, four.ip_configurations[0].pools);
    EXPECT_THAT(told(four, six_balancer()), Contains(HasSubstr("the interface's IPv6")));
    EXPECT_THAT(told(six_member(), testing::balancer()), Contains(HasSubstr("interface's IPv4")));
    auto ruleless = testing::balancer();
    ruleless.rules.clear();
    EXPECT_THAT(told(six_member(), ruleless), Contains(HasSubstr("has no IPv6 frontend")));
    EXPECT_THAT(told(four, ruleless), IsEmpty());
}

TEST(Six, ARuleOfItNeedsMembersOfIt) {
    auto before = six_balancer();
    before.rules.clear();
    const auto next = six_balancer();
    EXPECT_THAT(pools_to_know(next, &before), ::testing::ElementsAre("bp1"));
    EXPECT_THAT(pools_to_know(next, &next), IsEmpty());
    EXPECT_THAT(pools_to_know(next, nullptr), IsEmpty());
    auto plain = testing::balancer();
    plain.rules.clear();
    const auto ruled = testing::balancer();
    EXPECT_THAT(pools_to_know(ruled, &plain), IsEmpty()) << "nobody has to do with IPv6";
    const auto member = six_member().id.child("ipConfigurations", "six");
    auto facts = seeing<BalancerFacts>(dual_world(next));
    facts.pool_users["bp1"] = {member};
    EXPECT_THAT(messages(admit_put(next, &before, facts)),
                Contains(HasSubstr("reach backends of pool 'bp1' by IPv6")));
    facts.six_members = {member.key()};
    EXPECT_THAT(admit_put(next, &before, facts), IsEmpty());
    EXPECT_THAT(messages(admit_put(testing::balancer(), &before, facts)),
                Contains(HasSubstr("by IPv4")));
}

TEST(Six, AConnectionsOwnNatAddressIsOfIt) {
    auto service = six_service();
    service.nat_per_connection = true;
    service.nat[0].address = testing::ip("10.0.0.200");
    service.nat[0].six = *net::Ipv6::parse("fd00:1::a00:c8");
    std::vector<model::PrivateEndpointConnection> connections(1);
    connections[0].state.status = model::ConnectionStatus::kApproved;
    ASSERT_TRUE(share_nat(service, connections));
    EXPECT_EQ(connections[0].nat_six, service.nat[0].six);
    connections[0].state.status = model::ConnectionStatus::kRejected;
    ASSERT_TRUE(share_nat(service, connections));
    EXPECT_FALSE(connections[0].nat || connections[0].nat_six);
}

TEST(Six, AnEndpointsVersionIsForEverAndNeedsAPrefix) {
    auto next = testing::endpoint();
    next.ip_version = model::IpVersion::kDualStack;
    EndpointFacts facts{.facts = facts_of(dual())};
    EXPECT_THAT(admit_put(next, nullptr, facts), IsEmpty());
    facts.facts = facts_of(testing::network());
    EXPECT_THAT(messages(admit_put(next, nullptr, facts)), Contains(HasSubstr("ipVersionType")));
    auto old = next;
    next.ip_version = model::IpVersion::kIpv4;
    EXPECT_THAT(messages(admit_put(next, &old, facts)), Contains(HasSubstr("cannot be changed")));
    next.ip_version = model::IpVersion::kUnsaid;
    keep_server_fields(next, old);
    EXPECT_EQ(next.ip_version, model::IpVersion::kDualStack) << "a client that does not know it";
}

}  // namespace
}  // namespace culvert::rules
