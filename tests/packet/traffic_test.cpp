// SPDX-License-Identifier: Apache-2.0
// Real TCP between namespaces: workloads on one node and on two, stubs attached by tcx and by
// clsact.
#include "tests/packet/kernel.hpp"
#include "tests/packet/netns.hpp"
#include "tests/packet/row.hpp"
#include "tests/packet/world.hpp"

#include "bpf/datapath.skel.h"
#include "bpf/stub.skel.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <tuple>

namespace culvert::packet {
namespace {

enum class Attach { Tcx, Clsact };

constexpr int kWaitMs = 10000;
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);  // newer than Debian 12's headers
constexpr std::size_t kBulk = 64u << 20;

void check(long result, const char* doing) {
    if (result < 0) {
        throw std::system_error(errno, std::generic_category(), doing);
    }
}

// A node: its namespace, its maps and programs, and its stubs.
class Node {
  public:
    Node(std::uint32_t index, Attach attach) : index_(index), attach_(attach) {
        netns_.run([&] {
            world_ = std::make_unique<World>();
            stub_ = stub__open_and_load();
        });
        if (!stub_) {
            throw std::runtime_error("load the stubs");
        }
        int slots = bpf_map__fd(stub_->maps.cv_progs);
        std::uint32_t slot = CV_PROG_FROM_WORKLOAD;
        int program = world_->program(Hook::Workload);
        check(bpf_map_update_elem(slots, &slot, &program, BPF_ANY), "set a program");
        slot = CV_PROG_FROM_BACKBONE;
        program = world_->program(Hook::Backbone);
        check(bpf_map_update_elem(slots, &slot, &program, BPF_ANY), "set a program");
    }
    ~Node() {
        for (auto link : links_) {
            close(link);
        }
        stub__destroy(stub_);
    }
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    void attach(Hook hook, int ifindex) {
        auto* program =
            hook == Hook::Workload ? stub_->progs.stub_workload : stub_->progs.stub_backbone;
        netns_.run([&] {
            if (attach_ == Attach::Tcx && kernel_has_tcx()) {
                // not bpf_program__attach_tcx(): the section is "tc", which names no attach type
                int link = bpf_link_create(bpf_program__fd(program), ifindex, kTcxIngress, nullptr);
                check(link, "attach by tcx");
                links_.push_back(link);
                return;
            }
            bpf_tc_hook tc{};
            tc.sz = sizeof(tc);
            tc.ifindex = ifindex;
            tc.attach_point = BPF_TC_INGRESS;
            check(bpf_tc_hook_create(&tc), "make clsact");
            bpf_tc_opts options{};
            options.sz = sizeof(options);
            options.prog_fd = bpf_program__fd(program);
            check(bpf_tc_attach(&tc, &options), "attach by clsact");
        });
    }

    // A veth pair to `workload`, set up as the agent does: address, gateway route, the NIC's MAC,
    // MTU.
    std::uint32_t plug(const Netns& workload, std::uint32_t nic, const std::string& address,
                       const std::string& name) {
        netns_.ip({"link", "add", name, "address", mac(kRouter).str(), "type", "veth", "peer",
                   "name", "eth0", "address", mac(nic).str(), "netns", workload.path()});
        netns_.ip({"link", "set", name, "up"});
        workload.ip({"link", "set", "eth0", "mtu", "1450", "up"});
        workload.ip({"address", "add", address + "/32", "dev", "eth0"});
        workload.ip({"route", "add", "169.254.1.1", "dev", "eth0"});
        workload.ip({"route", "add", "default", "via", "10.0.0.1", "dev", "eth0", "onlink"});
        auto ifindex = netns_.ifindex(name);
        attach(Hook::Workload, ifindex);
        world_->port(static_cast<std::uint32_t>(ifindex), nic, CV_PORT_PEER_OK);
        return static_cast<std::uint32_t>(ifindex);
    }

    void configure(std::uint32_t backbone) {
        cv_config value{};
        value.abi_version = CV_ABI_VERSION;
        value.node = index_;
        value.backbone_ifindex = backbone;
        value.outer_family = 4;
        value.udp_port = htons(CV_VXLAN_PORT);
        auto address = node_address(index_);
        std::memcpy(value.outer, &address, 4);
        value.backbone_mtu = 1500;
        world_->config(value);
    }

    World& world() { return *world_; }
    const Netns& netns() const { return netns_; }
    std::uint32_t index() const { return index_; }

  private:
    std::uint32_t index_;
    Attach attach_;
    Netns netns_;
    std::unique_ptr<World> world_;
    stub* stub_ = nullptr;
    std::vector<int> links_;
};

constexpr const char* kClient = "10.0.0.4";
constexpr const char* kServer = "10.0.0.4";  // the same: the VNets overlap
constexpr const char* kEndpoint = "10.0.1.5";
constexpr const char* kNat = "10.0.1.5";

// What both nodes know of the link; `ifindex` is that of a NIC on this node, else 0.
void fill(Node& node, std::uint32_t consumer_node, std::uint32_t consumer_ifindex,
          std::uint32_t backend_node, std::uint32_t backend_ifindex) {
    auto& world = node.world();
    auto nic = [&](std::uint32_t index, const char* address, std::uint32_t vnet,
                   std::uint32_t where, std::uint32_t ifindex) {
        cv_nic value{};
        value.address = ip(address);
        value.vnet = vnet;
        value.node = where;
        value.ifindex = ifindex;
        value.port_flags = CV_PORT_PEER_OK;
        value.generation = 1;
        world.nic(index, value);
        world.address(vnet, ip(address), CV_ADDRESS_NIC, index);
        world.prefix(vnet, ip("10.0.0.0"), 16);
    };
    nic(kConsumer, kClient, kConsumerVnet, consumer_node, consumer_ifindex);
    nic(kBackend, kServer, kProviderVnet, backend_node, backend_ifindex);
    for (auto index : {kHere, kThere}) {
        cv_node value{};
        auto address = node_address(index);
        std::memcpy(value.outer, &address, 4);
        std::memcpy(value.next_hop, &address, 4);
        value.family = 4;
        world.node(index, value);
    }
    cv_link link{};
    link.generation = kGeneration;
    link.state = CV_LINK_APPROVED;
    link.service = kService;
    link.consumer_vnet = kConsumerVnet;
    link.provider_vnet = kProviderVnet;
    link.endpoint = ip(kEndpoint);
    world.link(kLink, link);
    world.address(kConsumerVnet, ip(kEndpoint), CV_ADDRESS_ENDPOINT, kLink);
    world.address(kProviderVnet, ip(kNat), CV_ADDRESS_NAT, kService);
    world.service(kService, kProviderVnet, {ip(kNat)});
    world.rule(kService, kPort, kPool, kBackendPort);
    world.pool(kPool, {kBackend});
}

// Consumer and backend, on one node or on two with a backbone between.
struct Topology {
    Topology(Attach attach, bool two_nodes) : here(kHere, attach) {
        std::uint32_t backbone = 0;
        if (two_nodes) {
            there.emplace(kThere, attach);
            here.netns().ip({"link", "add", "backbone", "type", "veth", "peer", "name", "backbone",
                             "netns", there->netns().path()});
            for (auto* node : {&here, &*there}) {
                node->netns().ip({"address", "add", fmt::format("192.0.2.{}/24", node->index()),
                                  "dev", "backbone"});
                node->netns().ip({"link", "set", "backbone", "up"});
                backbone = static_cast<std::uint32_t>(node->netns().ifindex("backbone"));
                node->attach(Hook::Backbone, static_cast<int>(backbone));
                node->configure(backbone);
            }
        } else {
            here.configure(0);
        }
        auto& backend_node = two_nodes ? *there : here;
        auto consumer_ifindex = here.plug(consumer, kConsumer, kClient, "consumer");
        auto backend_ifindex = backend_node.plug(backend, kBackend, kServer, "backend");
        fill(here, kHere, consumer_ifindex, backend_node.index(), two_nodes ? 0 : backend_ifindex);
        if (two_nodes) {
            fill(*there, kHere, 0, kThere, backend_ifindex);
        }
        here.world().moved();
    }

    Netns consumer, backend;
    Node here;
    std::optional<Node> there;
};

class Socket {
  public:
    explicit Socket(int fd) : fd_(fd) { check(fd, "socket"); }
    ~Socket() { close(fd_); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    int fd() const { return fd_; }

  private:
    int fd_;
};

sockaddr_in at(const char* address, std::uint16_t port) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    where.sin_addr.s_addr = ip(address);
    return where;
}

void bound_waiting(int fd) {
    timeval limit{.tv_sec = kWaitMs / 1000, .tv_usec = 0};
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), "limit waiting");
    check(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), "limit waiting");
}

std::unique_ptr<Socket> make_socket(const Netns& where) {
    std::unique_ptr<Socket> made;
    where.run([&] { made = std::make_unique<Socket>(socket(AF_INET, SOCK_STREAM, 0)); });
    bound_waiting(made->fd());
    return made;
}

std::unique_ptr<Socket> listen_at(const Netns& where) {
    auto made = make_socket(where);
    auto address = at("0.0.0.0", kBackendPort);
    check(bind(made->fd(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), "bind");
    check(listen(made->fd(), 16), "listen");
    return made;
}

std::uint8_t pattern(std::size_t place) {
    return static_cast<std::uint8_t>(place * 31 + (place >> 13));
}

void send_pattern(int fd, std::size_t bytes) {
    Bytes block(1 << 18);
    for (std::size_t sent = 0; sent < bytes;) {
        auto size = std::min(block.size(), bytes - sent);
        for (std::size_t i = 0; i < size; i++) {
            block[i] = pattern(sent + i);
        }
        for (std::size_t done = 0; done < size;) {
            auto result = send(fd, block.data() + done, size - done, MSG_NOSIGNAL);
            check(result, "send");
            done += static_cast<std::size_t>(result);
        }
        sent += size;
    }
    shutdown(fd, SHUT_WR);
}

// Reads to the end; how many bytes came in order, or the place of the first wrong one.
std::size_t receive_pattern(int fd) {
    Bytes block(1 << 18);
    for (std::size_t got = 0;;) {
        auto result = recv(fd, block.data(), block.size(), 0);
        check(result, "receive");
        if (result == 0) {
            return got;
        }
        for (std::size_t i = 0; i < static_cast<std::size_t>(result); i++) {
            if (block[i] != pattern(got + i)) {
                return got + i;
            }
        }
        got += static_cast<std::size_t>(result);
    }
}

struct Connection {
    std::unique_ptr<Socket> client, server;
    std::string seen;  // the client's address as the server sees it
    std::string peer;  // the server's address as the client sees it
};

Connection connect_through(const Topology& topology) {
    Connection made;
    auto listener = listen_at(topology.backend);
    made.client = make_socket(topology.consumer);
    auto target = at(kEndpoint, kPort);
    check(connect(made.client->fd(), reinterpret_cast<sockaddr*>(&target), sizeof(target)),
          "connect");
    sockaddr_in from{};
    socklen_t size = sizeof(from);
    made.server =
        std::make_unique<Socket>(accept(listener->fd(), reinterpret_cast<sockaddr*>(&from), &size));
    bound_waiting(made.server->fd());
    made.seen = net::Ipv4::from_be(from.sin_addr.s_addr).str();
    size = sizeof(from);
    check(getpeername(made.client->fd(), reinterpret_cast<sockaddr*>(&from), &size), "peer");
    made.peer = net::Ipv4::from_be(from.sin_addr.s_addr).str();
    return made;
}

std::size_t transfer(int sender, int receiver, std::size_t bytes) {
    std::thread writer([&] { send_pattern(sender, bytes); });
    auto got = receive_pattern(receiver);
    writer.join();
    return got;
}

class Traffic : public testing::TestWithParam<Attach> {};

TEST_P(Traffic, OneNodeCarriesBytesBothWays) {
    Topology topology(GetParam(), false);
    auto connection = connect_through(topology);
    EXPECT_EQ(connection.seen, kNat);
    EXPECT_EQ(connection.peer, kEndpoint);
    EXPECT_EQ(transfer(connection.client->fd(), connection.server->fd(), kBulk), kBulk);
    EXPECT_EQ(transfer(connection.server->fd(), connection.client->fd(), kBulk), kBulk);
    auto moved = topology.here.world().moved();
    EXPECT_GT(moved["LINK_LOCAL"], 0u);
    EXPECT_EQ(moved["FLOW_CREATED"], 2u);
    EXPECT_EQ(moved["drop.NO_FLOW"], 0u);
}

TEST_P(Traffic, TwoNodesCarrySuperPacketsBothWays) {
    Topology topology(GetParam(), true);
    auto connection = connect_through(topology);
    EXPECT_EQ(connection.seen, kNat);
    EXPECT_EQ(connection.peer, kEndpoint);
    topology.here.world().moved();
    topology.there->world().moved();
    EXPECT_EQ(transfer(connection.client->fd(), connection.server->fd(), kBulk), kBulk);
    auto out = topology.here.world().moved();
    auto in = topology.there->world().moved();
    // far more bytes a packet than one segment holds: super-packets cross in one piece
    EXPECT_GT(out["SUPER_OUT"], 0u);
    EXPECT_EQ(out["SUPER_OUT"], in["SUPER_IN"]);
    EXPECT_LT(out["LINK_OUT"], kBulk / 1398 / 4);
    EXPECT_EQ(transfer(connection.server->fd(), connection.client->fd(), kBulk), kBulk);
    out = topology.there->world().moved();
    in = topology.here.world().moved();
    EXPECT_GT(out["SUPER_OUT"], 0u);
    EXPECT_EQ(out["SUPER_OUT"], in["SUPER_IN"]);
}

TEST_P(Traffic, RejectingStopsAnEstablishedConnection) {
    Topology topology(GetParam(), true);
    auto connection = connect_through(topology);
    ASSERT_EQ(send(connection.client->fd(), "a", 1, 0), 1);
    char byte = 0;
    ASSERT_EQ(recv(connection.server->fd(), &byte, 1, 0), 1);
    // one node alone enforces it
    auto link = topology.there->world().link(kLink);
    link.state = CV_LINK_REFUSED;
    topology.there->world().link(kLink, link);
    ASSERT_EQ(send(connection.client->fd(), "b", 1, 0), 1);
    pollfd wait{.fd = connection.server->fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&wait, 1, 500), 0);
    EXPECT_GT(topology.there->world().moved()["drop.LINK_REFUSED"], 0u);
}

INSTANTIATE_TEST_SUITE_P(, Traffic, testing::Values(Attach::Tcx, Attach::Clsact),
                         [](const testing::TestParamInfo<Attach>& attach) {
                             return std::string(attach.param == Attach::Tcx ? "Tcx" : "Clsact");
                         });

// Who fills in TCP checksums on the way to the workload: nobody (they stay in memory), the workload
// when it sends, or the host's side when it delivers. Where anybody does, the receiver checks them.
enum class Checksums { Nobody, Workload, Host };

void checksum_itself(const Netns& where, const char* interface) {
    where.run([&] {
        const Socket control(socket(AF_INET, SOCK_DGRAM, 0));
        ethtool_value value{.cmd = ETHTOOL_STXCSUM, .data = 0};
        ifreq request{};
        std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
        request.ifr_data = reinterpret_cast<char*>(&value);
        check(ioctl(control.fd(), SIOCETHTOOL, &request), "turn checksum offload off");
    });
}

// The error of a connection attempt from the consumer to the endpoint.
int connect_error(const Topology& topology, std::uint16_t port) {
    auto made = make_socket(topology.consumer);
    auto target = at(kEndpoint, port);
    return connect(made->fd(), reinterpret_cast<sockaddr*>(&target), sizeof(target)) ? errno : 0;
}

// The error that a socket has after it has sent `bytes`.
int error_after_sending(int fd, std::size_t bytes) {
    const Bytes block(bytes, 'x');
    if (send(fd, block.data(), block.size(), MSG_NOSIGNAL) < 0) {
        return errno;
    }
    char byte = 0;
    return recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}

void change(Topology& topology, const std::function<void(cv_link&)>& change) {
    for (auto* node : {&topology.here, topology.there ? &*topology.there : nullptr}) {
        if (node) {
            auto link = node->world().link(kLink);
            change(link);
            node->world().link(kLink, link);
        }
    }
}

class Refusal : public testing::TestWithParam<std::tuple<Checksums, bool>> {
  protected:
    Refusal() : topology(Attach::Tcx, std::get<bool>(GetParam())) {
        auto& backend_node = topology.there ? *topology.there : topology.here;
        switch (std::get<Checksums>(GetParam())) {
            case Checksums::Nobody: break;
            case Checksums::Workload:
                checksum_itself(topology.consumer, "eth0");
                checksum_itself(topology.backend, "eth0");
                break;
            case Checksums::Host:
                checksum_itself(topology.here.netns(), "consumer");
                checksum_itself(backend_node.netns(), "backend");
                break;
        }
    }
    Topology topology;
};

TEST_P(Refusal, ConnectingFailsAtOnce) {
    EXPECT_EQ(connect_error(topology, kPort + 1), ECONNREFUSED);
    EXPECT_GT(topology.here.world().moved()["drop.NO_RULE"], 0u);
    topology.here.world().pool(kPool, {});
    EXPECT_EQ(connect_error(topology, kPort), ECONNREFUSED);
    EXPECT_GT(topology.here.world().moved()["drop.NO_BACKEND"], 0u);
    change(topology, [](cv_link& link) { link.state = CV_LINK_REFUSED; });
    EXPECT_EQ(connect_error(topology, kPort), ECONNREFUSED);
    auto moved = topology.here.world().moved();
    EXPECT_GT(moved["drop.LINK_REFUSED"], 0u);
    EXPECT_EQ(moved["drop.LINK_REFUSED"], moved["RESET_SENT"]);
}

TEST_P(Refusal, RejectingEndsBothSides) {
    auto connection = connect_through(topology);
    change(topology, [](cv_link& link) { link.state = CV_LINK_REFUSED; });
    EXPECT_EQ(error_after_sending(connection.client->fd(), 1), ECONNRESET);
    EXPECT_EQ(error_after_sending(connection.server->fd(), 3), ECONNRESET);
}

// A first write this large leaves as a super-packet.
TEST_P(Refusal, ASuperPacketIsAnsweredToo) {
    auto connection = connect_through(topology);
    change(topology, [](cv_link& link) { link.state = CV_LINK_REFUSED; });
    EXPECT_EQ(error_after_sending(connection.client->fd(), 1 << 17), ECONNRESET);
    EXPECT_EQ(error_after_sending(connection.server->fd(), 1 << 17), ECONNRESET);
}

TEST_P(Refusal, ANewApprovalEndsBothSidesOfEarlierConnections) {
    auto connection = connect_through(topology);
    change(topology, [](cv_link& link) { link.generation++; });
    EXPECT_EQ(error_after_sending(connection.server->fd(), 1), ECONNRESET);
    EXPECT_EQ(error_after_sending(connection.client->fd(), 1), ECONNRESET);
    EXPECT_EQ(topology.here.world().moved()["drop.LINK_STALE"], 1u);
    auto again = connect_through(topology);
    EXPECT_EQ(transfer(again.client->fd(), again.server->fd(), 1 << 20), 1u << 20);
}

std::string refusal_name(const testing::TestParamInfo<std::tuple<Checksums, bool>>& info) {
    constexpr std::array kWho{"InMemory", "ByWorkload", "ByHost"};
    return fmt::format("{}{}", kWho.at(static_cast<std::size_t>(std::get<Checksums>(info.param))),
                       std::get<bool>(info.param) ? "TwoNodes" : "OneNode");
}

INSTANTIATE_TEST_SUITE_P(, Refusal,
                         testing::Combine(testing::Values(Checksums::Nobody, Checksums::Workload,
                                                          Checksums::Host),
                                          testing::Bool()),
                         refusal_name);

// Sends frames by `interface` as they are: one in VLAN 5, then one without a tag.
void send_tagged_and_plain(const Netns& where, const char* interface, const Packet& tagged,
                           const Packet& plain) {
    where.run([&] {
        const Socket raw(socket(AF_PACKET, SOCK_RAW, 0));
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_ifindex = static_cast<int>(if_nametoindex(interface));
        auto frame = tagged.bytes();
        const std::array<std::uint8_t, 4> tag{0x81, 0, 0, 5};
        frame.insert(frame.begin() + 12, tag.begin(), tag.end());
        for (const auto& bytes : {frame, plain.bytes()}) {
            check(sendto(raw.fd(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to),
                         sizeof(to)),
                  "send a frame");
        }
    });
}

// What moved until `last` did.
Moved moved_until(World& world, const std::string& last) {
    Moved sum;
    for (int i = 0; i < kWaitMs && !sum.contains(last); i++) {
        poll(nullptr, 0, 1);
        for (const auto& [name, value] : world.moved()) {
            sum[name] += value;
        }
    }
    return sum;
}

// The kernel moves a VLAN tag out of the frame before tc sees it, and puts it in again behind.
TEST(Vlan, AWorkloadsTagDoesNotReachTheBackbone) {
    Topology topology(Attach::Tcx, true);
    auto request = [](std::uint16_t port) {
        return from(kConsumer).ipv4(ip(kClient), ip(kEndpoint)).tcp(port, kPort).syn();
    };
    send_tagged_and_plain(topology.consumer, "eth0", request(1), request(2));
    auto moved = moved_until(topology.here.world(), "LINK_OUT");
    EXPECT_GT(moved["drop.NOT_IPV4"], 0u);
    EXPECT_EQ(moved["FLOW_CREATED"], 1u) << "of the frame without a tag";
}

TEST(Vlan, AnotherVlanOfTheBackboneIsTheHosts) {
    Topology topology(Attach::Tcx, true);
    auto frame = wire(kThere, kHere, kStrangerVnet, kBackend, kConsumer)
                     .ipv4(ip("10.0.0.7"), ip("10.0.0.4"))
                     .udp(1, 2);
    send_tagged_and_plain(topology.there->netns(), "backbone", frame, frame);
    auto moved = moved_until(topology.here.world(), "drop.VNI_UNKNOWN");
    EXPECT_EQ(moved["drop.VNI_UNKNOWN"], 1u) << "the frame without a tag";
    EXPECT_GT(moved["NOT_OURS"], 0u);
}

}  // namespace
}  // namespace culvert::packet
