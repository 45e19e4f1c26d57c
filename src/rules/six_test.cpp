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
