// SPDX-License-Identifier: Apache-2.0
// What one private endpoint costs the intent compiler, by how many others there are: it is added
// and removed again, and every node concerned takes its delta. The argument is the number of other
// endpoints of the same service, spread over 100 consumer networks with a node each.
#include "api/intent.pb.h"
#include "intent/intent.hpp"
#include "intent/scene_test.hpp"

#include <benchmark/benchmark.h>

namespace culvert::intent {
namespace {

constexpr std::uint32_t kConsumers = 101;

void add_endpoint(World& world, std::uint32_t number, std::uint32_t consumer) {
    const std::string name = "pe" + std::to_string(number);
    auto made = scene::endpoint(name, "v" + std::to_string(consumer), "10.0.1.9", "pls");
    made.address = net::Ipv4{made.address.value + number / (kConsumers - 1)};
    world.put(made);
    world.put(scene::connection("pls", name, 1000 + number));
}

void fill(World& world, std::uint32_t endpoints) {
    world.put(scene::vnet("provider", 1));
    world.put(scene::node("home", 1));
    world.put(scene::balancer("lb", "provider", "10.0.1.100", 11));
    auto backend = scene::nic("web", 1, "provider", "10.0.1.4");
    backend.ip_configurations[0].pools = {scene::pool("lb")};
    world.put(backend);
    world.put(scene::attachment("web", "home"));
    world.put(scene::service("pls", 21, "lb", "provider", "10.0.1.200"));
    for (std::uint32_t i = 0; i < kConsumers; ++i) {
        const std::string number = std::to_string(i);
        world.put(scene::vnet("v" + number, 10 + i));
        world.put(scene::node("n" + number, 10 + i));
        world.put(scene::nic("c" + number, 10 + i, "v" + number, "10.0.1.4"));
        world.put(scene::attachment("c" + number, "n" + number));
    }
    for (std::uint32_t i = 0; i < endpoints; ++i) {
        add_endpoint(world, i, i % (kConsumers - 1));
    }
    for (const std::string& node : world.changed()) {
        world.snapshot(node);
    }
}

void one_endpoint(benchmark::State& state) {
    World world{Options{}};
    const auto others = static_cast<std::uint32_t>(state.range(0));
    fill(world, others);
    const std::uint64_t before = world.work();
    for (auto _ : state) {
        add_endpoint(world, others, kConsumers - 1);
        for (const std::string& node : world.changed()) {
            benchmark::DoNotOptimize(world.take(node));
        }
        const std::string name = "pe" + std::to_string(others);
        world.erase(scene::connection_id("pls", name));
        world.erase(scene::id("privateEndpoints", name));
        for (const std::string& node : world.changed()) {
            benchmark::DoNotOptimize(world.take(node));
        }
    }
    state.counters["work"] = benchmark::Counter(static_cast<double>(world.work() - before),
                                                benchmark::Counter::kAvgIterations);
}
BENCHMARK(one_endpoint)->Arg(10)->Arg(1000)->Arg(10000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace culvert::intent

BENCHMARK_MAIN();
