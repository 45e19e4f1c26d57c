// SPDX-License-Identifier: Apache-2.0
// Inbound NAT rules on their way to nodes: a port leads to the pool of one interface alone.
#include "intent/scene_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::intent {
namespace {

using namespace scene;
using testing::ElementsAre;
using testing::IsEmpty;

// A provider with two backends on nodes of their own, a consumer with an endpoint on a third.
class NatRuleTest : public testing::Test {
  protected:
    void SetUp() override {
        world.put(vnet("provider", 100));
        world.put(vnet("consumer", 200));
        for (std::uint32_t i = 1; i <= 4; ++i) {
            world.put(node("n" + std::to_string(i), i));
        }
        put_backend("web1", 1, "10.0.1.4", "n1");
        put_backend("web2", 2, "10.0.1.5", "n2");
        world.put(nic("client", 3, "consumer", "10.0.1.4"));
        world.put(attachment("client", "n3"));
        world.put(service("pls", 21, "lb", "provider", "10.0.1.200"));
        world.put(endpoint("pe", "consumer", "10.0.1.9", "pls"));
        world.put(connection("pls", "pe", 31));
    }
    model::NetworkInterface backend(const std::string& name, std::uint32_t index,
                                    const std::string& address, bool pooled = true) {
        auto value = nic(name, index, "provider", address);
        if (pooled) {
            value.ip_configurations[0].pools = {pool("lb")};
        }
        return value;
    }
    void put_backend(const std::string& name, std::uint32_t index, const std::string& address,
                     const std::string& on) {
        world.put(backend(name, index, address));
        world.put(attachment(name, on));
    }
    static model::NatTarget target(std::string_view name, std::uint16_t port) {
        return {
            .configuration = id("networkInterfaces", name).child("ipConfigurations", "ipconfig1"),
            .port = port};
    }
    model::LoadBalancer with_pool_rule() {
        auto lb = balancer("lb", "provider", "10.0.1.100", 11);
        model::InboundNatRule rule;
        rule.name = "each";
        rule.frontend = frontend("lb");
        rule.pool = pool("lb");
        rule.range_first = 5000;
        rule.range_last = 5009;
        rule.backend_port = 22;
        rule.idle_minutes = 30;
        rule.tcp_reset = true;
        rule.targets = {target("web1", 5000), target("web2", 5001)};
        lb.nat_rules = {rule};
        return lb;
    }
    // The node's objects by key.
    std::map<KeyTuple, api::Object> of(const std::string& name) {
        std::map<KeyTuple, api::Object> out;
        for (const auto& object : world.snapshot(name).upsert()) {
            out[key_of(object)] = object;
        }
        return out;
    }
    // "port->pool:backend port" of the service's rules on a node
    std::vector<std::string> rules(const std::string& name) {
        std::vector<std::string> out;
        for (const auto& rule : of(name)[{api::Object::kService, 21, 0}].service().rules()) {
            out.push_back(std::to_string(rule.port()) + "->" + std::to_string(rule.pool()) + ":" +
                          std::to_string(rule.backend_port()));
        }
        return out;
    }
    std::vector<std::uint32_t> members(const std::string& name, std::uint32_t pool) {
        const auto held = of(name);
        const auto at = held.find({api::Object::kPool, pool, 0});
        if (at == held.end()) {
            return {999};
        }
        return {at->second.pool().members().begin(), at->second.pool().members().end()};
    }

    static constexpr std::uint32_t kOne = model::kNicPools + 1;
    static constexpr std::uint32_t kTwo = model::kNicPools + 2;
    const std::string lb_rule = "443->11:8443";
    const std::string one = "5000->" + std::to_string(kOne) + ":22";
    const std::string two = "5001->" + std::to_string(kTwo) + ":22";
    World world{Options{}};
};

TEST_F(NatRuleTest, each_port_leads_to_its_interface_alone) {
    world.put(with_pool_rule());
    for (const char* name : {"n1", "n2", "n3"}) {
        EXPECT_THAT(rules(name), ElementsAre(lb_rule, one, two)) << name;
        EXPECT_THAT(members(name, kOne), ElementsAre(1)) << name;
        EXPECT_THAT(members(name, kTwo), ElementsAre(2)) << name;
    }
    const auto held = of("n3");
    const auto& rule = held.at({api::Object::kService, 21, 0}).service().rules(1);
    EXPECT_EQ(rule.protocol(), 6U);
    EXPECT_EQ(rule.idle_s(), 1800U);
    EXPECT_EQ(rule.probe(), 0U);
    EXPECT_TRUE(rule.reset());
    const auto& pool = held.at({api::Object::kPool, kOne, 0}).pool();
    EXPECT_EQ(pool.resource_id(), id("networkInterfaces", "web1").str());
    EXPECT_EQ(pool.probes_size(), 0);
    EXPECT_FALSE(of("n4").contains({api::Object::kPool, kOne, 0}));
}

TEST_F(NatRuleTest, a_rule_of_a_pool_needs_a_load_balancing_rule_beside_it) {
    auto lb = with_pool_rule();
    lb.rules.clear();
    world.put(lb);
    EXPECT_THAT(rules("n3"), IsEmpty());
    EXPECT_THAT(members("n3", kOne), ElementsAre(999)) << "it is not even told";
    lb.nat_rules[0].pool = {};
    lb.nat_rules[0].frontend_port = 5000;
    lb.nat_rules[0].targets = {target("web1", 5000)};
    world.put(lb);
    EXPECT_THAT(rules("n3"), IsEmpty()) << "the interface does not name it";
    auto named = backend("web1", 1, "10.0.1.4", false);
    named.ip_configurations[0].nat_rules = {lb.id.child("inboundNatRules", "EACH")};
    world.put(named);
    EXPECT_THAT(rules("n3"), ElementsAre(one)) << "one of an interface needs none";
    EXPECT_THAT(rules("n1"), ElementsAre(one));
    EXPECT_THAT(rules("n2"), IsEmpty());
}

// The balancer's document may say more than the interface's: then nothing leads there.
TEST_F(NatRuleTest, what_only_the_balancer_says_leads_nowhere) {
    world.put(with_pool_rule());
    world.put(backend("web1", 1, "10.0.1.4", false));
    EXPECT_THAT(rules("n3"), ElementsAre(lb_rule, two));
    EXPECT_FALSE(of("n1").contains({api::Object::kService, 21, 0}));
    world.put(backend("web1", 1, "10.0.1.4"));
    EXPECT_THAT(rules("n3"), ElementsAre(lb_rule, one, two));
    world.erase(id("networkInterfaces", "web1"));
    EXPECT_THAT(rules("n3"), ElementsAre(lb_rule, two));
    EXPECT_THAT(members("n3", kOne), ElementsAre(999));
    put_backend("web1", 9, "10.0.1.4", "n1");  // another one of that name
    const std::string nine = std::to_string(model::kNicPools + 9);
    EXPECT_THAT(rules("n3"), ElementsAre(lb_rule, "5000->" + nine + ":22", two));
    EXPECT_THAT(members("n3", model::kNicPools + 9), ElementsAre(9));
}

TEST_F(NatRuleTest, an_interface_that_is_attached_nowhere_keeps_its_port_without_a_member) {
    world.put(with_pool_rule());
    world.erase_attachment(id("networkInterfaces", "web1"));
    EXPECT_THAT(rules("n3"), ElementsAre(lb_rule, one, two));
    EXPECT_THAT(members("n3", kOne), IsEmpty());
    world.put(attachment("web1", "n4"));
    EXPECT_THAT(members("n3", kOne), ElementsAre(1));
    EXPECT_THAT(rules("n4"), ElementsAre(lb_rule, one, two));
    EXPECT_FALSE(of("n1").contains({api::Object::kService, 21, 0}));
}

TEST_F(NatRuleTest, a_load_balancing_rule_has_its_port_first_and_a_service_has_a_bound) {
    auto lb = with_pool_rule();
    lb.nat_rules[0].targets[0].port = 443;
    lb.nat_rules.push_back(lb.nat_rules[0]);
    lb.nat_rules[1].protocol = model::Protocol::kUdp;
    world.put(lb);
    EXPECT_THAT(rules("n3"),
                ElementsAre(lb_rule, two, "443->" + std::to_string(kOne) + ":22", two));
    lb.rules.resize(1499, lb.rules[0]);
    for (std::uint16_t i = 0; i < 1499; ++i) {
        lb.rules[i].frontend_port = static_cast<std::uint16_t>(10000 + i);
    }
    world.put(lb);
    EXPECT_EQ(rules("n3").size(), 1500U) << "agents take no more";
}

}  // namespace
}  // namespace culvert::intent
