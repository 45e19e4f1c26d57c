// SPDX-License-Identifier: Apache-2.0
// Quotas: nobody takes the flow table or a backend's ports from the others, and what is charged is
// what is held.
#include "tests/packet/usual.hpp"
#include "tests/packet/world.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

namespace culvert::packet {
namespace {

using namespace std::chrono_literals;

Packet neighbours(std::uint16_t port) {
    return from(kNeighbour).ipv4(kPeer, kEndpoint).tcp(port, kPort);
}
// The n-th connection of a world has the n-th NAT port.
void open(World& world, std::uint16_t number) {
    packet::open(world, number, static_cast<std::uint16_t>(kNatPort + number - 1));
}

// What is charged is what is in the table; waits for slots that the sweep still has to give back.
void expect_exact(World& world) {
    const auto exact = [&] {
        const auto flows = static_cast<std::uint32_t>(world.flows().size());
        std::uint32_t nics = 0;
        for (auto nic : {kConsumer, kNeighbour, kStranger}) {
            nics += world.nic_held(nic).entries;
        }
        return world.nic_held(0).entries == flows && nics == flows &&
               world.link_held(kLink).entries == flows;
    };
    EXPECT_TRUE(eventually(exact))
        << "flows " << world.flows().size() << ", charged " << world.nic_held(0).entries
        << ", to the link " << world.link_held(kLink).entries;
}

void expect_nothing_held(World& world) {
    EXPECT_TRUE(eventually([&] { return world.flows().empty(); }));
    expect_exact(world);
    EXPECT_EQ(world.nic_held(0).opening, 0u);
    EXPECT_EQ(world.link_held(kLink).opening, 0u);
    EXPECT_EQ(world.nat_held(kLink, kBackend), 0u);
}

TEST(Quota, ANicThatHoldsItsShareIsToldAndItsNeighbourIsServed) {
    devices();
    World world(256, {}, {.nic = 8});
    one_link(world);
    for (std::uint16_t i = 1; i <= 4; i++) {
        open(world, i);
    }
    world.moved();
    EXPECT_EQ(send(world, consumer_sends(request(9).syn())), Verdict::Redirected);
    EXPECT_EQ(world.moved(), (Moved{{"drop.FLOW_QUOTA", 1}, {"RESET_SENT", 1}}));
    EXPECT_EQ(send(world, neighbour_sends(neighbours(9).syn())), Verdict::Redirected);
    EXPECT_EQ(world.moved()["FLOW_CREATED"], 2u);
    // its connections go on
    EXPECT_EQ(send(world, consumer_sends(request(1).payload(3))), Verdict::Redirected);
    expect_exact(world);
}

TEST(Quota, WhatEndsMayBeOpenedAgain) {
    devices();
    World world(256, {}, {.nic = 4});
    one_link(world);
    open(world, 1);
    open(world, 2);
    EXPECT_EQ(send(world, consumer_sends(request(1).rst())), Verdict::Redirected);
    EXPECT_TRUE(eventually([&] { return world.flows().size() == 2; }));
    expect_exact(world);
    open(world, 3);
}

TEST(Quota, UnfinishedHandshakesAreRefusedFirst) {
    devices();
    World world(256, {}, {.nic = 100, .opening_nic = 4});
    one_link(world);
    EXPECT_EQ(send(world, consumer_sends(request(1).syn())), Verdict::Redirected);
    EXPECT_EQ(send(world, consumer_sends(request(2).syn())), Verdict::Redirected);
    world.moved();
    send(world, consumer_sends(request(3).syn()));
    EXPECT_EQ(world.moved()["drop.FLOW_QUOTA"], 1u);
    // an acknowledgement without an answer finishes nothing
    send(world, consumer_sends(request(1)));
    send(world, consumer_sends(request(3).syn()));
    EXPECT_EQ(world.moved()["drop.FLOW_QUOTA"], 1u);
    EXPECT_EQ(world.nic_held(kConsumer).opening, 4u);
    // a finished one makes room
    send(world, backend_sends(answer(kNatPort + 1).syn_ack()));
    send(world, consumer_sends(request(2)));
    EXPECT_EQ(world.nic_held(kConsumer).opening, 2u);
    EXPECT_EQ(world.nic_held(0).opening, 2u);
    send(world, consumer_sends(request(3).syn()));
    EXPECT_EQ(world.moved()["FLOW_CREATED"], 2u);
    expect_exact(world);
}

TEST(Quota, AHandshakeAcrossNodesIsOverWhenBothHaveSpoken) {
    devices();
    World world;
    one_link(world, {.backend_node = kThere});
    send(world, consumer_sends(request(1).syn()));
    EXPECT_EQ(world.nic_held(kConsumer).opening, 1u);
    send(world, consumer_sends(request(1)));
    EXPECT_EQ(world.nic_held(kConsumer).opening, 1u);
    send(world, backbone_brings(wire(kThere, kHere, CV_VNI_LINK | kLink, kBackend, kConsumer)
                                    .ipv4(kEndpoint, kClient)
                                    .tcp(kPort, 1)
                                    .syn_ack()));
    EXPECT_EQ(world.nic_held(kConsumer).opening, 0u);
    EXPECT_EQ(world.link_held(kLink).opening, 0u);
    EXPECT_EQ(world.nic_held(kConsumer).entries, 1u);
}

TEST(Quota, ALinkThatHoldsItsShareIsRefusedAlsoFromTheBackbone) {
    devices();
    World world(256, {}, {.link = 4});
    one_link(world, {.consumer_node = kThere});
    for (std::uint16_t port = 1; port <= 3; port++) {
        send(world, backbone_brings(arriving(port).syn()));
    }
    const auto moved = world.moved();
    EXPECT_EQ(moved.at("FLOW_CREATED"), 4u);
    EXPECT_EQ(moved.at("drop.FLOW_QUOTA"), 1u);
    EXPECT_FALSE(moved.contains("RESET_SENT")) << "the backbone is not answered";
    expect_exact(world);
}

TEST(Quota, ALinkDoesNotTakeAllPortsOfABackend) {
    devices();
    World world(2048, {}, {.nat_256 = 1});  // 64,512 ports: 252
    one_link(world);
    for (std::uint16_t port = 1; port <= 252; port++) {
        ASSERT_EQ(send(world, consumer_sends(request(port).syn())), Verdict::Redirected);
    }
    EXPECT_EQ(world.nat_held(kLink, kBackend), 252u);
    world.moved();
    send(world, consumer_sends(request(1000).syn()));
    EXPECT_EQ(world.moved(), (Moved{{"drop.NAT_QUOTA", 1}, {"RESET_SENT", 1}}));
    EXPECT_EQ(world.nat_held(kLink, kBackend), 252u);
    // the share is of one backend: another one's ports are free
    world.pool(kPool, {kSecondBackend});
    EXPECT_EQ(send(world, consumer_sends(request(1000).syn())), Verdict::Redirected);
    expect_exact(world);
}

// Without any fixed quota: as the table fills, who holds most is refused first.
TEST(Quota, WhoHoldsMostCannotFillTheTable) {
    devices();
    World world(256, {}, {.table = 256});
    one_link(world);
    for (std::uint16_t port = 1; port <= 256; port++) {
        send(world, consumer_sends(request(port).syn()));
    }
    const auto held = world.nic_held(kConsumer);
    EXPECT_GT(held.entries, 16u);
    EXPECT_LT(held.entries, 256u / 3);
    EXPECT_EQ(world.counters()["drop.FLOW_TABLE_FULL"], 0u);
    // established ones may hold more than handshakes, and still not all
    World other(256, {}, {.table = 256});
    one_link(other);
    std::uint16_t opened = 0;
    while (opened < 128 && other.counters()["drop.FLOW_QUOTA"] == 0) {
        opened++;
        if (send(other, consumer_sends(request(opened).syn())) == Verdict::Redirected) {
            send(other, backend_sends(
                            answer(static_cast<std::uint16_t>(kNatPort + opened - 1)).syn_ack()));
            send(other, consumer_sends(request(opened)));
        }
    }
    EXPECT_GT(other.nic_held(kConsumer).entries, held.entries);
    EXPECT_LE(other.nic_held(kConsumer).entries, 256u / 3 + 2);
}

TEST(Quota, EverythingIsReturnedAtTheEnd) {
    devices();
    World world(256, 1s);
    one_link(world);
    world.rule(kService, kPort, kPool, kBackendPort, 1);
    open(world, 1);  // ends by time
    open(world, 2);  // is reset
    send(world, consumer_sends(request(2).rst()));
    send(world, consumer_sends(request(3).syn()));  // is never answered
    open(world, 4);                                 // closes, and opens anew at once
    send(world, consumer_sends(request(4).fin()));
    send(world, backend_sends(answer(kNatPort + 3).fin()));
    send(world, consumer_sends(request(4).syn()));
    open(world, 6);  // of an earlier approval
    approve_anew(world);
    send(world, consumer_sends(request(6)));
    expect_exact(world);
    expect_nothing_held(world);
}

// Openings, answers, resets and openings again of few tuples from all CPUs: whatever races, each
// charge is returned once.
TEST(Quota, ChargesAreExactAlsoUnderRaces) {
    devices();
    World world(512, 300ms, {.table = 512, .nic = 200});
    one_link(world);
    world.rule(kService, kPort, kPool, kBackendPort, 1);
    std::vector<std::thread> threads;
    for (unsigned cpu = 0; cpu < std::max(2u, std::thread::hardware_concurrency()); cpu++) {
        threads.emplace_back([&, cpu] {
            cpu_set_t mine;
            CPU_ZERO(&mine);
            CPU_SET(cpu, &mine);
            sched_setaffinity(0, sizeof(mine), &mine);
            std::minstd_rand random(cpu + 1);
            for (int i = 0; i < 20000; i++) {
                const auto port = static_cast<std::uint16_t>(1 + random() % 64);
                const auto nat = static_cast<std::uint16_t>(kNatPort + random() % 128);
                switch (random() % 6) {
                    case 0:
                    case 1: send(world, consumer_sends(request(port).syn())); break;
                    case 2: send(world, consumer_sends(request(port))); break;
                    case 3: send(world, backend_sends(answer(nat).syn_ack())); break;
                    case 4: send(world, consumer_sends(request(port).rst())); break;
                    default: send(world, neighbour_sends(neighbours(port).syn())); break;
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    expect_nothing_held(world);
}

}  // namespace
}  // namespace culvert::packet
