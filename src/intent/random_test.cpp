// SPDX-License-Identifier: Apache-2.0
// Random histories. After every step three accounts of what each node holds must agree: the deltas
// added up, a new World that was given the same resources in another order, and an oracle that
// reads DESIGN.md 6 word by word without indices.
#include "intent/scene_test.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

namespace culvert::intent {
namespace {

using namespace scene;

constexpr int kNodes = 5;
constexpr int kVnets = 3;
constexpr int kNics = 8;
constexpr int kBalancers = 2;
constexpr int kServices = 3;
constexpr int kEndpoints = 5;

std::string named(const char* stem, int i) { return stem + std::to_string(i); }

// Everything that exists, by id.
struct Resources {
    std::map<std::string, model::VirtualNetwork> vnets;
    std::map<std::string, model::NetworkInterface> nics;
    std::map<std::string, model::LoadBalancer> balancers;
    std::map<std::string, model::PrivateLinkService> services;
    std::map<std::string, model::PrivateEndpoint> endpoints;
    std::map<std::string, model::PrivateEndpointConnection> connections;
    std::map<std::string, model::Node> nodes;
    std::map<std::string, model::Attachment> attachments;
};

template <typename T>
const T* look(const std::map<std::string, T>& map, const std::string& key) {
    const auto at = map.find(key);
    return at == map.end() ? nullptr : &at->second;
}

// Which keys a node needs, from the definition.
class Oracle {
  public:
    Oracle(const Resources& all, std::string node) : all_(all), node_(std::move(node)) {}

    std::set<KeyTuple> keys() {
        if (const auto* self = look(all_.nodes, node_)) {
            add(api::Object::kConfig, self->index);
        }
        std::set<std::string> vnets;
        for (const auto& [key, nic] : all_.nics) {
            if (host(key) == node_) {
                vnets.insert(vnet_of_nic(nic));
            }
        }
        for (const std::string& vnet : vnets) {
            member(vnet);
        }
        for (const auto& [key, service] : all_.services) {
            for (const std::string& pool : pools(service)) {
                for (const auto& [nic_key, nic] : all_.nics) {
                    if (host(nic_key) == node_ && in_pool(nic, pool)) {
                        provide(key);
                    }
                }
            }
        }
        return keys_;
    }

  private:
    void add(int kind, std::uint32_t id, std::uint32_t address = 0) {
        keys_.insert({static_cast<std::uint32_t>(kind), id, address});
    }
    std::string host(const std::string& nic) const {
        const auto* attachment = look(all_.attachments, nic);
        return attachment == nullptr ? "" : attachment->node;
    }
    static std::string vnet_of_nic(const model::NetworkInterface& nic) {
        return nic.ip_configurations[0].subnet.parent().key();
    }
    static bool in_pool(const model::NetworkInterface& nic, const std::string& pool) {
        return pool == nic.id.key() ||
               std::ranges::any_of(nic.ip_configurations[0].pools,
                                   [&](const auto& one) { return one.key() == pool; });
    }
    // Those that ports of inbound NAT rules lead to: each is a pool of its own.
    void add_targets(const model::LoadBalancer& balancer, const model::ResourceId& frontend,
                     std::set<std::string>& found) const {
        const bool balanced = std::ranges::any_of(
            balancer.rules, [&](const auto& rule) { return rule.frontend == frontend; });
        for (const model::InboundNatRule& rule : balancer.nat_rules) {
            for (const model::NatTarget& target : rule.targets) {
                const std::string key = target.configuration.parent().key();
                const auto* nic = look(all_.nics, key);
                if (nic == nullptr || !(rule.frontend == frontend)) {
                    continue;
                }
                const auto& named = nic->ip_configurations[0].nat_rules;
                const auto id = balancer.id.child("inboundNatRules", rule.name);
                if (rule.pool.empty() ? std::ranges::find(named, id) != named.end()
                                      : balanced && in_pool(*nic, rule.pool.key())) {
                    found.insert(key);
                }
            }
        }
    }
    std::set<std::string> pools(const model::PrivateLinkService& service) const {
        std::set<std::string> found;
        for (const auto& [key, balancer] : all_.balancers) {
            for (const model::LbRule& rule : balancer.rules) {
                if (std::ranges::find(service.frontends, rule.frontend) !=
                    service.frontends.end()) {
                    found.insert(rule.pool.key());
                }
            }
            for (const model::ResourceId& frontend : service.frontends) {
                add_targets(balancer, frontend, found);
            }
        }
        return found;
    }
    std::uint32_t index_of(const std::string& vnet) const {
        const auto* found = look(all_.vnets, vnet);
        return found == nullptr ? 0 : found->vnet_index;
    }
    void know(const std::string& nic_key, const model::NetworkInterface& nic) {
        const auto* node = look(all_.nodes, host(nic_key));
        if (node != nullptr && node->name != node_) {
            add(api::Object::kPeer, node->index);
        }
        const auto* vnet = look(all_.vnets, vnet_of_nic(nic));
        if (node == nullptr || vnet == nullptr) {
            return;
        }
        for (const model::Subnet& subnet : vnet->subnets) {
            if (model::same_name(subnet.name, nic.ip_configurations[0].subnet.name()) &&
                subnet.prefixes[0].contains(*nic.ip_configurations[0].address)) {
                add(api::Object::kNic, nic.nic_index);
            }
        }
    }
    void know_all(const std::string& vnet, bool addresses) {
        for (const auto& [key, nic] : all_.nics) {
            if (vnet_of_nic(nic) == vnet && !host(key).empty()) {
                know(key, nic);
                if (addresses && index_of(vnet) != 0) {
                    add(api::Object::kAddress, index_of(vnet),
                        nic.ip_configurations[0].address->value);
                }
            }
        }
    }
    void use(const std::string& service) {
        const auto* found = look(all_.services, service);
        if (found == nullptr) {
            return;
        }
        if (index_of(found->nat[0].subnet.parent().key()) != 0) {
            add(api::Object::kService, found->service_index);
        }
        for (const std::string& pool : pools(*found)) {
            for (const auto& [key, balancer] : all_.balancers) {
                for (const model::BackendPool& one : balancer.pools) {
                    if (balancer.id.child("backendAddressPools", one.name).key() == pool) {
                        add(api::Object::kPool, one.pool_index);
                    }
                }
            }
            for (const auto& [key, nic] : all_.nics) {
                if (key == pool) {
                    add(api::Object::kPool, model::kNicPools + nic.nic_index);
                }
                if (in_pool(nic, pool) && !host(key).empty()) {
                    know(key, nic);
                }
            }
        }
    }
    // Calls `use_link(connection, endpoint)` for every link.
    template <typename F>
    void links(F use_link) {
        for (const auto& [key, connection] : all_.connections) {
            const auto* endpoint = look(all_.endpoints, connection.private_endpoint.key());
            if (endpoint != nullptr && endpoint->connection.key() == key) {
                use_link(connection, *endpoint);
            }
        }
    }
    void add_link(const model::PrivateEndpointConnection& link, const model::PrivateEndpoint& end) {
        const auto* service = look(all_.services, link.id.parent().key());
        if (service != nullptr && index_of(end.subnet.parent().key()) != 0 &&
            index_of(service->nat[0].subnet.parent().key()) != 0) {
            add(api::Object::kLink, link.link_id);
        }
    }
    void member(const std::string& vnet) {
        const std::uint32_t index = index_of(vnet);
        know_all(vnet, true);
        if (index != 0) {
            add(api::Object::kNetwork, index);
            for (const auto& [key, service] : all_.services) {
                if (service.nat[0].subnet.parent().key() == vnet) {
                    add(api::Object::kAddress, index, service.nat[0].address->value);
                }
            }
            for (const auto& [key, balancer] : all_.balancers) {
                for (const model::Frontend& frontend : balancer.frontends) {
                    if (frontend.subnet.parent().key() == vnet) {
                        add(api::Object::kAddress, index, frontend.address->value);
                    }
                }
            }
        }
        links([&](const auto& link, const auto& endpoint) {
            if (endpoint.subnet.parent().key() != vnet) {
                return;
            }
            add_link(link, endpoint);
            if (index != 0) {
                add(api::Object::kAddress, index, endpoint.address.value);
            }
            if (link.state.status == model::ConnectionStatus::kApproved) {
                use(link.id.parent().key());
            }
        });
    }
    void provide(const std::string& service) {
        use(service);
        links([&](const auto& link, const auto& endpoint) {
            if (link.id.parent().key() != service) {
                return;
            }
            add_link(link, endpoint);
            if (link.state.status == model::ConnectionStatus::kApproved) {
                know_all(endpoint.subnet.parent().key(), false);
            }
        });
    }

    const Resources& all_;
    std::string node_;
    std::set<KeyTuple> keys_;
};

class Play {
  public:
    explicit Play(unsigned seed) : random_(seed) {}

    void step() {
        switch (pick(8)) {
            case 0: change_vnet(); break;
            case 1: change_nic(); break;
            case 2: change_balancer(); break;
            case 3: change_service(); break;
            case 4: change_endpoint(); break;
            case 5: change_connection(); break;
            case 6: change_node(); break;
            default: change_attachment(); break;
        }
    }

    void check() {
        for (int i = 0; i < kNodes; ++i) {
            const std::string name = named("n", i);
            Holding& held = held_[name];
            accept(held, pick(20) == 0 ? world_.snapshot(name) : world_.take(name));
            const auto fresh = shuffled();
            const Holding anew = holding_of(fresh->snapshot(name));
            ASSERT_EQ(held, anew) << name << " holds\n"
                                  << describe(held) << "instead of\n"
                                  << describe(anew);
            std::set<KeyTuple> keys;
            for (const auto& [key, bytes] : held) {
                keys.insert(key);
            }
            ASSERT_EQ(keys, Oracle(all_, name).keys()) << name << " holds\n" << describe(held);
            most_ = std::max(most_, held.size());
        }
    }
    std::size_t most() const { return most_; }

  private:
    int pick(int bound) { return std::uniform_int_distribution<int>(0, bound - 1)(random_); }
    bool chance(int percent) { return pick(100) < percent; }
    static net::Ipv4 address(int number) {
        return net::Ipv4{ip("10.0.1.4").value + static_cast<std::uint32_t>(number)};
    }
    std::string some_vnet() { return named("v", pick(kVnets)); }

    template <typename T>
    void write(std::map<std::string, T>& map, const T& value) {
        map[value.id.key()] = value;
        world_.put(value);
    }
    template <typename T>
    void remove(std::map<std::string, T>& map, const model::ResourceId& id) {
        map.erase(id.key());
        world_.erase(id);
    }

    void change_vnet() {
        const int i = pick(kVnets);
        auto value = vnet(named("v", i), 10U + static_cast<std::uint32_t>(i));
        if (chance(15)) {
            remove(all_.vnets, value.id);
            return;
        }
        if (chance(20)) {
            value.subnets.erase(value.subnets.begin());
        }
        if (chance(20)) {
            value.subnets[0].prefixes[0] = {ip("10.0.1.0"), 28};
        }
        write(all_.vnets, value);
    }
    void change_nic() {
        const int i = pick(kNics);
        auto value =
            nic(named("nic", i), 1U + static_cast<std::uint32_t>(i), some_vnet(), address(i).str());
        if (chance(15)) {
            remove(all_.nics, value.id);
            return;
        }
        for (int b = 0; b < kBalancers; ++b) {
            for (const char* name : {"pool", "spare"}) {
                if (chance(30)) {
                    value.ip_configurations[0].pools.push_back(pool(named("lb", b), name));
                }
            }
        }
        if (chance(30)) {
            value.ip_configurations[0].nat_rules.push_back(
                id("loadBalancers", named("lb", pick(kBalancers))).child("inboundNatRules", "one"));
        }
        write(all_.nics, value);
    }
    // Ports for interfaces, of which some are in the pool or name the rule and some are not.
    void add_nat_rule(model::LoadBalancer& value, const std::string& name, const char* of) {
        model::InboundNatRule rule;
        rule.name = name;
        rule.frontend = value.rules[0].frontend;
        if (of != nullptr) {
            rule.pool = value.id.child("backendAddressPools", of);
        }
        const int first = pick(kNics);
        const int count = of == nullptr ? 1 : 1 + pick(kNics);
        for (int i = 0; i < count; ++i) {
            const auto nic = id("networkInterfaces", named("nic", (first + i) % kNics));
            rule.targets.push_back({nic.child("ipConfigurations", "ipconfig1"),
                                    static_cast<std::uint16_t>(5000 + 100 * pick(3) + i)});
        }
        value.nat_rules.push_back(rule);
    }
    void change_balancer() {
        const int i = pick(kBalancers);
        auto value = balancer(named("lb", i), some_vnet(), address(20 + i).str(),
                              50U + static_cast<std::uint32_t>(i));
        if (chance(15)) {
            remove(all_.balancers, value.id);
            return;
        }
        if (chance(50)) {
            model::BackendPool spare;
            spare.name = "spare";
            spare.pool_index = 60U + static_cast<std::uint32_t>(i);
            value.pools.push_back(spare);
        }
        if (chance(40)) {
            auto rule = value.rules[0];
            rule.frontend_port = 80;
            rule.pool = pool(named("lb", i), "spare");
            value.rules.push_back(rule);
        }
        if (chance(50)) {
            add_nat_rule(value, "one", nullptr);
        }
        if (chance(50)) {
            add_nat_rule(value, "each", chance(70) ? "pool" : "spare");
        }
        if (chance(20)) {
            value.rules.clear();
        }
        write(all_.balancers, value);
    }
    void change_service() {
        const int i = pick(kServices);
        const auto value =
            service(named("s", i), 70U + static_cast<std::uint32_t>(i),
                    named("lb", pick(kBalancers)), some_vnet(), address(30 + i).str());
        if (chance(15)) {
            remove(all_.services, value.id);
            return;
        }
        write(all_.services, value);
    }
    void change_endpoint() {
        const int i = pick(kEndpoints);
        const auto value = endpoint(named("pe", i), some_vnet(), address(40 + i).str(),
                                    named("s", pick(kServices)));
        if (chance(15)) {
            remove(all_.endpoints, value.id);
            return;
        }
        write(all_.endpoints, value);
    }
    void change_connection() {
        const int e = pick(kEndpoints);
        const int s = pick(kServices);
        const auto value = connection(
            named("s", s), named("pe", e), static_cast<std::uint32_t>(100 + e * 10 + s),
            chance(70) ? model::ConnectionStatus::kApproved : model::ConnectionStatus::kRejected);
        if (chance(15)) {
            remove(all_.connections, value.id);
            return;
        }
        write(all_.connections, value);
    }
    void change_node() {
        const int i = pick(kNodes);
        const auto value = node(named("n", i), 1U + static_cast<std::uint32_t>(i));
        if (chance(15)) {
            all_.nodes.erase(value.name);
            world_.erase_node(value.name);
            return;
        }
        all_.nodes[value.name] = value;
        world_.put(value);
    }
    void change_attachment() {
        const std::string name = named("nic", pick(kNics));
        const auto value =
            attachment(name, named("n", pick(kNodes)), "a-" + std::to_string(pick(1000)));
        if (chance(20)) {
            all_.attachments.erase(value.nic.key());
            world_.erase_attachment(value.nic);
            return;
        }
        all_.attachments[value.nic.key()] = value;
        world_.put(value);
    }

    // A new World that was told the same, in a random order.
    std::unique_ptr<World> shuffled() {
        auto fresh = std::make_unique<World>(Options{});
        std::vector<std::function<void()>> puts;
        const auto queue = [&](const auto& map) {
            for (const auto& [key, value] : map) {
                puts.push_back([&fresh, &value] { fresh->put(value); });
            }
        };
        queue(all_.vnets);
        queue(all_.nics);
        queue(all_.balancers);
        queue(all_.services);
        queue(all_.endpoints);
        queue(all_.connections);
        queue(all_.nodes);
        queue(all_.attachments);
        std::ranges::shuffle(puts, random_);
        for (const auto& put : puts) {
            put();
        }
        return fresh;
    }

    std::mt19937 random_;
    World world_{Options{}};
    Resources all_;
    std::map<std::string, Holding> held_;
    std::size_t most_ = 0;
};

class RandomHistory : public testing::TestWithParam<unsigned> {};

TEST_P(RandomHistory, deltas_add_up_to_the_snapshot) {
    Play play(GetParam());
    for (int i = 0; i < 300; ++i) {
        for (int burst = 0; burst < 1 + i % 4; ++burst) {
            play.step();
        }
        play.check();
        if (HasFatalFailure()) {
            FAIL() << "seed " << GetParam() << " step " << i;
        }
    }
    EXPECT_GT(play.most(), 20U) << "the history never grew: the test would prove little";
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomHistory, testing::Range(1U, 6U));

}  // namespace
}  // namespace culvert::intent
