// SPDX-License-Identifier: Apache-2.0
// The data plane of a node of its own, opened and closed as often as a test likes.
#pragma once

#include "host.hpp"

#include "datapath/datapath.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace culvert::datapath {

inline constexpr std::uint32_t kVnet = 7;
inline constexpr std::uint32_t kNode = 1;

inline net::Ipv4 ip(const std::string& text) { return *net::Ipv4::parse(text); }

class DatapathTest : public testing::Test {
  protected:
    static void SetUpTestSuite() { enter_own_namespaces(); }

    LoadOptions options() const {
        LoadOptions out;
        out.pin_dir = directory_.path() / "bpf";
        out.sizes = {.nics = 64,
                     .links = 64,
                     .flows = 1024,
                     .addresses = 64,
                     .services = 16,
                     .rules = 16,
                     .pools = 16,
                     .members = 16,
                     .prefixes = 16};
        return out;
    }

    void open() { open(options()); }
    void open(const LoadOptions& how) {
        auto datapath = Datapath::open(how);
        ASSERT_TRUE(datapath) << datapath.error().message;
        datapath_ = std::move(*datapath);
        auto maps = Maps::open(*datapath_);
        ASSERT_TRUE(maps) << maps.error().message;
        maps_ = std::move(*maps);
    }
    void close() {
        maps_.reset();
        datapath_.reset();
    }

    // A workload with NIC `index` at `address`; its stub is attached by `attacher`.
    void workload(Attacher& attacher, const Namespace& where, std::uint32_t index,
                  const std::string& address) {
        auto host = Netlink::open();
        ASSERT_TRUE(host) << host.error().message;
        const auto name = fmt::format("cvt{:x}", index);
        const VethRequest request{.host_name = name,
                                  .host_alias = "culvert test",
                                  .host_mac = net::Mac::of_nic(0),
                                  .peer_netns = where.fd(),
                                  .peer_name = "eth0",
                                  .peer_mac = net::Mac::of_nic(index),
                                  .mtu = 1450};
        auto made = (*host)->make_veth(request);
        ASSERT_TRUE(made) << made.error().message;
        ASSERT_TRUE(disable_ipv6(name));
        auto inside = Netlink::open_in(where.fd());
        ASSERT_TRUE(inside) << inside.error().message;
        const auto peer = (*inside)->link("eth0");
        ASSERT_TRUE(peer) << peer.error().message;
        EXPECT_EQ(peer->mac, net::Mac::of_nic(index));
        EXPECT_EQ(peer->mtu, 1450u);
        ASSERT_TRUE((*inside)->add_address(peer->ifindex, ip(address), 24));
        ASSERT_TRUE((*inside)->set_up(peer->ifindex));
        auto routed = (*inside)->add_default_route(peer->ifindex, ip("10.0.0.1"));
        ASSERT_TRUE(routed) << routed.error().message;
        const auto link = (*host)->link(name);
        ASSERT_TRUE(link) << link.error().message;
        EXPECT_EQ(link->kind, "veth");
        EXPECT_EQ(link->alias, "culvert test");
        ASSERT_TRUE((*host)->set_up(link->ifindex));
        auto attached = attacher.attach(link->ifindex, Hook::kWorkload);
        ASSERT_TRUE(attached) << attached.error().message;
        plug(index, address, link->ifindex);
    }

    void plug(std::uint32_t index, const std::string& address, std::uint32_t ifindex) {
        ASSERT_TRUE(maps_->set_nic({.index = index,
                                    .address = ip(address),
                                    .vnet = kVnet,
                                    .node = kNode,
                                    .ifindex = ifindex,
                                    .port_flags = CV_PORT_PEER_OK,
                                    .generation = 1}));
        ASSERT_TRUE(maps_->set_port({.ifindex = ifindex, .nic = index, .flags = CV_PORT_PEER_OK}));
        ASSERT_TRUE(maps_->set_address(
            {.vnet = kVnet, .address = ip(address), .kind = CV_ADDRESS_NIC, .id = index}));
        ifindexes_.push_back(ifindex);
    }

    void configure() {
        ASSERT_TRUE(maps_->set_config({.node = kNode,
                                       .backbone_ifindex = 0,
                                       .outer = {},
                                       .udp_port = 4789,
                                       .backbone_mtu = 1500}));
        const std::vector<net::Ipv4Prefix> prefixes{*net::Ipv4Prefix::parse("10.0.0.0/16")};
        ASSERT_TRUE(maps_->set_prefixes(kVnet, {}, prefixes));
    }

    void TearDown() override {
        auto host = Netlink::open();
        ASSERT_TRUE(host);
        for (const auto ifindex : ifindexes_) {
            static_cast<void>((*host)->remove_link(ifindex));
        }
        close();
    }

    TemporaryDirectory directory_;
    std::unique_ptr<Datapath> datapath_;
    std::unique_ptr<Maps> maps_;
    std::vector<std::uint32_t> ifindexes_;
};

}  // namespace culvert::datapath
