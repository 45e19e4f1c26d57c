// SPDX-License-Identifier: Apache-2.0
// What links carried, by direction and by end: each packet once, whichever way its connection went.
#include "tests/packet/usual.hpp"
#include "tests/packet/world.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace culvert::packet {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kTcp = 40, kUdp = 28;  // headers of a packet without options

struct Counted {
    std::uint64_t packets = 0, bytes = 0;
    bool operator==(const Counted&) const = default;
    friend std::ostream& operator<<(std::ostream& out, const Counted& counted) {
        return out << counted.packets << " packets of " << counted.bytes << " bytes";
    }
};
Counted of(const cv_count& count) { return {count.packets, count.bytes}; }

Packet datagram(std::uint16_t port, std::size_t size) {
    return from(kConsumer).ipv4(kClient, kEndpoint).udp(port, kPort).payload(size);
}

void with_udp(World& world) { world.rule(kService, kPort, kPool, kBackendPort, 300, 5, 17); }

TEST(Totals, BothEndsOnOneNodeAreCountedAtBoth) {
    devices();
    World world;
    one_link(world);
    open(world, 1, kNatPort);
    send(world, consumer_sends(request(1).payload(100)));
    send(world, backend_sends(answer().payload(1000)));
    EXPECT_EQ(of(world.totals(kLink).consumer_in), Counted()) << "nothing is added on the way";
    world.walk();
    const Counted in{3, 3 * kTcp + 100}, out{2, 2 * kTcp + 1000};
    for (auto [link, nic] : {std::pair{kLink, 0u}, {0u, kBackend}}) {
        const auto totals = world.totals(link, nic);
        EXPECT_EQ(of(totals.provider_in), in);
        EXPECT_EQ(of(totals.provider_out), out);
        EXPECT_EQ(totals.provider_opened, 1u);
        EXPECT_EQ(of(totals.consumer_in), nic == 0 ? in : Counted());
        EXPECT_EQ(of(totals.consumer_out), nic == 0 ? out : Counted());
        EXPECT_EQ(totals.consumer_opened, nic == 0 ? 1u : 0u);
    }
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), in) << "a second walk adds nothing";
}

TEST(Totals, TheConsumersNodeCountsBothDirectionsApart) {
    devices();
    World world;
    backend_there(world);
    send(world, consumer_sends(request().syn()));
    send(world, backbone_brings(returning().syn_ack()));
    send(world, consumer_sends(request()));
    send(world, backbone_brings(returning().payload(500)));
    world.walk();
    const auto totals = world.totals(kLink);
    EXPECT_EQ(of(totals.consumer_in), (Counted{2, 2 * kTcp}));
    EXPECT_EQ(of(totals.consumer_out), (Counted{2, 2 * kTcp + 500}));
    EXPECT_EQ(totals.consumer_opened, 1u);
    EXPECT_EQ(of(totals.provider_in), Counted());
    EXPECT_EQ(of(totals.provider_out), Counted());
    EXPECT_EQ(totals.provider_opened, 0u);
}

TEST(Totals, TheBackendsNodeCountsTheInnerPackets) {
    devices();
    World world;
    consumer_there(world);
    send(world, backbone_brings(arriving().syn()));
    send(world, backend_sends(answer().syn_ack()));
    send(world, backbone_brings(arriving().payload(7)));
    world.walk();
    const auto totals = world.totals(kLink);
    EXPECT_EQ(of(totals.provider_in), (Counted{2, 2 * kTcp + 7}));
    EXPECT_EQ(of(totals.provider_out), (Counted{1, kTcp}));
    EXPECT_EQ(totals.provider_opened, 1u);
    EXPECT_EQ(of(totals.consumer_in), Counted());
    EXPECT_EQ(totals.consumer_opened, 0u);
    EXPECT_EQ(world.totals(0, kBackend).provider_opened, 1u);
}

// Nobody walks: what a connection carried is added when it ends, by time, by a reset that opens it
// anew, or by the end of its approval.
TEST(Totals, WhatEndsIsAddedWithoutAWalk) {
    devices();
    World world(256, 1s);
    one_link(world);
    with_udp(world);
    world.rule(kService, kPort, kPool, kBackendPort, 1, 5, 17);
    send(world, consumer_sends(datagram(1, 10)));
    send(world, consumer_sends(datagram(1, 30)));
    EXPECT_TRUE(eventually([&] { return world.flows().empty(); }));
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{2, 2 * kUdp + 40}));

    open(world, 2, kNatPort + 1);
    send(world, backend_sends(answer(kNatPort + 1).rst()));
    send(world, consumer_sends(request(2).syn()));  // its first life is removed on the way
    EXPECT_EQ(of(world.totals(kLink).provider_out), (Counted{2, 2 * kTcp}));
    EXPECT_EQ(of(world.totals(kLink).provider_in), (Counted{4, 2 * kUdp + 40 + 2 * kTcp}));

    approve_anew(world);
    send(world, consumer_sends(request(2)));  // is not let through, and not counted
    EXPECT_EQ(of(world.totals(kLink).provider_in), (Counted{5, 2 * kUdp + 40 + 3 * kTcp}));
    EXPECT_EQ(world.totals(kLink).provider_opened, 3u);
}

// Pieces and errors say nothing of a connection's life; they are bytes all the same.
TEST(Totals, ErrorsAreCountedInTheirDirection) {
    devices();
    World world;
    one_link(world);
    with_udp(world);
    send(world, consumer_sends(datagram(1, 10)));
    const auto quoted = Packet().ipv4(kNat, kServer).udp(kNatPort, kBackendPort).payload(10);
    const auto error = from(kBackend).ipv4(kServer, kNat).icmp(3, 3).quote(quoted, 28);
    ASSERT_EQ(send(world, backend_sends(error)), Verdict::Redirected);
    EXPECT_EQ(of(world.totals(kLink).provider_out).packets, 1u);
    EXPECT_EQ(of(world.totals(kLink).consumer_out).bytes, error.bytes().size() - 14);
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{1, kUdp + 10}));
    EXPECT_EQ(of(world.totals(kLink).consumer_out).packets, 1u);
}

TEST(Totals, AttemptsThatWereRefusedAreCountedByWhy) {
    devices();
    World world(256, {}, {.nic = 2});
    one_link(world);
    const auto refused = [&] {
        const auto totals = world.totals(kLink);
        return std::vector<std::uint64_t>(totals.refused, totals.refused + CV_REFUSED_MAX);
    };
    send(world, consumer_sends(request(1)));  // no attempt
    EXPECT_EQ(refused(), (std::vector<std::uint64_t>{0, 0, 0}));
    send(world, consumer_sends(from(kConsumer).ipv4(kClient, kEndpoint).tcp(1, 1).syn()));
    EXPECT_EQ(refused(), (std::vector<std::uint64_t>{0, 1, 0}));
    send(world, consumer_sends(request(1).syn()));
    send(world, consumer_sends(request(2).syn()));
    EXPECT_EQ(refused(), (std::vector<std::uint64_t>{0, 1, 1}));
    reject(world);
    send(world, consumer_sends(request(4).syn()));
    EXPECT_EQ(refused(), (std::vector<std::uint64_t>{1, 1, 1}));
}

TEST(Totals, ABackendsNodeCountsItsRefusals) {
    devices();
    World world;
    consumer_there(world);
    world.remove_member(kPool, kBackend);
    send(world, backbone_brings(arriving().syn()));
    EXPECT_EQ(world.totals(kLink).refused[CV_REFUSED_BACKEND], 1u);
}

TEST(Totals, ConnectionsOfWhoHadTheLinkBeforeAreNotItsNextOwners) {
    devices();
    World world;
    one_link(world);
    open(world, 1, kNatPort);
    world.begin_totals(kLink, 0, kGeneration + 1);
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), Counted());
}

// A build that keeps no accounts opened it: what went through until then is not known to be new.
TEST(Totals, ConnectionsWithoutAnAccountAreCountedFromNowOn) {
    devices();
    World world;
    one_link(world);
    open(world, 1, kNatPort);
    for (auto [key, flow] : world.flows()) {
        flow.created_ns += 1;
        world.flow(key, flow);
    }
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), Counted());
    send(world, consumer_sends(request(1).payload(5)));
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{1, kTcp + 5}));
}

TEST(Totals, ConnectionsOfTheOtherLayoutGoOnBeingCounted) {
    devices();
    World world(256, {}, true);
    one_link(world);
    open(world, 1, kNatPort);
    world.walk();
    const auto before = of(world.totals(kLink).consumer_in);
    EXPECT_EQ(before, (Counted{2, 2 * kTcp}));
    world.hand_over();
    send(world, consumer_sends(request(1).payload(5)));
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{3, 3 * kTcp + 5}));
    send(world, consumer_sends(request(1).payload(6)));
    send(world, backend_sends(answer().rst()));
    send(world, consumer_sends(request(1).syn()));  // removes it there, opens it here
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{4, 4 * kTcp + 11}));
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{5, 5 * kTcp + 11}));
}

// What a connection that moved here has counted before was counted where it was.
TEST(Totals, ConnectionsThatMoveAreNotCountedTwice) {
    devices();
    World world;
    one_link(world);
    open(world, 1, kNatPort);
    std::vector<cv_transfer> pair(2);
    for (const auto& [key, flow] : world.flows()) {
        auto& entry = pair[(flow.flags & CV_FLOW_PRIMARY) != 0 ? 0 : 1];
        entry.key = key;
        entry.flow = flow;
        entry.flow.packets = 1000;
        entry.flow.bytes = 1000000;
    }
    pair[0].other_packets = 1000;
    pair[0].other_bytes = 1000000;
    // in the place of those that are here: these have carried something since the last walk
    ASSERT_EQ(world.write_flows(pair), 2u);
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{2, 2 * kTcp}));
    EXPECT_EQ(of(world.totals(kLink).consumer_out), (Counted{1, kTcp}));
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{2, 2 * kTcp}));
    EXPECT_EQ(of(world.totals(kLink).consumer_out), (Counted{1, kTcp}));
    send(world, consumer_sends(request(1).payload(5)));
    send(world, backend_sends(answer().payload(6)));
    // and they leave again
    for (auto& entry : pair) {
        entry.remove = 1;
    }
    ASSERT_EQ(world.write_flows(pair), 2u);
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{3, 3 * kTcp + 5}));
    EXPECT_EQ(of(world.totals(kLink).consumer_out), (Counted{2, 2 * kTcp + 6}));
    // where there is none yet
    for (auto& entry : pair) {
        entry.remove = 0;
    }
    ASSERT_EQ(world.write_flows(pair), 2u);
    send(world, consumer_sends(request(1).payload(7)));
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{4, 4 * kTcp + 12}));
    EXPECT_EQ(of(world.totals(kLink).consumer_out), (Counted{2, 2 * kTcp + 6}));
}

TEST(Totals, AWalkCountsThePortsOfEachNatAddress) {
    devices();
    World world;
    one_link(world);
    with_udp(world);
    open(world, 1, kNatPort);
    open(world, 2, kNatPort + 1);
    send(world, consumer_sends(datagram(1, 10)));
    world.walk();
    EXPECT_EQ(world.nat_used(kBackend, kNat, IPPROTO_TCP), 2u);
    EXPECT_EQ(world.nat_used(kBackend, kNat, IPPROTO_UDP), 1u);
    world.walk();
    EXPECT_EQ(world.nat_used(kBackend, kNat, IPPROTO_TCP), 2u);
    world.forget_flows();
    world.walk();
    EXPECT_EQ(world.nat_used(kBackend, kNat, IPPROTO_TCP), 0u);
}

// Packets of one connection in both directions from every CPU, while walks fold and it ends over
// and over: whatever races, each packet is counted once.
TEST(Totals, AreExactAlsoUnderRaces) {
    devices();
    World world(512);
    one_link(world);
    with_udp(world);
    constexpr int kPackets = 20000;
    constexpr std::uint64_t kBytes = kUdp + 10;
    std::atomic<std::uint64_t> in = 0, out = 0;
    std::atomic<bool> done = false;
    ASSERT_EQ(send(world, consumer_sends(datagram(1, 10))), Verdict::Redirected);
    std::vector<std::thread> threads;
    for (unsigned cpu = 0; cpu < std::max(2u, std::thread::hardware_concurrency()); cpu++) {
        threads.emplace_back([&, cpu] {
            cpu_set_t mine;
            CPU_ZERO(&mine);
            CPU_SET(cpu, &mine);
            sched_setaffinity(0, sizeof(mine), &mine);
            const auto back =
                from(kBackend).ipv4(kServer, kNat).udp(kBackendPort, kNatPort).payload(10);
            for (int i = 0; i < kPackets; i++) {
                in += send(world, consumer_sends(datagram(1, 10))) == Verdict::Redirected;
                out += send(world, backend_sends(back)) == Verdict::Redirected;
            }
        });
    }
    std::thread walker([&] {
        while (!done) {
            world.walk();
        }
    });
    for (auto& thread : threads) {
        thread.join();
    }
    done = true;
    walker.join();
    world.walk();
    EXPECT_EQ(of(world.totals(kLink).consumer_in), (Counted{in + 1, (in + 1) * kBytes}));
    EXPECT_EQ(of(world.totals(kLink).provider_out), (Counted{out, out * kBytes}));
}

}  // namespace
}  // namespace culvert::packet
