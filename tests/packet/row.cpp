// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/row.hpp"

#include "tests/packet/netns.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace culvert::packet {
namespace {

// One CPU only: the cursor of the NAT port search is a CPU's own.
void stay_on_one_cpu() {
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof(allowed), &allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_ZERO(&allowed);
            CPU_SET(cpu, &allowed);
            sched_setaffinity(0, sizeof(allowed), &allowed);
            return;
        }
    }
}

Devices make_devices() {
    stay_on_one_cpu();
    static Netns own;
    for (const auto* name : {"consumer", "backend", "neighbour", "second", "backbone"}) {
        own.ip({"link", "add", name, "type", "veth", "peer", "name", fmt::format("{}.p", name)});
    }
    own.enter();
    return {if_nametoindex("consumer"), if_nametoindex("backend"), if_nametoindex("neighbour"),
            if_nametoindex("second"), if_nametoindex("backbone")};
}

cv_nic nic(const std::string& address, std::uint32_t vnet, std::uint32_t node,
           std::uint32_t ifindex) {
    cv_nic value{};
    value.address = ip(address);
    value.vnet = vnet;
    value.node = node;
    value.ifindex = node == kHere ? ifindex : 0;
    value.port_flags = CV_PORT_PEER_OK;
    value.generation = 1;
    return value;
}

cv_node node(std::uint32_t index) {
    cv_node value{};
    auto address = node_address(index);
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&address), 4, value.outer);
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&address), 4, value.next_hop);
    value.family = 4;
    return value;
}

cv_config config(const Scene& scene) {
    cv_config value{};
    value.abi_version = CV_ABI_VERSION;
    value.node = kHere;
    value.backbone_ifindex = devices().backbone;
    value.outer_family = 4;
    value.udp_port = htons(kVxlanPort);
    auto address = node_address(kHere);
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&address), 4, value.outer);
    value.backbone_mtu = scene.mtu;
    return value;
}

void fill_nics(World& world, const Scene& scene) {
    const auto& at = devices();
    world.nic(kConsumer,
              nic(scene.consumer, scene.consumer_vnet, scene.consumer_node, at.consumer));
    world.nic(kNeighbour,
              nic(scene.neighbour, scene.consumer_vnet, scene.neighbour_node, at.neighbour));
    world.nic(kBackend, nic(scene.backend, scene.provider_vnet, scene.backend_node, at.backend));
    world.nic(kSecondBackend, nic("10.0.0.8", scene.provider_vnet, scene.backend_node, at.second));
    world.nic(kStranger, nic("10.0.0.6", kStrangerVnet, kThere, 0));
    world.port(at.consumer, kConsumer, CV_PORT_PEER_OK);
    world.port(at.neighbour, kNeighbour, CV_PORT_PEER_OK);
    world.port(at.backend, kBackend, CV_PORT_PEER_OK);
    world.port(at.second, kSecondBackend, CV_PORT_PEER_OK);
    for (auto vnet : {scene.consumer_vnet, scene.provider_vnet, kStrangerVnet}) {
        world.prefix(vnet, ip("10.0.0.0"), 16);
    }
    world.address(scene.consumer_vnet, ip(scene.consumer), CV_ADDRESS_NIC, kConsumer);
    world.address(scene.consumer_vnet, ip(scene.neighbour), CV_ADDRESS_NIC, kNeighbour);
    if (!scene.self) {
        world.address(scene.provider_vnet, ip(scene.backend), CV_ADDRESS_NIC, kBackend);
    }
}

}  // namespace

const Devices& devices() {
    static const Devices kDevices = make_devices();
    return kDevices;
}

void one_link(World& world, const Scene& scene) {
    world.config(config(scene));
    for (auto index : {kHere, kThere, kElsewhere}) {
        world.node(index, node(index));
    }
    fill_nics(world, scene);
    world.address(scene.consumer_vnet, ip(scene.endpoint), CV_ADDRESS_ENDPOINT, kLink);
    world.address(scene.provider_vnet, ip(scene.nat), CV_ADDRESS_NAT, kService);
    world.address(scene.provider_vnet, ip("10.0.1.200"), CV_ADDRESS_FRONTEND, 0);
    world.begin_totals(kLink, 0, kGeneration);
    world.begin_totals(0, kBackend);
    cv_link link{};
    link.generation = kGeneration;
    link.state = scene.state;
    link.service = kService;
    link.consumer_vnet = scene.consumer_vnet;
    link.provider_vnet = scene.provider_vnet;
    link.endpoint = ip(scene.endpoint);
    world.link(kLink, link);
    world.service(kService, scene.provider_vnet, {ip(scene.nat)});
    world.rule(kService, kPort, kPool, kBackendPort);
    world.pool(kPool, {scene.self ? kConsumer : kBackend});
}

void change_link(World& world, const std::function<void(cv_link&)>& change) {
    auto link = world.link(kLink);
    change(link);
    world.link(kLink, link);
}

void change_nic(World& world, std::uint32_t index, const std::function<void(cv_nic&)>& change) {
    auto value = world.nic(index);
    change(value);
    world.nic(index, value);
}

void reject(World& world) {
    change_link(world, [](cv_link& link) { link.state = CV_LINK_REFUSED; });
}

void approve_anew(World& world) {
    change_link(world, [](cv_link& link) { link.generation++; });
}

net::Mac mac(std::uint32_t index) { return net::Mac::of_nic(index); }
Packet from(std::uint32_t index) { return Packet().eth(mac(index), mac(kRouter)); }
Packet to(std::uint32_t index) { return Packet().eth(mac(kRouter), mac(index)); }

std::uint32_t node_address(std::uint32_t index) { return ip(fmt::format("192.0.2.{}", index)); }

Packet wire(std::uint32_t from_node, std::uint32_t to_node, std::uint32_t vni, std::uint32_t source,
            std::uint32_t target) {
    const net::Mac near{{0x02, 0, 0, 0, 0, 1}}, far{{0x02, 0, 0, 0, 0, 2}};
    return Packet()
        .eth(far, near)
        .ipv4(node_address(from_node), node_address(to_node))
        .ip_id(0)
        .udp(kWirePort, kVxlanPort)
        .no_checksum()
        .vxlan(vni)
        .eth(mac(source), mac(target));
}

Packet wired(std::uint32_t to_node, std::uint32_t vni, std::uint32_t source, std::uint32_t target) {
    return Packet()
        .eth(mac(source), mac(kRouter))
        .ipv4(node_address(kHere), node_address(to_node))
        .ip_id(0)
        .udp(kAnyPort, kVxlanPort)
        .no_checksum()
        .vxlan(vni)
        .eth(mac(source), mac(target));
}

Send consumer_sends(const Packet& packet) { return {Hook::Workload, devices().consumer, packet}; }
Send backend_sends(const Packet& packet) { return {Hook::Workload, devices().backend, packet}; }
Send neighbour_sends(const Packet& packet) { return {Hook::Workload, devices().neighbour, packet}; }
Send backbone_brings(const Packet& packet) { return {Hook::Backbone, devices().backbone, packet}; }

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

namespace {

constexpr std::size_t kOuterPortAt = 34, kOuterHeaders = 42;

// Takes over the outer source port where the row leaves it open; it must be an ephemeral one.
void accept_any_port(Bytes& expected, const Bytes& out) {
    const bool open = expected.size() > kOuterHeaders && out.size() == expected.size() &&
                      expected[23] == IPPROTO_UDP && expected[kOuterPortAt] == 0 &&
                      expected[kOuterPortAt + 1] == 0;
    if (open) {
        EXPECT_GE(out[kOuterPortAt], 0xc0) << "outer source port below 49152";
        std::copy_n(out.begin() + kOuterPortAt, 2, expected.begin() + kOuterPortAt);
    }
}

std::string hex(const Bytes& bytes) { return fmt::format("{:02x}", fmt::join(bytes, "")); }

}  // namespace

void run(const Row& row) {
    devices();
    static World alone(4096);  // loading is most of a row's time
    static World beside(4096, {}, true);
    World& world = row.other ? beside : alone;
    world.reset();
    row.maps(world);
    for (const auto& send : row.before) {
        auto outcome = world.send(send.hook, send.ifindex, send.packet.bytes(), send.gso_size);
        ASSERT_EQ(static_cast<int>(outcome.verdict), static_cast<int>(Verdict::Redirected))
            << describe(send.packet.bytes()) << "\n"
            << testing::PrintToString(world.moved());
    }
    row.meanwhile(world);
    world.moved();
    auto outcome = world.send(row.in.hook, row.in.ifindex, row.in.packet.bytes(), row.in.gso_size);
    EXPECT_EQ(static_cast<int>(outcome.verdict), static_cast<int>(row.verdict));
    EXPECT_EQ(world.moved(), row.moved);
    if (row.verdict != Verdict::Dropped) {
        auto expected = (row.out.empty() ? row.in.packet : row.out).bytes();
        accept_any_port(expected, outcome.out);
        EXPECT_TRUE(outcome.out == expected) << "got\n"
                                             << describe(outcome.out) << "\n"
                                             << hex(outcome.out) << "\nwanted\n"
                                             << describe(expected) << "\n"
                                             << hex(expected);
    }
    if (row.flows) {
        EXPECT_EQ(world.flows().size(), *row.flows);
    }
}

std::string row_name(const testing::TestParamInfo<Row>& info) {
    std::string name;
    bool upper = true;
    for (char c : info.param.name) {
        if (std::isalnum(static_cast<unsigned char>(c))) {
            name += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
        }
        upper = !std::isalnum(static_cast<unsigned char>(c)) && c != '\'';
    }
    return name;
}

}  // namespace culvert::packet
