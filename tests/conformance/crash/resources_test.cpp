// SPDX-License-Identifier: Apache-2.0
// Resources written through the real handlers on a disk that loses power: what was answered stays,
// and after every crash the verifier finds nothing.
#include "control/handlers_test.hpp"
#include "control/node_documents.hpp"
#include "control/verifier.hpp"
#include "directory.hpp"
#include "disk.hpp"
#include "twin.hpp"

#include <fmt/format.h>

namespace culvert::control::test {
namespace {

using store::test::Disk;
using store::test::FastDirectory;
using store::test::Loss;
using store::test::Truth;
using store::test::Twin;

// One life of a control plane: the real handlers on a store. Not a test of its own.
class Life final : public Handlers {
  public:
    Life(std::unique_ptr<store::Store> store, std::mt19937_64& random)
        : Handlers(std::move(store), random()), choices_(random) {
        let_the_store_fail();
    }

    // What every world needs; the same again changes nothing.
    void found() {
        for (const std::string& group : {provider_, consumer_}) {
            put(group, R"({"location":"local"})");
            put(group + "/providers/Microsoft.Network/virtualNetworks/v",
                R"({"location":"local","properties":{"addressSpace":{"addressPrefixes":
                    ["10.0.0.0/16"]},"subnets":[{"name":"s","properties":{"addressPrefix":
                    "10.0.0.0/24"}},{"name":"nat","properties":{"addressPrefix":"10.0.1.0/24",
                    "privateLinkServiceNetworkPolicies":"Disabled"}}]}})");
        }
        put(provider_network_ + "loadBalancers/lb", balancer_body());
        add_node();
    }

    // One random request; false: the store does not answer any more.
    bool step() {
        const std::string nic = fmt::format("{}networkInterfaces/n{}", provider_network_, below(4));
        const std::string endpoint =
            fmt::format("{}privateEndpoints/e{}", consumer_network_, below(4));
        const std::string service =
            fmt::format("{}privateLinkServices/s{}", provider_network_, below(2));
        switch (below(16)) {
            case 0:
            case 1: return answered(put(nic, nic_body()));
            case 2: return answered(remove(nic));
            case 3: return answered(put(service, service_body(service)));
            case 4: return answered(remove(service));
            case 5:
            case 6:
            case 7: return answered(put(endpoint, endpoint_body(service, below(2) == 0)));
            case 8: return answered(remove(endpoint));
            case 9:
            case 10: return decide(service);
            case 11: return answered(call("POST:attach", nic, R"({"node":"n1"})"));
            case 12: return answered(call("POST:detach", nic, "{}"));
            case 13: return answered(put(provider_network_ + "loadBalancers/lb", balancer_body()));
            case 14: return subnet();
            default:
                return below(12) == 0 ? answered(remove(consumer_))
                                      : answered(put(consumer_, R"({"location":"local"})"));
        }
    }

  private:
    void TestBody() override {}
    std::uint64_t below(std::uint64_t limit) { return choices_() % limit; }

    // Whatever the answer is, but not that the store is gone.
    static bool answered(const Reply& reply) { return reply.status != 0 && reply.status < 500; }

    std::string balancer_body() {
        return fmt::format(
            R"({{"location":"local","sku":{{"name":"Standard"}},"properties":{{
                 "frontendIPConfigurations":[
                   {{"name":"fe0","properties":{{"subnet":{{"id":"{0}"}}}}}},
                   {{"name":"fe1","properties":{{"subnet":{{"id":"{0}"}}}}}}],
                 "backendAddressPools":[{{"name":"bp"}}{1}],"inboundNatRules":[{2}]}}}})",
            provider_network_ + "virtualNetworks/v/subnets/s",
            below(2) == 0 ? R"(,{"name":"extra"})" : "", nat_rules());
    }

    // One of an interface and, at times, one of the pool, with ports for some or all of it.
    std::string nat_rules() {
        const std::string lb = provider_network_ + "loadBalancers/lb";
        const auto rule = [&](std::string_view name, const std::string& ports) {
            return fmt::format(R"({{"name":"{}","properties":{{"protocol":"Tcp","backendPort":22,{},
                                    "frontendIPConfiguration":
                                      {{"id":"{}/frontendIPConfigurations/fe0"}}}}}})",
                               name, ports, lb);
        };
        const std::string one = rule("one", fmt::format(R"("frontendPort":{})", 22 + below(2)));
        if (below(2) == 0) {
            return one;
        }
        return one + "," +
               rule("each", fmt::format(R"("frontendPortRangeStart":100,"frontendPortRangeEnd":{},
                                           "backendAddressPool":
                                             {{"id":"{}/backendAddressPools/bp"}})",
                                        101 + below(3), lb));
    }

    std::string nic_body() {
        const bool pooled = below(2) == 0;
        return fmt::format(
            R"({{"location":"local","properties":{{"ipConfigurations":[{{"name":"ip",
                 "properties":{{"subnet":{{"id":"{0}virtualNetworks/v/subnets/s"}}{1}{2}}}}}]}}}})",
            provider_network_,
            pooled ? fmt::format(R"(,"loadBalancerBackendAddressPools":[{{"id":
                                    "{}loadBalancers/lb/backendAddressPools/bp"}}])",
                                 provider_network_)
                   : "",
            below(3) == 0 ? fmt::format(R"(,"loadBalancerInboundNatRules":[{{"id":
                                    "{}loadBalancers/lb/inboundNatRules/one"}}])",
                                        provider_network_)
                          : "");
    }

    std::string service_body(const std::string& service) {
        const std::string approval = below(2) == 0 ? R"(["*"])" : "[]";
        return Handlers::service_body(R"(["*"])", approval, fmt::format("fe{}", service.back()));
    }

    bool subnet() {
        const std::string id =
            fmt::format("{}virtualNetworks/v/subnets/x{}", consumer_network_, below(2));
        return below(2) == 0 ? answered(remove(id))
                             : answered(put(id, fmt::format(R"({{"properties":{{"addressPrefix":
                                                             "10.0.{}.0/24"}}}})",
                                                            8 + (id.back() - '0'))));
    }

    // Approves, rejects or removes one of a service's connections.
    bool decide(const std::string& service) {
        const Reply all = list(service + "/privateEndpointConnections");
        if (all.status != 200) {
            return answered(all);
        }
        const auto& items = all.body.at("value").as_array();
        if (items.empty()) {
            return true;
        }
        const std::string id = text(items[below(items.size())], "id");
        if (below(4) == 0) {
            return answered(remove(id));
        }
        return answered(put(id, fmt::format(R"({{"properties":{{"privateLinkServiceConnectionState":
                                    {{"status":"{}","description":"d"}}}}}})",
                                            below(2) == 0 ? "Approved" : "Rejected")));
    }

    // As a node that joins leaves it; joining itself needs a hub.
    void add_node() {
        const model::Node node{
            .name = "n1", .index = 7, .outer = "192.0.2.1", .certificate_serial = "1"};
        const std::string held = Reservation{.generation = 0, .owner = "n1"}.str();
        (void)store_->txn({.compares = {store::absent(keys::node("n1"))},
                           .success = {store::put(keys::node("n1"), encode(node)),
                                       store::put(keys::index("node", 7), held),
                                       store::put(keys::index("outer", 0xc0000201), held)},
                           .failure = {}});
    }

    std::mt19937_64& choices_;
};

std::string findings_of(store::Store& store) {
    const auto verdict = verify(store);
    if (!verdict) {
        return verdict.error().message;
    }
    std::string out;
    for (const Finding& finding : verdict->findings) {
        out += fmt::format("{}: {}\n", finding.key, finding.message);
    }
    return out;
}

class Worlds {
  public:
    explicit Worlds(std::uint64_t seed) : random_(seed) {}

    std::string run(std::uint64_t rounds) {
        for (std::uint64_t round = 0; round < rounds; ++round) {
            if (auto wrong = live(); !wrong.empty()) {
                return fmt::format("round {}: {}", round, wrong);
            }
            crash();
        }
        return {};
    }
    std::size_t acknowledged() const { return truth_.acknowledged; }
    std::size_t most_resources() const { return most_resources_; }

  private:
    std::string live() {
        auto opened = store::open_sqlite(directory_.file());
        if (!opened) {
            return "the store does not open any more: " + opened.error().message;
        }
        if (auto wrong = compare_after_crash(**opened, truth_); !wrong.empty()) {
            return wrong;
        }
        if (auto wrong = findings_of(**opened); !wrong.empty()) {
            return "the verifier finds:\n" + wrong;
        }
        most_resources_ = std::max(most_resources_, verify(**opened)->resources);
        Life life(std::make_unique<Twin>(std::move(*opened), truth_), random_);
        life.found();
        disk_.fail_after(random_() % 200);
        for (int i = 0; i < 60 && life.step(); ++i) {
        }
        disk_.fail_now();
        return {};
    }

    void crash() {
        static constexpr Loss kKinds[] = {Loss::kNothing, Loss::kEverything, Loss::kSome,
                                          Loss::kOlder,   Loss::kTail,       Loss::kTornTail};
        disk_.recover(directory_.path(), kKinds[random_() % std::size(kKinds)], random_);
    }

    std::mt19937_64 random_;
    FastDirectory directory_;
    Disk disk_;
    Truth truth_;
    std::size_t most_resources_ = 0;
};

TEST(CrashedControlPlane, KeepsEveryPromiseOfItsStore) {
    const std::uint64_t seed = store::test::number_of("CULVERT_SEED", std::random_device{}());
    const std::uint64_t rounds = store::test::number_of("CULVERT_CRASH_ROUNDS", 1000) / 2;
    Worlds worlds(seed);
    EXPECT_EQ(worlds.run(rounds), "") << "CULVERT_SEED=" << seed;
    EXPECT_GT(worlds.acknowledged(), rounds);
    EXPECT_GT(worlds.most_resources(), 12U) << "the worlds are too small to show anything";
    fmt::print("{} acknowledged transactions, up to {} resources, seed {}\n", worlds.acknowledged(),
               worlds.most_resources(), seed);
}

}  // namespace
}  // namespace culvert::control::test
