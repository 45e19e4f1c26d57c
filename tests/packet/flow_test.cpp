// SPDX-License-Identifier: Apache-2.0
// The life of flow entries: timers, full tables, taken ports, two CPUs at once.
#include "tests/packet/usual.hpp"
#include "tests/packet/world.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

namespace culvert::packet {
namespace {

using namespace std::chrono_literals;

bool has_client_port(const World& world, std::uint16_t port) {
    for (const auto& [key, flow] : world.flows()) {
        if (key.sport == htons(port)) {
            return true;
        }
    }
    return false;
}

TEST(Expiry, AnUnansweredConnectionEndsBeforeAnIdleOne) {
    devices();
    World world(256, 1s);
    one_link(world);
    open(world, 1, kNatPort);
    send(world, consumer_sends(request(2).syn()));
    EXPECT_EQ(world.flows().size(), 4u);
    EXPECT_TRUE(eventually([&] { return !has_client_port(world, 2); }));
    EXPECT_TRUE(eventually([&] { return world.flows().size() == 2; }));
    EXPECT_TRUE(has_client_port(world, 1));
    EXPECT_EQ(world.moved()["FLOW_EXPIRED"], 2u);
}

TEST(Expiry, AConnectionEndsAfterTheIdleTimeOfItsRule) {
    devices();
    World world(256, 1s);
    one_link(world);
    world.rule(kService, kPort, kPool, kBackendPort, 2);
    open(world, 1, kNatPort);
    EXPECT_TRUE(eventually([&] { return world.flows().empty(); }));
    EXPECT_EQ(world.moved()["FLOW_EXPIRED"], 2u);
    EXPECT_EQ(send(world, backend_sends(answer().payload(1))), Verdict::Redirected);
    const auto moved = world.moved();
    EXPECT_EQ(moved.at("drop.NAT_DIRECT"), 1u);
    EXPECT_EQ(moved.at("RESET_SENT"), 1u);
}

TEST(Expiry, AConnectionOutlivesItsIdleTimeWhileOneSideSends) {
    devices();
    World world(256, 1s);
    one_link(world);
    world.rule(kService, kPort, kPool, kBackendPort, 2);
    open(world, 1, kNatPort);
    open(world, 2, kNatPort + 1);
    EXPECT_TRUE(eventually([&] {
        send(world, backend_sends(answer().payload(1)));
        return !has_client_port(world, 2);
    }));
    EXPECT_TRUE(has_client_port(world, 1));
}

TEST(Expiry, AResetConnectionEndsSoon) {
    devices();
    World world;
    one_link(world);
    open(world, 1, kNatPort);
    send(world, backend_sends(answer().rst()));
    EXPECT_TRUE(eventually([&] { return world.flows().empty(); }));
    EXPECT_EQ(world.moved()["FLOW_EXPIRED"], 2u);
}

TEST(Expiry, AConnectionThatBothClosedEndsSoonAndOneThatOneSideClosedDoesNot) {
    devices();
    World world;
    one_link(world);
    open(world, 1, kNatPort);
    open(world, 2, kNatPort + 1);
    send(world, consumer_sends(request(1).fin()));
    send(world, consumer_sends(request(2).fin()));
    send(world, backend_sends(answer(kNatPort + 1).fin()));
    EXPECT_TRUE(eventually([&] { return !has_client_port(world, 2); }));
    EXPECT_TRUE(has_client_port(world, 1));
}

TEST(Expiry, AConsumersEntryEndsWithItsConnection) {
    devices();
    World world;
    one_link(world, {.backend_node = kThere});
    send(world, consumer_sends(request().syn()));
    const auto reply = wire(kThere, kHere, CV_VNI_LINK | kLink, kBackend, kConsumer)
                           .ipv4(kEndpoint, kClient)
                           .tcp(kPort, kClientPort);
    send(world, backbone_brings(Packet(reply).syn_ack()));
    send(world, consumer_sends(request()));
    ASSERT_EQ(world.flows().size(), 1u);
    EXPECT_EQ(world.flows()[0].second.flags, CV_FLOW_PRIMARY | CV_FLOW_SEEN_REPLY | CV_FLOW_OPEN);
    send(world, backbone_brings(Packet(reply).fin()));
    send(world, consumer_sends(request().fin()));
    EXPECT_TRUE(eventually([&] { return world.flows().empty(); }));
    EXPECT_EQ(world.moved()["FLOW_EXPIRED"], 1u);
}

TEST(Limits, AFullFlowTableOpensNothingAndLeavesNothing) {
    devices();
    World world(1);
    one_link(world);
    EXPECT_EQ(send(world, consumer_sends(request().syn())), Verdict::Dropped);
    EXPECT_EQ(world.moved(), (Moved{{"drop.FLOW_TABLE_FULL", 1}}));
    EXPECT_TRUE(world.flows().empty());
}

TEST(Limits, AFullFlowTableKeepsItsConnections) {
    devices();
    World world(2);
    one_link(world);
    open(world, 1, kNatPort);
    world.moved();
    EXPECT_EQ(send(world, consumer_sends(request(2).syn())), Verdict::Dropped);
    EXPECT_EQ(world.moved(), (Moved{{"drop.FLOW_TABLE_FULL", 1}}));
    EXPECT_EQ(send(world, consumer_sends(request(1).payload(3))), Verdict::Redirected);
    EXPECT_EQ(send(world, backend_sends(answer().payload(3))), Verdict::Redirected);
}

// Takes NAT ports of the backend as live connections would.
void take_ports(World& world, std::uint32_t first, std::uint32_t last) {
    for (auto port = first; port <= last; port++) {
        cv_flow_key key{};
        key.scope = kBackend;
        key.saddr = kServer;
        key.daddr = kNat;
        key.sport = htons(kBackendPort);
        key.dport = htons(static_cast<std::uint16_t>(port));
        key.proto = IPPROTO_TCP;
        world.flow(key, cv_flow{});
    }
}

// A table of 64 entries serves many times as many connections, one after the other.
TEST(Expiry, EndedConnectionsGiveBackAllTheyHeld) {
    devices();
    World world(64);
    one_link(world);
    std::uint16_t port = 1;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 32; i++, port++) {
            ASSERT_EQ(send(world, consumer_sends(request(port).syn())), Verdict::Redirected);
            ASSERT_EQ(send(world, consumer_sends(request(port).rst())), Verdict::Redirected);
        }
        ASSERT_TRUE(eventually([&] { return world.flows().empty(); }));
    }
}

TEST(Limits, TheSearchForAPortJumpsOverARunOfTakenOnes) {
    devices();
    World world(4096);
    one_link(world);
    take_ports(world, kNatPort, kNatPort + 1999);
    EXPECT_EQ(send(world, consumer_sends(request().syn())), Verdict::Redirected);
    EXPECT_EQ(world.flows().size(), 2002u);
}

TEST(Limits, WithoutAFreePortAConnectionIsRefused) {
    devices();
    World world(1 << 17);
    one_link(world);
    take_ports(world, CV_NAT_PORT_MIN, 65535);
    EXPECT_EQ(send(world, consumer_sends(request().syn())), Verdict::Dropped);
    EXPECT_EQ(world.moved(), (Moved{{"drop.NAT_EXHAUSTED", 1}}));
    // a port is a backend's: another backend's are free
    world.pool(kPool, {kSecondBackend});
    EXPECT_EQ(send(world, consumer_sends(request().syn())), Verdict::Redirected);
    EXPECT_EQ(world.moved()["FLOW_CREATED"], 2u);
}

TEST(Limits, EveryNatAddressIsUsed) {
    devices();
    World world(1 << 12);
    one_link(world);
    std::vector<std::uint32_t> nat;
    std::set<std::uint32_t> used;
    for (int i = 0; i < CV_NAT_ADDRESSES_MAX; i++) {
        nat.push_back(ip("10.0.2." + std::to_string(i + 1)));
    }
    world.service(kService, kProviderVnet, nat);
    for (std::uint16_t i = 0; i < CV_NAT_ADDRESSES_MAX; i++) {
        send(world, consumer_sends(request(static_cast<std::uint16_t>(i + 1)).syn()));
    }
    for (const auto& [key, flow] : world.flows()) {
        if (key.scope == kBackend) {
            used.insert(key.daddr);
        }
    }
    EXPECT_EQ(used, std::set<std::uint32_t>(nat.begin(), nat.end()));
}

TEST(Backends, ConnectionsSpreadOverThePoolAndStayWithTheirBackend) {
    devices();
    World world(1 << 12);
    one_link(world);
    world.pool(kPool, {kBackend, kSecondBackend});
    std::map<std::uint32_t, int> chosen;
    for (std::uint16_t port = 1; port <= 400; port++) {
        auto first = world.send(Hook::Workload, devices().consumer, request(port).syn().bytes());
        auto again = world.send(Hook::Workload, devices().consumer, request(port).bytes());
        ASSERT_EQ(first.out[5], again.out[5]);
        chosen[first.out[5]]++;
    }
    EXPECT_GT(chosen[kBackend], 120);
    EXPECT_GT(chosen[kSecondBackend], 120);
}

TEST(Backends, ClientAffinityKeepsAClientAtOneBackend) {
    devices();
    for (const std::uint8_t fields : {std::uint8_t{3}, std::uint8_t{2}}) {
        World world(1 << 12);
        one_link(world);
        world.pool(kPool, {kBackend, kSecondBackend});
        world.rule(kService, kPort, kPool, kBackendPort, 300, fields);
        std::set<std::uint32_t> chosen;
        for (std::uint16_t port = 1; port <= 50; port++) {
            auto out = world.send(Hook::Workload, devices().consumer, request(port).syn().bytes());
            chosen.insert(out.out[5]);
        }
        EXPECT_EQ(chosen.size(), 1u) << static_cast<int>(fields);
    }
}

// The loser of a race for a connection uses the winner's entries, and gives back its port.
TEST(Races, OneConnectionOpenedByAllCpusAtOnceHasOneFlow) {
    devices();
    World world(1 << 14);
    one_link(world);
    constexpr std::uint16_t kConnections = 1000;
    std::atomic<unsigned> ready{0};
    const auto cpus = std::max(2u, std::thread::hardware_concurrency());
    std::vector<std::thread> threads;
    std::atomic<int> refused{0};
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        threads.emplace_back([&, cpu] {
            cpu_set_t mine;
            CPU_ZERO(&mine);
            CPU_SET(cpu, &mine);
            sched_setaffinity(0, sizeof(mine), &mine);
            for (std::uint16_t port = 1; port <= kConnections; port++) {
                auto frame = request(port).syn().bytes();
                ready++;
                while (ready < cpus * port) {
                    std::this_thread::yield();
                }
                refused += world.send(Hook::Workload, devices().consumer, frame).verdict !=
                           Verdict::Redirected;
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(refused, 0) << testing::PrintToString(world.counters());
    EXPECT_EQ(world.flows().size(), 2u * kConnections);
    EXPECT_EQ(world.moved()["FLOW_CREATED"], 2u * kConnections);
}

}  // namespace
}  // namespace culvert::packet
