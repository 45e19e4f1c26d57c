// SPDX-License-Identifier: Apache-2.0
// Inbound NAT rules: who has which port stands in the balancer's document, and changes with those
// of the interfaces.
#include "control/handlers_test.hpp"
#include "control/verifier.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <thread>

namespace culvert::control::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

// A store in which something happens between what a handler has read and what it writes.
class Interrupted final : public store::Store {
  public:
    Result<store::TxnResult> txn(const store::Txn& txn) override {
        if (const auto act =
                before_.with([](auto& slot) { return std::exchange(slot, nullptr); })) {
            act();
        }
        return inner_->txn(txn);
    }
    Result<store::RangeResult> range(const store::Range& range) override {
        return inner_->range(range);
    }
    Result<std::unique_ptr<store::Watch>> watch(std::string key, std::string range_end,
                                                std::int64_t after, store::WatchFn fn) override {
        return inner_->watch(std::move(key), std::move(range_end), after, std::move(fn));
    }
    std::int64_t revision() override { return inner_->revision(); }
    // Once, before the next transaction.
    void before(std::function<void()> act) {
        before_.with([&](auto& slot) { slot = std::move(act); });
    }

  private:
    std::unique_ptr<store::Store> inner_ = store::open_memory();
    Guarded<std::function<void()>> before_;
};

class NatRules : public Handlers {
  protected:
    NatRules() : Handlers(std::make_unique<Interrupted>()) {
        make_network(kProvider);
        make_service();
    }
    std::string nic(const std::string& name) const {
        return provider_network_ + "networkInterfaces/" + name;
    }
    // `in`: more properties of the IP configuration
    std::string nic_body(const std::string& in) const {
        return fmt::format(
            R"({{"location":"local","properties":{{"ipConfigurations":[{{"name":"ip","properties":
                 {{"subnet":{{"id":"{}virtualNetworks/v/subnets/s"}}{}}}}}]}}}})",
            provider_network_, in);
    }
    std::string in_pool() const {
        return nic_body(fmt::format(
            R"(,"loadBalancerBackendAddressPools":[{{"id":"{}/backendAddressPools/bp"}}])", lb_));
    }
    std::string naming(const std::string& rule) const {
        return nic_body(fmt::format(
            R"(,"loadBalancerInboundNatRules":[{{"id":"{}/inboundNatRules/{}"}}])", lb_, rule));
    }
    std::string rule_body(const std::string& ports) const {
        return fmt::format(
            R"({{"properties":{{"protocol":"Tcp","backendPort":22,{},
                 "frontendIPConfiguration":{{"id":"{}/frontendIPConfigurations/fe"}}}}}})",
            ports, lb_);
    }
    std::string range(int first, int last) const {
        return rule_body(fmt::format(
            R"("frontendPortRangeStart":{},"frontendPortRangeEnd":{},
               "backendAddressPool":{{"id":"{}/backendAddressPools/bp"}})",
            first, last, lb_));
    }
    // "interface:port" of the rule's ports, as stored
    std::vector<std::string> ports(const std::string& rule) {
        std::vector<std::string> out;
        const auto stored = load<model::LoadBalancer>(*store_, *model::ResourceId::parse(lb_));
        for (const auto& each : (*stored)->value.nat_rules) {
            for (const auto& target : each.targets) {
                if (each.name == rule) {
                    out.push_back(target.configuration.parent().name() + ":" +
                                  std::to_string(target.port));
                }
            }
        }
        return out;
    }
    std::vector<Finding> findings() { return verify(*store_)->findings; }
    void meanwhile(std::function<void()> act) {
        static_cast<Interrupted&>(*store_).before(std::move(act));
    }

    const std::string lb_ = provider_network_ + "loadBalancers/lb";
    const std::string ssh_ = lb_ + "/inboundNatRules/ssh";
    const std::string each_ = lb_ + "/inboundNatRules/each";
};

TEST_F(NatRules, OneIsMadeReadListedAndDeleted) {
    const auto body = made(ssh_, rule_body(R"("frontendPort":2222)"));
    EXPECT_EQ(text(body, "id"), ssh_);
    EXPECT_EQ(text(get(ssh_).body, "properties.frontendPort"), "2222");
    EXPECT_EQ(list(lb_ + "/inboundNatRules").body.at("value").as_array().size(), 1U);
    const auto revision = store_->revision();
    made(ssh_, boost::json::serialize(body), 200);
    made(lb_, boost::json::serialize(get(lb_).body), 200);
    EXPECT_EQ(store_->revision(), revision) << "the same again";
    expect_put_refused(ssh_, rule_body(R"("frontendPort":80)"), 400,
                       "RulesUseSameFrontendPortAndProtocol");
    EXPECT_EQ(remove(ssh_).status, 200);
    EXPECT_EQ(remove(ssh_).status, 204);
    EXPECT_EQ(get(ssh_).status, 404);
}

TEST_F(NatRules, OneLeadsToTheInterfaceThatNamesIt) {
    made(ssh_, rule_body(R"("frontendPort":2222)"));
    made(nic("a"), naming("ssh"));
    EXPECT_EQ(text(get(ssh_).body, "properties.backendIPConfiguration.id"),
              nic("a") + "/ipConfigurations/ip");
    EXPECT_EQ(text(get(nic("a")).body,
                   "properties.ipConfigurations[0].properties.loadBalancerInboundNatRules[0].id"),
              ssh_);
    EXPECT_THAT(findings(), IsEmpty());
    expect_put_refused(nic("b"), naming("ssh"), 400, "InboundNatRuleInUse");
    expect_put_refused(nic("b"), naming("none"), 400, "InvalidResourceReference");
    auto revision = store_->revision();
    expect_refused(remove(ssh_), 400, "InUseInboundNatRuleCannotBeDeleted", revision);
    EXPECT_EQ(remove(service_).status, 200);
    revision = store_->revision();
    expect_refused(remove(lb_), 400, "InUseInboundNatRuleCannotBeDeleted", revision);
    made(ssh_, rule_body(R"("frontendPort":2223)"), 200);
    EXPECT_THAT(ports("ssh"), ElementsAre("a:2223"));
    made(nic("a"), nic_body(""), 200);
    EXPECT_THAT(ports("ssh"), IsEmpty());
    made(nic("b"), naming("ssh"));
    EXPECT_THAT(ports("ssh"), ElementsAre("b:2223"));
    EXPECT_EQ(remove(nic("b")).status, 200);
    EXPECT_THAT(ports("ssh"), IsEmpty());
    EXPECT_THAT(findings(), IsEmpty());
    EXPECT_EQ(remove(ssh_).status, 200);
    EXPECT_EQ(remove(lb_).status, 200);
}

TEST_F(NatRules, EachOfAPoolHasAPortThatStays) {
    made(nic("b"), in_pool());
    made(nic("a"), in_pool());
    expect_put_refused(each_, range(5000, 5000), 400, "InvalidRequestContent");
    made(each_, range(5000, 5002));
    EXPECT_THAT(ports("each"), ElementsAre("a:5000", "b:5001"));
    made(nic("c"), in_pool());
    expect_put_refused(nic("d"), in_pool(), 400, "InboundNatRuleInUse");
    EXPECT_EQ(remove(nic("a")).status, 200);
    EXPECT_THAT(ports("each"), ElementsAre("b:5001", "c:5002"));
    made(nic("d"), in_pool());
    EXPECT_THAT(ports("each"), ElementsAre("d:5000", "b:5001", "c:5002"));
    made(lb_, boost::json::serialize(get(lb_).body), 200);
    EXPECT_THAT(ports("each"), ElementsAre("d:5000", "b:5001", "c:5002"));
    EXPECT_THAT(findings(), IsEmpty());

    const std::string query = "POST:queryInboundNatRulePortMapping";
    const std::string pool = lb_ + "/backendAddressPools/bp";
    const auto asked = [&](const std::string& body) {
        return text(call(query, pool, body).body, "inboundNatRulePortMappings[0].frontendPort");
    };
    EXPECT_EQ(
        asked(fmt::format(R"({{"ipConfiguration":{{"id":"{}/ipConfigurations/ip"}}}})", nic("c"))),
        "5002");
    const std::string address =
        text(get(nic("b")).body, "properties.ipConfigurations[0].properties.privateIPAddress");
    EXPECT_EQ(asked(fmt::format(R"({{"ipAddress":"{}"}})", address)), "5001");
    const Reply none = call(query, pool, R"({"ipAddress":"10.0.0.99"})");
    EXPECT_EQ(none.status, 200);
    EXPECT_TRUE(none.body.at("inboundNatRulePortMappings").as_array().empty());
    EXPECT_EQ(call(query, pool, "{}").status, 400);
    EXPECT_EQ(call(query, pool + "x", R"({"ipAddress":"10.0.0.99"})").status, 404);
    made(nic("b"), nic_body(""), 200);
    EXPECT_THAT(ports("each"), ElementsAre("d:5000", "c:5002"));
    EXPECT_EQ(remove(each_).status, 200) << "interfaces do not hold it";
    EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(NatRules, AStrangerCannotTakeThePortOfARule) {
    made(ssh_, rule_body(R"("frontendPort":2222)"));
    forbid("guest", "Microsoft.Network/loadBalancers/inboundNatRules/join/action", ssh_);
    caller_ = "guest";
    expect_put_refused(nic("a"), naming("ssh"), 403, "LinkedAuthorizationFailed");
    caller_ = "owner";
    make_network(kConsumer);
    const std::string elsewhere = consumer_network_ + "networkInterfaces/a";
    expect_put_refused(elsewhere, naming("ssh"), 400, "InvalidResourceReference");
    EXPECT_THAT(ports("ssh"), IsEmpty());
}

TEST_F(NatRules, WhoLeavesWhileTheRuleIsWrittenHasNoPort) {
    made(nic("a"), in_pool());
    made(nic("b"), in_pool());
    meanwhile([&] { made(nic("a"), nic_body(""), 200); });
    made(each_, range(5000, 5002));
    EXPECT_THAT(ports("each"), ElementsAre("b:5001"));
    made(nic("a"), in_pool(), 200);
    meanwhile([&] { EXPECT_EQ(remove(nic("a")).status, 200); });
    made(each_, range(6000, 6002), 200);
    EXPECT_THAT(ports("each"), ElementsAre("b:6000")) << "it had a port: the rule came second";
    EXPECT_EQ(remove(each_).status, 200);
    meanwhile([&] { made(each_, range(5000, 5002)); });
    EXPECT_EQ(remove(nic("b")).status, 200);
    EXPECT_THAT(ports("each"), IsEmpty());
    meanwhile([&] { made(nic("c"), in_pool()); });
    made(each_, range(7000, 7002), 200);
    EXPECT_THAT(ports("each"), ElementsAre("c:7000"));
    EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(NatRules, PortsGivenAtOnceAreDifferentAndComeBack) {
    constexpr int kThreads = 8;
    constexpr int kEach = 4;
    const auto all = [&](const auto& act) {
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < kEach; ++i) {
                    act(nic(fmt::format("n{}", t * kEach + i)), t);
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
    };
    all([&](const std::string& path, int t) {
        made(path, in_pool());
        if (t == 0) {  // the rule comes and changes meanwhile
            EXPECT_LT(put(each_, range(5000, 5000 + kThreads * kEach - 1)).status, 202);
        }
    });
    EXPECT_EQ(ports("each").size(), std::size_t{kThreads * kEach});
    EXPECT_THAT(findings(), IsEmpty());
    all([&](const std::string& path, int t) {
        if (t == 0) {
            EXPECT_EQ(remove(each_).status / 100, 2);
            EXPECT_LT(put(each_, range(5000, 5040)).status, 202);
        }
        EXPECT_EQ(remove(path).status, 200);
    });
    EXPECT_THAT(ports("each"), IsEmpty());
    EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(NatRules, TheVerifierFindsWhatOnlyOneSideSays) {
    made(ssh_, rule_body(R"("frontendPort":2222)"));
    made(nic("a"), naming("ssh"));
    const auto stored = load<model::LoadBalancer>(*store_, *model::ResourceId::parse(lb_));
    const auto write = [&](const model::LoadBalancer& value) {
        const std::string key = keys::resource(value.id.key());
        ASSERT_TRUE(store_->txn(
            {.compares = {}, .success = {store::put(key, wire::encode(value))}, .failure = {}}));
    };
    model::LoadBalancer changed = (*stored)->value;
    changed.nat_rules[0].targets.clear();
    write(changed);
    EXPECT_THAT(findings(), ElementsAre(Field(&Finding::message, HasSubstr("does not lead"))));
    changed.nat_rules[0].targets = {
        {.configuration = *model::ResourceId::parse(nic("b") + "/ipConfigurations/ip"),
         .port = 2222}};
    write(changed);
    EXPECT_THAT(findings(), Contains(Field(&Finding::message, HasSubstr("does not say so"))));
    write((*stored)->value);
    EXPECT_THAT(findings(), IsEmpty());
}

}  // namespace
}  // namespace culvert::control::test
