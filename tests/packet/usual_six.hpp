// SPDX-License-Identifier: Apache-2.0
// The usual scene with IPv6: what its ends are called, and their packets.
#pragma once

#include "tests/packet/usual.hpp"

#include <arpa/inet.h>

namespace culvert::packet {

// Consumer and provider have the same prefix.
inline const Ipv6 kSixClient = six("fd00:1::a00:4"), kSixEndpoint = six("fd00:1::a00:105"),
                  kSixServer = six("fd00:1::a00:7"), kSixNat = six("fd00:1::a00:109"),
                  kSixNobody = six("fd00:1::a00:63");
inline const std::uint32_t kStandIn = htonl(CV_SIX_NIC | kConsumer),
                           kServerStandIn = htonl(CV_SIX_NIC | kBackend),
                           kEndpointStandIn = htonl(CV_SIX_ENDPOINT | kLink);

inline void speaks_six(World& world, std::uint32_t index, std::uint32_t vnet, const Ipv6& address) {
    world.six_name(vnet, htonl(CV_SIX_NIC | index), address);
    change_nic(world, index, [](cv_nic& nic) { nic.port_flags = CV_PORT_SIX | CV_PORT_PEER_SIX; });
}
inline void consumer_of_six(World& world) {
    world.six_endpoint(kConsumerVnet, kSixEndpoint, kLink);
    speaks_six(world, kConsumer, kConsumerVnet, kSixClient);
}

inline Packet six_request() {
    return from(kConsumer).ipv6(kSixClient, kSixEndpoint).tcp(kClientPort, kPort);
}
inline Packet six_answered() {
    return to(kConsumer).ipv6(kSixEndpoint, kSixClient).tcp(kPort, kClientPort);
}
inline Packet six_arriving() {
    return tunnel(kLinkVni, kConsumer, kBackend)
        .ipv4(kStandIn, kEndpointStandIn)
        .tcp(kClientPort, kPort);
}
inline Packet six_returning() {
    return tunnel(kLinkVni, kBackend, kConsumer)
        .ipv4(kEndpointStandIn, kStandIn)
        .tcp(kPort, kClientPort);
}
// What the data plane makes of an IPv6 header.
inline Packet entered(Packet packet) { return packet.ip_id(0); }

// A quoted packet: the header of the one, and of the other what follows it, whose checksum stays.
inline Packet quote(Packet error, const Packet& header, const Packet& transport,
                    std::size_t bytes) {
    return error.quote(header, 40).raw([&] {
        const auto whole = transport.bytes();
        return Bytes(whole.begin() + 20, whole.begin() + 20 + static_cast<std::ptrdiff_t>(bytes));
    }());
}

// The part of a quoted echo that is IPv4's still.
inline Bytes echo_after_type() {
    const auto echo = Packet().ipv4(kStandIn, kEndpointStandIn).ping(3).payload(8).bytes();
    return {echo.begin() + 21, echo.begin() + 28};
}

}  // namespace culvert::packet
