// SPDX-License-Identifier: Apache-2.0
#include "intent/scene_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::intent {
namespace {

using namespace scene;
using model::ConnectionStatus;
using testing::ElementsAre;
using testing::IsEmpty;

// The agents of a few nodes: give() hands out every pending delta.
class Agents {
  public:
    explicit Agents(World& world) : world_(world) {}
    void give() {
        for (const std::string& node : world_.changed()) {
            accept(held_[node], world_.take(node));
        }
    }
    const Holding& of(const std::string& node) { return held_[node]; }
    const api::Object* get(const std::string& node, std::uint32_t kind, std::uint32_t id,
                           std::uint32_t address = 0) {
        const auto at = held_[node].find({kind, id, address});
        if (at == held_[node].end() || !object_.ParseFromString(at->second)) {
            return nullptr;
        }
        return &object_;
    }
    std::vector<std::uint32_t> ids(const std::string& node, std::uint32_t kind) {
        std::vector<std::uint32_t> found;
        for (const auto& [key, bytes] : held_[node]) {
            if (std::get<0>(key) == kind) {
                found.push_back(std::get<1>(key));
            }
        }
        return found;
    }

  private:
    World& world_;
    std::map<std::string, Holding> held_;
    api::Object object_;
};

// Provider VNet 100 with backend NICs 1 (on n1) and 2 (on n2); consumer VNet 200 with NIC 3 (on
// n3); both 10.0.0.0/16.
class IntentTest : public testing::Test {
  protected:
    void SetUp() override {
        world.put(vnet("provider", 100));
        world.put(vnet("consumer", 200));
        for (std::uint32_t i = 1; i <= 4; ++i) {
            world.put(node("n" + std::to_string(i), i));
        }
        world.put(balancer("lb", "provider", "10.0.1.100", 11));
        add_backend("web1", 1, "10.0.1.4", "n1");
        add_backend("web2", 2, "10.0.1.5", "n2");
        world.put(nic("client", 3, "consumer", "10.0.1.4"));
        world.put(attachment("client", "n3"));
        world.put(service("pls", 21, "lb", "provider", "10.0.1.200"));
    }
    void add_backend(const std::string& name, std::uint32_t index, const std::string& address,
                     const std::string& on) {
        auto value = nic(name, index, "provider", address);
        value.ip_configurations[0].pools = {pool("lb")};
        world.put(value);
        world.put(attachment(name, on));
    }
    void add_endpoint(const std::string& name, std::uint32_t link, const std::string& address,
                      ConnectionStatus status = ConnectionStatus::kApproved) {
        world.put(endpoint(name, "consumer", address, "pls"));
        world.put(connection("pls", name, link, status));
    }

    World world{Options{}};
    Agents agents{world};
};

TEST_F(IntentTest, a_node_without_workloads_gets_its_configuration_alone) {
    agents.give();
    ASSERT_EQ(agents.of("n4").size(), 1U);
    const auto* config = agents.get("n4", api::Object::kConfig, 4);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->config().udp_port(), 4789U);
    EXPECT_EQ(config->config().nic_limit(), 262144U);
}

TEST_F(IntentTest, nodes_of_one_vnet_know_its_interfaces_and_each_other_and_nobody_else) {
    agents.give();
    EXPECT_THAT(agents.ids("n1", api::Object::kNetwork), ElementsAre(100));
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2));
    EXPECT_THAT(agents.ids("n1", api::Object::kPeer), ElementsAre(2));
    EXPECT_THAT(agents.ids("n3", api::Object::kNetwork), ElementsAre(200));
    EXPECT_THAT(agents.ids("n3", api::Object::kNic), ElementsAre(3));
    EXPECT_THAT(agents.ids("n3", api::Object::kPeer), IsEmpty());
    EXPECT_THAT(agents.ids("n3", api::Object::kService), IsEmpty());
}

TEST_F(IntentTest, only_the_node_that_hosts_an_interface_gets_its_attachment) {
    agents.give();
    EXPECT_EQ(agents.get("n1", api::Object::kNic, 1)->nic().attachment(), "a-1");
    EXPECT_EQ(agents.get("n2", api::Object::kNic, 1)->nic().attachment(), "");
    EXPECT_EQ(agents.get("n2", api::Object::kNic, 1)->nic().node(), 1U);
    EXPECT_EQ(agents.get("n2", api::Object::kNic, 1)->nic().gateway(), ip("10.0.1.1").value);
    EXPECT_EQ(agents.get("n2", api::Object::kNic, 1)->nic().subnet().length(), 24U);
}

TEST_F(IntentTest, provider_nodes_hold_the_addresses_of_nat_and_frontend) {
    agents.give();
    const auto* nat = agents.get("n1", api::Object::kAddress, 100, ip("10.0.1.200").value);
    ASSERT_NE(nat, nullptr);
    EXPECT_EQ(nat->address().kind(), api::ADDRESS_NAT);
    EXPECT_EQ(nat->address().id(), 21U);
    const auto* front = agents.get("n1", api::Object::kAddress, 100, ip("10.0.1.100").value);
    ASSERT_NE(front, nullptr);
    EXPECT_EQ(front->address().kind(), api::ADDRESS_FRONTEND);
}

TEST_F(IntentTest, an_approved_endpoint_makes_both_ends_know_each_other) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    const auto* address = agents.get("n3", api::Object::kAddress, 200, ip("10.0.1.9").value);
    ASSERT_NE(address, nullptr);
    EXPECT_EQ(address->address().kind(), api::ADDRESS_ENDPOINT);
    EXPECT_EQ(address->address().id(), 31U);
    EXPECT_THAT(agents.ids("n3", api::Object::kNic), ElementsAre(1, 2, 3));
    EXPECT_THAT(agents.ids("n3", api::Object::kPeer), ElementsAre(1, 2));
    EXPECT_THAT(agents.ids("n3", api::Object::kNetwork), ElementsAre(200));
    EXPECT_THAT(agents.ids("n3", api::Object::kPool), ElementsAre(11));
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2, 3));
    EXPECT_THAT(agents.ids("n1", api::Object::kPeer), ElementsAre(2, 3));
    for (const char* at : {"n1", "n2", "n3"}) {
        const auto* link = agents.get(at, api::Object::kLink, 31);
        ASSERT_NE(link, nullptr) << at;
        EXPECT_EQ(link->link().state(), api::LINK_APPROVED);
        EXPECT_EQ(link->link().consumer_vnet(), 200U);
        EXPECT_EQ(link->link().provider_vnet(), 100U);
        EXPECT_EQ(link->link().endpoint(), ip("10.0.1.9").value);
        EXPECT_EQ(link->link().service(), 21U);
    }
    const auto* seen = agents.get("n3", api::Object::kService, 21);
    ASSERT_NE(seen, nullptr);
    ASSERT_EQ(seen->service().rules_size(), 1);
    const api::Rule rule = seen->service().rules(0);
    EXPECT_EQ(rule.protocol(), 6U);
    EXPECT_EQ(rule.port(), 443U);
    EXPECT_EQ(rule.backend_port(), 8443U);
    EXPECT_EQ(rule.pool(), 11U);
    EXPECT_EQ(rule.affinity(), 5U);
    EXPECT_EQ(rule.idle_s(), 240U);
    EXPECT_EQ(agents.of("n4").size(), 1U);
}

TEST_F(IntentTest, one_node_hosts_both_ends) {
    world.put(attachment("client", "n1", "a-2"));
    world.erase_attachment(id("networkInterfaces", "web2"));
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 3));
    EXPECT_THAT(agents.ids("n1", api::Object::kNetwork), ElementsAre(100, 200));
    EXPECT_THAT(agents.ids("n1", api::Object::kPeer), IsEmpty());
    EXPECT_THAT(agents.ids("n1", api::Object::kLink), ElementsAre(31));
    EXPECT_EQ(agents.of("n2").size(), 1U);
    EXPECT_EQ(agents.of("n3").size(), 1U);
}

TEST_F(IntentTest, two_endpoints_to_one_service_keep_it_until_the_last_goes) {
    add_endpoint("pe1", 31, "10.0.1.9");
    add_endpoint("pe2", 32, "10.0.1.10");
    agents.give();
    EXPECT_THAT(agents.ids("n3", api::Object::kLink), ElementsAre(31, 32));
    world.erase(connection_id("pls", "pe1"));
    agents.give();
    EXPECT_THAT(agents.ids("n3", api::Object::kLink), ElementsAre(32));
    EXPECT_THAT(agents.ids("n3", api::Object::kService), ElementsAre(21));
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2, 3));
    world.erase(id("privateEndpoints", "pe2"));
    agents.give();
    EXPECT_THAT(agents.ids("n3", api::Object::kService), IsEmpty());
    EXPECT_THAT(agents.ids("n3", api::Object::kNic), ElementsAre(3));
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2));
    EXPECT_THAT(agents.ids("n1", api::Object::kPeer), ElementsAre(2));
}

TEST_F(IntentTest, pending_and_rejected_links_are_sent_as_refused_and_tell_nothing_else) {
    add_endpoint("pe", 31, "10.0.1.9", ConnectionStatus::kPending);
    agents.give();
    EXPECT_EQ(agents.get("n3", api::Object::kLink, 31)->link().state(), api::LINK_REFUSED);
    EXPECT_EQ(agents.get("n1", api::Object::kLink, 31)->link().state(), api::LINK_REFUSED);
    EXPECT_THAT(agents.ids("n3", api::Object::kNic), ElementsAre(3));
    EXPECT_THAT(agents.ids("n3", api::Object::kService), IsEmpty());
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2));
    auto approved = connection("pls", "pe", 31);
    approved.link_generation = 2;
    world.put(approved);
    agents.give();
    EXPECT_EQ(agents.get("n1", api::Object::kLink, 31)->link().generation(), 2U);
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2, 3));
    world.put(connection("pls", "pe", 31, ConnectionStatus::kRejected));
    agents.give();
    EXPECT_EQ(agents.get("n3", api::Object::kLink, 31)->link().state(), api::LINK_REFUSED);
    EXPECT_EQ(agents.get("n1", api::Object::kLink, 31)->link().state(), api::LINK_REFUSED);
    EXPECT_THAT(agents.ids("n3", api::Object::kNic), ElementsAre(3));
}

TEST_F(IntentTest, deleting_the_connection_removes_link_and_address) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    world.erase(connection_id("pls", "pe"));
    agents.give();
    EXPECT_EQ(agents.get("n3", api::Object::kLink, 31), nullptr);
    EXPECT_EQ(agents.get("n1", api::Object::kLink, 31), nullptr);
    EXPECT_EQ(agents.get("n3", api::Object::kAddress, 200, ip("10.0.1.9").value), nullptr);
}

TEST_F(IntentTest, an_endpoint_in_the_providers_own_network_works_as_any_other) {
    world.put(endpoint("own", "provider", "10.0.1.50", "pls"));
    world.put(connection("pls", "own", 41));
    agents.give();
    EXPECT_THAT(agents.ids("n1", api::Object::kLink), ElementsAre(41));
    EXPECT_NE(agents.get("n1", api::Object::kAddress, 100, ip("10.0.1.50").value), nullptr);
    EXPECT_THAT(agents.ids("n3", api::Object::kLink), IsEmpty());
}

TEST_F(IntentTest, moving_an_attachment_moves_what_it_needs) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    world.put(attachment("client", "n4", "a-9"));
    agents.give();
    EXPECT_EQ(agents.of("n3").size(), 1U);
    EXPECT_THAT(agents.ids("n4", api::Object::kNic), ElementsAre(1, 2, 3));
    EXPECT_EQ(agents.get("n1", api::Object::kNic, 3)->nic().node(), 4U);
    EXPECT_THAT(agents.ids("n1", api::Object::kPeer), ElementsAre(2, 4));
    world.put(attachment("web1", "n4", "a-10"));
    agents.give();
    EXPECT_EQ(agents.of("n1").size(), 1U);
    EXPECT_EQ(agents.get("n4", api::Object::kNic, 1)->nic().attachment(), "a-10");
}

TEST_F(IntentTest, a_new_consumer_interface_reaches_the_backends_nodes) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    world.put(nic("late", 5, "consumer", "10.0.1.20"));
    agents.give();
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2, 3));
    world.put(attachment("late", "n4"));
    agents.give();
    EXPECT_THAT(agents.ids("n1", api::Object::kNic), ElementsAre(1, 2, 3, 5));
    EXPECT_THAT(agents.ids("n1", api::Object::kPeer), ElementsAre(2, 3, 4));
    EXPECT_EQ(agents.get("n1", api::Object::kAddress, 200, ip("10.0.1.20").value), nullptr);
}

TEST_F(IntentTest, members_are_the_attached_interfaces_of_the_pool) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    EXPECT_THAT(agents.get("n3", api::Object::kPool, 11)->pool().members(), ElementsAre(1, 2));
    world.erase_attachment(id("networkInterfaces", "web1"));
    agents.give();
    EXPECT_THAT(agents.get("n3", api::Object::kPool, 11)->pool().members(), ElementsAre(2));
    world.put(nic("web2", 2, "provider", "10.0.1.5"));  // left the pool
    agents.give();
    EXPECT_THAT(agents.get("n3", api::Object::kPool, 11)->pool().members(), IsEmpty());
    EXPECT_THAT(agents.ids("n2", api::Object::kService), IsEmpty());
    EXPECT_THAT(agents.ids("n2", api::Object::kNic), ElementsAre(2));
}

TEST_F(IntentTest, high_availability_ports_and_affinity_become_rules) {
    auto lb = balancer("lb", "provider", "10.0.1.100", 11);
    lb.rules[0].protocol = model::Protocol::kAll;
    lb.rules[0].affinity = model::Affinity::kSourceIp;
    lb.rules[0].idle_minutes = 30;
    world.put(lb);
    agents.give();
    const auto* seen = agents.get("n1", api::Object::kService, 21);
    ASSERT_NE(seen, nullptr);
    EXPECT_EQ(seen->service().rules(0).protocol(), 0U);
    EXPECT_EQ(seen->service().rules(0).port(), 0U);
    EXPECT_EQ(seen->service().rules(0).affinity(), 2U);
    EXPECT_EQ(seen->service().rules(0).idle_s(), 1800U);
}

TEST_F(IntentTest, a_pool_goes_with_the_probes_that_rules_lead_to_it_by) {
    auto lb = balancer("lb", "provider", "10.0.1.100", 11);
    const auto probe = [&](std::string_view name) { return lb.id.child("probes", name); };
    lb.probes = {{.name = "web", .protocol = "Http", .port = 80, .request_path = "a b"},
                 {.name = "idle", .protocol = "Tcp", .port = 81, .request_path = {}},
                 {.name = "Alive",
                  .protocol = "Tcp",
                  .port = 82,
                  .interval_s = 5,
                  .request_path = {},
                  .all_up = true}};
    lb.rules.resize(3, lb.rules[0]);
    lb.rules[0].probe = probe("WEB");
    lb.rules[1].name = "second";
    lb.rules[1].frontend_port = 80;
    lb.rules[1].probe = probe("alive");
    lb.rules[2].name = "third";
    lb.rules[2].frontend_port = 81;
    world.put(lb);
    add_endpoint("pe", 9, "10.0.1.50");
    agents.give();
    for (const char* node : {"n1", "n3"}) {
        const auto* pool = agents.get(node, api::Object::kPool, 11);
        ASSERT_NE(pool, nullptr);
        ASSERT_EQ(pool->pool().probes_size(), 2) << "those that rules name";
        EXPECT_EQ(pool->pool().probes(0).name(), "Alive");
        EXPECT_TRUE(pool->pool().probes(0).all_up());
        EXPECT_EQ(pool->pool().probes(0).interval_ms(), 5000U);
        EXPECT_EQ(pool->pool().probes(1).path(), "/a%20b");
        EXPECT_NE(pool->pool().probes(0).id(), pool->pool().probes(1).id());
        EXPECT_TRUE(pool->pool().unprobed());
        const auto& rules = agents.get(node, api::Object::kService, 21)->service().rules();
        ASSERT_EQ(rules.size(), 3);
        EXPECT_EQ(rules[0].probe(), 2U);
        EXPECT_EQ(rules[1].probe(), 1U);
        EXPECT_EQ(rules[2].probe(), 0U);
    }
    const auto id = agents.get("n1", api::Object::kPool, 11)->pool().probes(1).id();
    lb.probes[0].interval_s = 6;
    lb.rules[1].probe = {};
    world.put(lb);
    agents.give();
    const auto* pool = agents.get("n3", api::Object::kPool, 11);
    ASSERT_EQ(pool->pool().probes_size(), 1);
    EXPECT_EQ(pool->pool().probes(0).interval_ms(), 6000U);
    EXPECT_EQ(pool->pool().probes(0).id(), id) << "nodes call it as before";
}

TEST_F(IntentTest, the_interfaces_of_endpoints_and_services_are_no_workloads) {
    auto own = nic("pe-nic", 77, "provider", "10.0.1.77");
    own.private_endpoint = id("privateEndpoints", "pe");
    world.put(own);
    world.put(attachment("pe-nic", "n4"));
    agents.give();
    EXPECT_EQ(agents.of("n4").size(), 1U);
}

TEST_F(IntentTest, a_change_that_no_node_can_see_sends_nothing) {
    agents.give();
    auto tagged = nic("client", 3, "consumer", "10.0.1.4");
    tagged.tags["owner"] = "me";
    world.put(tagged);
    auto network = vnet("consumer", 200);
    network.tags["owner"] = "me";
    world.put(network);
    EXPECT_THAT(world.changed(), IsEmpty());
}

TEST_F(IntentTest, name_servers_go_to_the_node_of_a_nic_alone) {
    agents.give();
    auto network = vnet("provider", 100);
    network.dns_servers = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"};
    world.put(network);
    agents.give();
    EXPECT_THAT(agents.get("n1", api::Object::kNic, 1)->nic().dns(),
                ElementsAre(ip("192.0.2.1").value, ip("192.0.2.2").value, ip("192.0.2.3").value));
    EXPECT_THAT(agents.get("n2", api::Object::kNic, 1)->nic().dns(), IsEmpty());
}

TEST_F(IntentTest, an_address_that_changes_hands_is_an_upsert_and_no_removal) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    world.erase(connection_id("pls", "pe"));
    world.erase(id("privateEndpoints", "pe"));
    world.put(nic("heir", 8, "consumer", "10.0.1.9"));
    world.put(attachment("heir", "n3"));
    const api::Delta delta = world.take("n3");
    for (const api::Key& key : delta.remove()) {
        EXPECT_NE(key.kind(), static_cast<std::uint32_t>(api::Object::kAddress));
    }
}

TEST_F(IntentTest, a_node_that_was_erased_is_forgotten) {
    agents.give();
    world.erase_attachment(id("networkInterfaces", "client"));
    world.erase_node("n3");
    world.forget("n3");
    EXPECT_TRUE(world.take("n3").upsert().empty());
    EXPECT_TRUE(world.snapshot("n3").upsert().empty());
}

TEST_F(IntentTest, erasing_everything_leaves_nothing_behind) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    for (const char* name : {"web1", "web2", "client"}) {
        world.erase_attachment(id("networkInterfaces", name));
        world.erase(id("networkInterfaces", name));
    }
    world.erase(connection_id("pls", "pe"));
    world.erase(id("privateEndpoints", "pe"));
    world.erase(id("privateLinkServices", "pls"));
    world.erase(id("loadBalancers", "lb"));
    world.erase(id("virtualNetworks", "provider"));
    world.erase(id("virtualNetworks", "consumer"));
    for (int i = 1; i <= 4; ++i) {
        world.erase_node("n" + std::to_string(i));
    }
    agents.give();
    EXPECT_THAT(world.changed(), IsEmpty());
    EXPECT_EQ(world.size(), 0U);
}

// The work of one more endpoint, with `many` endpoints of the same service elsewhere: 100 consumer
// VNets, a node each.
std::uint64_t work_of_one_endpoint(std::uint32_t many) {
    constexpr std::uint32_t kVnets = 101;
    World world{Options{}};
    world.put(vnet("provider", 1));
    world.put(node("home", 1));
    world.put(balancer("lb", "provider", "10.0.1.100", 11));
    auto backend = nic("web", 1, "provider", "10.0.1.4");
    backend.ip_configurations[0].pools = {pool("lb")};
    world.put(backend);
    world.put(attachment("web", "home"));
    world.put(service("pls", 21, "lb", "provider", "10.0.1.200"));
    for (std::uint32_t v = 0; v < kVnets; ++v) {
        const std::string number = std::to_string(v);
        world.put(vnet("v" + number, 10 + v));
        world.put(node("n" + number, 10 + v));
        world.put(nic("c" + number, 10 + v, "v" + number, "10.0.1.4"));
        world.put(attachment("c" + number, "n" + number));
    }
    const auto add = [&](std::uint32_t i, std::uint32_t v) {
        const std::string name = "pe" + std::to_string(i);
        auto made = endpoint(name, "v" + std::to_string(v), "10.0.1.9", "pls");
        made.address = net::Ipv4{ip("10.0.1.9").value + i / (kVnets - 1)};
        world.put(made);
        world.put(connection("pls", name, 1000 + i));
    };
    for (std::uint32_t i = 0; i < many; ++i) {
        add(i, i % (kVnets - 1));
    }
    for (const std::string& name : world.changed()) {
        world.snapshot(name);
    }
    const std::uint64_t before = world.work();
    add(many, kVnets - 1);
    std::size_t told = 0;
    for (const std::string& name : world.changed()) {
        const api::Delta delta = world.take(name);
        told += static_cast<std::size_t>(delta.upsert_size());
    }
    // the consumer's node: peer, address, service, pool, NIC, link; the backend's: peer, NIC, link
    EXPECT_EQ(told, 9U);
    return world.work() - before;
}

TEST_F(IntentTest, ipv6_goes_with_the_interface_and_with_the_endpoints_address) {
    const auto six = *net::Ipv6::parse("fd00:1::a00:105"), other = *net::Ipv6::parse("fd00:1::4");
    auto client = nic("client", 3, "consumer", "10.0.1.4");
    client.six = {.name = "six", .subnet = client.ip_configurations[0].subnet, .address = other};
    world.put(client);
    add_endpoint("pe", 31, "10.0.1.5");
    auto made = endpoint("pe", "consumer", "10.0.1.5", "pls");
    made.six = six;
    made.ip_version = model::IpVersion::kIpv6;
    world.put(made);
    agents.give();
    const auto bytes = [](const net::Ipv6& address) {
        return std::string(address.bytes.begin(), address.bytes.end());
    };
    const auto* shown = agents.get("n3", api::Object::kNic, 3);
    ASSERT_NE(shown, nullptr);
    EXPECT_EQ(shown->nic().six(), bytes(other));
    shown = agents.get("n3", api::Object::kAddress, 200, ip("10.0.1.5").value);
    ASSERT_NE(shown, nullptr);
    EXPECT_EQ(shown->address().six(), bytes(six));
    EXPECT_TRUE(shown->address().six_only());
    client.six.reset();
    world.put(client);
    agents.give();
    EXPECT_TRUE(agents.get("n3", api::Object::kNic, 3)->nic().six().empty());
}

TEST_F(IntentTest, a_service_of_ipv6_says_so_with_its_addresses_and_its_members) {
    const auto six = *net::Ipv6::parse("fd00:1::a00:1c8"), front = *net::Ipv6::parse("fd00:1::1");
    auto balancing = balancer("lb", "provider", "10.0.1.100", 11);
    balancing.frontends[0].six = front;
    world.put(balancing);
    auto serving = service("pls", 21, "lb", "provider", "10.0.1.200");
    serving.nat[0].six = six;
    world.put(serving);
    auto backend = nic("web1", 1, "provider", "10.0.1.4");
    backend.six = {.name = "six",
                   .subnet = backend.ip_configurations[0].subnet,
                   .address = *net::Ipv6::parse("fd00:1::4"),
                   .pools = {pool("lb")}};
    world.put(backend);
    agents.give();
    EXPECT_TRUE(agents.get("n1", api::Object::kService, 21)->service().six());
    const auto bytes = [](const net::Ipv6& address) {
        return std::string(address.bytes.begin(), address.bytes.end());
    };
    const auto* nat = agents.get("n1", api::Object::kAddress, 100, ip("10.0.1.200").value);
    ASSERT_NE(nat, nullptr);
    EXPECT_EQ(nat->address().six(), bytes(six));
    EXPECT_FALSE(nat->address().six_only());
    const auto* frontend = agents.get("n1", api::Object::kAddress, 100, ip("10.0.1.100").value);
    ASSERT_NE(frontend, nullptr);
    EXPECT_EQ(frontend->address().six(), bytes(front));
    const auto* members = agents.get("n1", api::Object::kPool, 11);
    ASSERT_NE(members, nullptr);
    EXPECT_THAT(members->pool().members(), ElementsAre(1, 2));
    backend.six.reset();
    world.put(backend);
    agents.give();
    EXPECT_THAT(agents.get("n2", api::Object::kPool, 11)->pool().members(), ElementsAre(2));
}

TEST(IntentWorkTest, adding_an_endpoint_costs_the_same_beside_10_and_10000_others) {
    const std::uint64_t few = work_of_one_endpoint(10);
    const std::uint64_t many = work_of_one_endpoint(10'000);
    EXPECT_LE(many, few + 8);
    EXPECT_LT(many, 120U);
    RecordProperty("few", static_cast<int>(few));
    RecordProperty("many", static_cast<int>(many));
}

TEST_F(IntentTest, draining_is_told_to_the_node_and_to_who_sends_there) {
    add_endpoint("pe", 31, "10.0.1.9");
    agents.give();
    model::Node drained = node("n1", 1);
    drained.draining = true;
    world.put(drained);
    agents.give();
    EXPECT_TRUE(agents.get("n1", api::Object::kConfig, 1)->config().draining());
    EXPECT_TRUE(agents.get("n3", api::Object::kPeer, 1)->peer().draining());
    EXPECT_FALSE(agents.get("n3", api::Object::kPeer, 2)->peer().draining());
    world.put(node("n1", 1));
    agents.give();
    EXPECT_FALSE(agents.get("n1", api::Object::kConfig, 1)->config().draining());
    EXPECT_FALSE(agents.get("n3", api::Object::kPeer, 1)->peer().draining());
}

}  // namespace
}  // namespace culvert::intent
