// SPDX-License-Identifier: Apache-2.0
// What most rows and tests begin with: the addresses of the usual scene (one_link), the packets of
// its one link by who sends and who gets them, and where its two ends are.
#pragma once

#include "tests/packet/row.hpp"

#include <chrono>
#include <thread>

namespace culvert::packet {

inline const std::uint32_t kClient = ip("10.0.0.4"), kServer = ip("10.0.0.7"),
                           kEndpoint = ip("10.0.1.5"), kNat = ip("10.0.1.9"),
                           kPeer = ip("10.0.0.5"), kNobody = ip("10.0.0.99");
inline constexpr std::uint16_t kNatPort = kFirstNatPort;
inline constexpr std::uint32_t kLinkVni = CV_VNI_LINK | kLink;

// The consumer asks, the backend gets it; the backend answers, the consumer gets it.
inline Packet request(std::uint16_t port = kClientPort) {
    return from(kConsumer).ipv4(kClient, kEndpoint).tcp(port, kPort);
}
inline Packet asked(std::uint16_t nat_port = kNatPort) {
    return to(kBackend).ipv4(kNat, kServer).tcp(nat_port, kBackendPort);
}
inline Packet answer(std::uint16_t nat_port = kNatPort) {
    return from(kBackend).ipv4(kServer, kNat).tcp(kBackendPort, nat_port);
}
inline Packet answered() { return to(kConsumer).ipv4(kEndpoint, kClient).tcp(kPort, kClientPort); }

// The same by the backbone, from the node where the other end is.
inline Packet tunnel(std::uint32_t vni, std::uint32_t source, std::uint32_t target) {
    return wire(kThere, kHere, vni, source, target);
}
inline Packet arriving(std::uint16_t port = kClientPort) {
    return tunnel(kLinkVni, kConsumer, kBackend).ipv4(kClient, kEndpoint).tcp(port, kPort);
}
inline Packet returning() {
    return tunnel(kLinkVni, kBackend, kConsumer).ipv4(kEndpoint, kClient).tcp(kPort, kClientPort);
}

inline void backend_there(World& world) { one_link(world, {.backend_node = kThere}); }
inline void consumer_there(World& world) { one_link(world, {.consumer_node = kThere}); }
inline void neighbour_there(World& world) { one_link(world, {.neighbour_node = kThere}); }

inline Verdict send(World& world, const Send& what) {
    return world.send(what.hook, what.ifindex, what.packet.bytes()).verdict;
}

// Both ends here: SYN, SYN ACK, ACK.
inline std::vector<Send> handshake(std::uint16_t port = kClientPort,
                                   std::uint16_t nat_port = kNatPort) {
    return {consumer_sends(request(port).syn()), backend_sends(answer(nat_port).syn_ack()),
            consumer_sends(request(port))};
}
inline void open(World& world, std::uint16_t port, std::uint16_t nat_port) {
    for (const Send& each : handshake(port, nat_port)) {
        EXPECT_EQ(send(world, each), Verdict::Redirected);
    }
}

// Waits until `condition` holds; false when it never did.
template <typename Condition>
bool eventually(const Condition& condition) {
    using namespace std::chrono_literals;
    constexpr auto kLongest = 30s;  // a bound for hanging tests, not a measure
    for (auto until = std::chrono::steady_clock::now() + kLongest;
         std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(20ms)) {
        if (condition()) {
            return true;
        }
    }
    return false;
}

}  // namespace culvert::packet
