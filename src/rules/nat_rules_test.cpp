// SPDX-License-Identifier: Apache-2.0
// Inbound NAT rules: bodies, references, and who gets which port.
#include "rules/testing.hpp"

namespace culvert::rules {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

model::InboundNatRule single(const model::LoadBalancer& lb, std::uint16_t port = 2222) {
    model::InboundNatRule out;
    out.name = "ssh";
    out.frontend = lb.id.child("frontendIPConfigurations", "fe1");
    out.frontend_port = port;
    out.backend_port = 22;
    return out;
}
model::InboundNatRule of_pool(const model::LoadBalancer& lb, std::uint16_t first = 5000,
                              std::uint16_t last = 5002) {
    auto out = single(lb, 0);
    out.name = "each";
    out.pool = lb.id.child("backendAddressPools", "bp1");
    out.range_first = first;
    out.range_last = last;
    return out;
}
model::LoadBalancer with(std::vector<model::InboundNatRule> rules) {
    auto out = balancer();
    out.nat_rules = std::move(rules);
    return out;
}
model::ResourceId rule_id(std::string_view name = "ssh") {
    return balancer().id.child("inboundNatRules", name);
}
model::NetworkInterface backend(const std::string& name) {
    auto out = nic();
    out.id = id_of("networkInterfaces/" + name);
    out.ip_configurations[0].pools = {balancer().id.child("backendAddressPools", "bp1")};
    return out;
}
model::NetworkInterface naming(const std::string& name, std::string_view rule = "ssh") {
    auto out = nic();
    out.id = id_of("networkInterfaces/" + name);
    out.ip_configurations[0].nat_rules = {rule_id(rule)};
    return out;
}
// "interface:port" of the rule's ports
std::vector<std::string> ports(const model::InboundNatRule& rule) {
    std::vector<std::string> out;
    for (const auto& target : rule.targets) {
        out.push_back(target.configuration.parent().name() + ":" + std::to_string(target.port));
    }
    return out;
}

const std::string kFirst = "properties.inboundNatRules[0].properties.";
const std::string kSecond = "properties.inboundNatRules[1].properties.";

TEST(ValidateNatRule, HasOneOfTwoForms) {
    const auto lb = balancer();
    EXPECT_THAT(validate(with({single(lb), of_pool(lb)})), IsEmpty());
    auto both = single(lb);
    both.range_first = 5000;
    EXPECT_THAT(said(validate(with({both}))),
                ElementsAre("InvalidRequestContent " + kFirst + "frontendPortRangeStart"));
    both = of_pool(lb);
    both.frontend_port = 80;
    EXPECT_THAT(said(validate(with({both}))),
                ElementsAre("InvalidRequestContent " + kFirst + "frontendPort"));
    EXPECT_THAT(said(validate(with({of_pool(lb, 0, 10)}))),
                ElementsAre("InvalidRequestContent " + kFirst + "frontendPortRangeStart"));
    EXPECT_THAT(said(validate(with({of_pool(lb, 10, 9)}))),
                ElementsAre("InvalidRequestContent " + kFirst + "frontendPortRangeStart"));
    auto six = with({single(lb)});
    six.frontends[0].six = net::Ipv6::parse("fd00:1::a00:9").value();
    EXPECT_THAT(said(validate(six)), ::testing::Contains("InvalidRequestContent " + kFirst +
                                                         "frontendIPConfiguration.id"));
    auto none = single(lb, 0);
    none.backend_port = 0;
    none.idle_minutes = 3;
    none.protocol = model::Protocol::kAll;
    EXPECT_THAT(said(validate(with({none}))),
                ElementsAre("InvalidRequestContent " + kFirst + "protocol",
                            "InvalidRequestContent " + kFirst + "frontendPort",
                            "InvalidRequestContent " + kFirst + "backendPort",
                            "InvalidRequestContent " + kFirst + "idleTimeoutInMinutes"));
    auto basic = with({of_pool(lb)});
    basic.sku = "Basic";
    EXPECT_THAT(said(validate(basic)),
                ElementsAre("InvalidRequestContent " + kFirst + "backendAddressPool.id"));
    auto addresses = with({of_pool(lb)});
    addresses.pools[0].addresses_json = "[{}]";
    EXPECT_THAT(said(validate(addresses)),
                ElementsAre("InvalidRequestContent " + kFirst + "backendAddressPool.id"));
}

TEST(ValidateNatRule, NamesOwnPartsAndHasANameOfItsOwn) {
    const auto lb = balancer();
    auto strange = of_pool(lb);
    strange.frontend = lb.id.child("frontendIPConfigurations", "no");
    strange.pool = id_of("loadBalancers/lb2/backendAddressPools/bp1");
    EXPECT_THAT(said(validate(with({strange}))),
                ElementsAre("InvalidResourceReference " + kFirst + "frontendIPConfiguration.id",
                            "InvalidResourceReference " + kFirst + "backendAddressPool.id"));
    auto again = single(lb, 2223);
    again.name = "SSH";
    EXPECT_EQ(validate(with({single(lb), again})).size(), 1U);
}

TEST(ValidateNatRule, PortsOfOneFrontendAndProtocolAreApart) {
    const auto lb = balancer();
    const std::string code = "RulesUseSameFrontendPortAndProtocol ";
    EXPECT_THAT(said(validate(with({single(lb, 443)}))),
                ElementsAre(code + kFirst + "frontendPort"));
    EXPECT_THAT(said(validate(with({of_pool(lb, 400, 500)}))),
                ElementsAre(code + kFirst + "frontendPortRangeStart"));
    EXPECT_THAT(said(validate(with({of_pool(lb, 5000, 5100), single(lb, 5050)}))),
                ElementsAre(code + kSecond + "frontendPort"));
    auto far = of_pool(lb, 5000, 5001);
    far.name = "other";
    EXPECT_THAT(said(validate(with({of_pool(lb, 4000, 5000), far}))),
                ElementsAre(code + kSecond + "frontendPortRangeStart"));
    EXPECT_THAT(validate(with({of_pool(lb, 4000, 4999), far, single(lb, 5002)})), IsEmpty());
    auto udp = single(lb, 443);
    udp.protocol = model::Protocol::kUdp;
    EXPECT_THAT(validate(with({udp})), IsEmpty());
    auto elsewhere = with({single(lb, 443)});
    elsewhere.frontends.push_back(elsewhere.frontends[0]);
    elsewhere.frontends[1].name = "fe2";
    elsewhere.nat_rules[0].frontend = lb.id.child("frontendIPConfigurations", "fe2");
    EXPECT_THAT(validate(elsewhere), IsEmpty());
}

TEST(ValidateNatRule, AFrontendWithHaPortsHasNone) {
    auto lb = with({single(balancer())});
    lb.rules[0].protocol = model::Protocol::kAll;
    lb.rules[0].frontend_port = 0;
    lb.rules[0].backend_port = 0;
    EXPECT_THAT(said(validate(lb)),
                ElementsAre("InvalidRequestContent " + kFirst + "frontendIPConfiguration.id"));
}

TEST(AdmitNatRule, AnInterfaceNamesOneThatLeadsToOne) {
    auto facts = world();
    facts.balancers[balancer().id.key()] = with({single(balancer()), of_pool(balancer())});
    const std::string field =
        "properties.ipConfigurations[0].properties.loadBalancerInboundNatRules[0].id";
    EXPECT_THAT(admit_put(naming("n"), nullptr, NicFacts{facts, ""}), IsEmpty());
    EXPECT_THAT(said(admit_put(naming("n", "none"), nullptr, NicFacts{facts, ""})),
                ElementsAre("InvalidResourceReference " + field));
    EXPECT_THAT(said(admit_put(naming("n", "each"), nullptr, NicFacts{facts, ""})),
                ElementsAre("InvalidRequestContent " + field));
    auto far = facts;
    far.balancers[balancer().id.key()].frontends[0].subnet =
        id_of("virtualNetworks/other/subnets/s");
    EXPECT_THAT(said(admit_put(naming("n"), nullptr, NicFacts{far, ""})),
                ElementsAre("InvalidResourceReference " + field));
    auto twice = naming("n");
    twice.ip_configurations[0].nat_rules.push_back(rule_id());
    EXPECT_EQ(validate(twice).size(), 1U);
    twice.ip_configurations[0].nat_rules = {balancer().id.child("probes", "ssh")};
    EXPECT_EQ(validate(twice).size(), 1U);
    EXPECT_EQ(references(naming("n")).back().field, field);
}

TEST(AdmitNatRule, OneThatAnInterfaceNamesStays) {
    const auto old = with({single(balancer())});
    BalancerFacts facts;
    facts.facts = world();
    facts.nat_rule_users["ssh"] = {id_of("networkInterfaces/n/ipConfigurations/c")};
    EXPECT_THAT(admit_put(old, &old, facts), IsEmpty());
    const std::string said_so = "InUseInboundNatRuleCannotBeDeleted ";
    EXPECT_THAT(said(admit_put(balancer(), &old, facts)),
                ElementsAre(said_so + "properties.inboundNatRules"));
    auto other_form = of_pool(balancer());
    other_form.name = "ssh";
    EXPECT_THAT(said(admit_put(with({other_form}), &old, facts)),
                ElementsAre(said_so + "properties.inboundNatRules"));
    EXPECT_THAT(said(admit_delete(old, facts)), ElementsAre(said_so + old.id.str()));
}

TEST(Seat, ARuleOfOneLeadsToTheOneThatNamesIt) {
    auto lb = with({single(balancer())});
    EXPECT_THAT(seat(lb, naming("a")), IsEmpty());
    EXPECT_THAT(ports(lb.nat_rules[0]), ElementsAre("a:2222"));
    EXPECT_THAT(seat(lb, naming("a")), IsEmpty()) << "again";
    const auto before = lb;
    EXPECT_THAT(said(seat(lb, naming("b"))),
                ElementsAre("InboundNatRuleInUse "
                            "properties.ipConfigurations[0].properties."
                            "loadBalancerInboundNatRules"));
    EXPECT_EQ(lb, before);
    EXPECT_THAT(seat(lb, nic()), IsEmpty()) << "another, which has nothing to do with it";
    EXPECT_EQ(lb, before);
    auto gone = naming("a");
    gone.ip_configurations.clear();
    EXPECT_THAT(seat(lb, gone), IsEmpty());
    EXPECT_THAT(ports(lb.nat_rules[0]), IsEmpty());
    EXPECT_THAT(seat(lb, naming("b")), IsEmpty());
    EXPECT_THAT(ports(lb.nat_rules[0]), ElementsAre("b:2222"));
}

TEST(Seat, WhoJoinsAPoolGetsTheLowestFreePortAndKeepsIt) {
    auto lb = with({of_pool(balancer())});
    for (const auto* name : {"c", "a", "b"}) {
        EXPECT_THAT(seat(lb, backend(name)), IsEmpty());
    }
    EXPECT_THAT(ports(lb.nat_rules[0]), ElementsAre("c:5000", "a:5001", "b:5002"));
    EXPECT_THAT(said(seat(lb, backend("d"))),
                ElementsAre("InboundNatRuleInUse "
                            "properties.ipConfigurations[0].properties."
                            "loadBalancerBackendAddressPools"));
    auto left = backend("a");
    left.ip_configurations[0].pools.clear();
    EXPECT_THAT(seat(lb, left), IsEmpty());
    EXPECT_THAT(ports(lb.nat_rules[0]), ElementsAre("c:5000", "b:5002")) << "nobody else moves";
    EXPECT_THAT(seat(lb, backend("d")), IsEmpty());
    EXPECT_THAT(ports(lb.nat_rules[0]), ElementsAre("c:5000", "d:5001", "b:5002"));
}

TEST(Seat, ARuleThatIsWrittenGivesThePoolPortsAndKeepsThoseGiven) {
    BalancerFacts facts;
    const auto of = [](const char* name) {
        return id_of(std::string("networkInterfaces/") + name + "/ipConfigurations/c");
    };
    facts.pool_users["bp1"] = {of("b"), of("a")};
    auto lb = with({of_pool(balancer())});
    EXPECT_THAT(seat(lb, facts), IsEmpty());
    EXPECT_THAT(ports(lb.nat_rules[0]), ElementsAre("a:5000", "b:5001"));
    facts.pool_users["bp1"] = {of("b"), of("c")};  // a has left without a word
    auto next = with({of_pool(balancer(), 5001, 5005)});
    keep_server_fields(next, lb);
    EXPECT_THAT(seat(next, facts), IsEmpty());
    EXPECT_THAT(ports(next.nat_rules[0]), ElementsAre("b:5001", "c:5002"));
    auto small = with({of_pool(balancer(), 6000, 6000)});
    keep_server_fields(small, lb);
    EXPECT_THAT(said(seat(small, facts)),
                ElementsAre("InvalidRequestContent " + kFirst + "frontendPortRangeEnd"));
    auto one = with({single(balancer(), 70)});
    one.nat_rules[0].targets = {{.configuration = of("a"), .port = 60}};
    facts.nat_rule_users["ssh"] = {of("a")};
    EXPECT_THAT(seat(one, facts), IsEmpty());
    EXPECT_THAT(ports(one.nat_rules[0]), ElementsAre("a:70")) << "its port was changed";
}

TEST(Seat, ABalancerHasNoMoreRulesAndPortsThanANodeTakes) {
    auto lb = with({of_pool(balancer(), 5000, 9000)});
    lb.rules.resize(1498, lb.rules[0]);
    EXPECT_THAT(seat(lb, backend("a")), IsEmpty());
    EXPECT_THAT(seat(lb, backend("b")), IsEmpty());
    EXPECT_EQ(seat(lb, backend("c")).size(), 1U);
}

TEST(KeepServerFields, ANatRuleKeepsItsPortsWhileItIsOfItsPool) {
    auto lb = with({of_pool(balancer())});
    EXPECT_THAT(seat(lb, backend("a")), IsEmpty());
    auto next = with({of_pool(balancer())});
    next.nat_rules[0].name = "EACH";
    keep_server_fields(next, lb);
    EXPECT_THAT(ports(next.nat_rules[0]), ElementsAre("a:5000"));
    next.nat_rules[0].targets.clear();
    next.nat_rules[0].pool = balancer().id.child("backendAddressPools", "bp2");
    keep_server_fields(next, lb);
    EXPECT_THAT(ports(next.nat_rules[0]), IsEmpty());
}

}  // namespace
}  // namespace culvert::rules
