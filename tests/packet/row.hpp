// SPDX-License-Identifier: Apache-2.0
// A packet test is a row: a sentence, preset maps, packet in, verdict, packet out, and exactly what
// moved.
#pragma once

#include "tests/packet/packet.hpp"
#include "tests/packet/world.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace culvert::packet {

// NICs by index, the nodes, and the ids of the one link that most rows are about.
inline constexpr std::uint32_t kRouter = 0, kConsumer = 1, kBackend = 2, kNeighbour = 3,
                               kStranger = 4, kSecondBackend = 5;
inline constexpr std::uint32_t kHere = 1, kThere = 2, kElsewhere = 3;
inline constexpr std::uint32_t kConsumerVnet = 100, kProviderVnet = 200, kStrangerVnet = 300;
inline constexpr std::uint32_t kLink = 9, kService = 5, kPool = 6, kGeneration = 3;
inline constexpr std::uint16_t kPort = 443, kBackendPort = 8443, kClientPort = 40000;
inline constexpr std::uint16_t kVxlanPort = CV_VXLAN_PORT, kWirePort = 50001;

// Addresses and places of a scene; both VNets are 10.0.0.0/16.
struct Scene {
    std::string consumer = "10.0.0.4", backend = "10.0.0.7", endpoint = "10.0.1.5",
                nat = "10.0.1.9", neighbour = "10.0.0.5";
    std::uint32_t consumer_vnet = kConsumerVnet, provider_vnet = kProviderVnet;
    std::uint32_t consumer_node = kHere, backend_node = kHere, neighbour_node = kHere;
    std::uint32_t state = CV_LINK_APPROVED;
    std::uint32_t mtu = 1500;
    bool self = false;  // the consumer's NIC is the backend, too
};

// Fills the maps as an agent on node kHere would.
void one_link(World& world, const Scene& scene = {});

// Changes of a filled world.
void change_link(World& world, const std::function<void(cv_link&)>& change);
void change_nic(World& world, std::uint32_t index, const std::function<void(cv_nic&)>& change);
void reject(World& world);
void approve_anew(World& world);

// Interfaces of the test's own namespace, made on first use; the calling thread stays inside, on
// one CPU.
struct Devices {
    std::uint32_t consumer, backend, neighbour, second, backbone;
};
const Devices& devices();

net::Mac mac(std::uint32_t nic);
// A frame as a workload sends it, and as it gets one.
Packet from(std::uint32_t nic);
Packet to(std::uint32_t nic);
// A frame on the backbone between two nodes, up to and including the inner Ethernet header. As
// received its outer MACs are the nodes'; as sent they are still the workload's (the neighbour
// table has not been asked).
Packet wire(std::uint32_t from_node, std::uint32_t to_node, std::uint32_t vni, std::uint32_t source,
            std::uint32_t target);
Packet wired(std::uint32_t to_node, std::uint32_t vni, std::uint32_t source, std::uint32_t target);
std::uint32_t node_address(std::uint32_t node);

struct Send {
    Hook hook = Hook::Workload;
    std::uint32_t ifindex = 0;
    Packet packet = {};
    std::uint32_t gso_size = 0;
};
Send consumer_sends(const Packet& packet);
Send backend_sends(const Packet& packet);
Send neighbour_sends(const Packet& packet);
Send backbone_brings(const Packet& packet);

struct Row {
    std::string name;
    std::function<void(World&)> maps = [](World& world) { one_link(world); };
    std::vector<Send> before = {};  // each must be redirected
    std::function<void(World&)> meanwhile = [](World&) {};
    Send in;
    Verdict verdict;
    Packet out = {};  // empty: not looked at when dropped, the packet itself when passed
    Moved moved = {};
    std::optional<std::size_t> flows = {};  // entries left
    bool other = false;                     // beside another layout's flows
};

std::ostream& operator<<(std::ostream& out, const Row& row);
void run(const Row& row);

// Names the tests of a table by their sentences.
std::string row_name(const testing::TestParamInfo<Row>& info);

#define CULVERT_PACKET_ROWS(suite, rows)                                  \
    class suite : public testing::TestWithParam<culvert::packet::Row> {}; \
    TEST_P(suite, Row) { culvert::packet::run(GetParam()); }              \
    INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(rows), culvert::packet::row_name)

}  // namespace culvert::packet
