// SPDX-License-Identifier: Apache-2.0
// datapath/ against the running kernel: pins that outlive the process, programs swapped under a
// connection, both ways to attach, veth pairs in other namespaces.
#include "fixture.hpp"

#include "abi/names.h"
#include "datapath/transfer.hpp"
#include "tests/packet/kernel.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace culvert::datapath {
namespace {

TEST_F(DatapathTest, ASecondAgentOnOnePinDirectoryIsRefused) {
    open();
    const auto second = Datapath::open(options());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::kConflict);
}

TEST_F(DatapathTest, MapsOfTheSameSizeAreTakenOverWithTheirContent) {
    open();
    EXPECT_FALSE(datapath_->reused("cv_nics"));
    ASSERT_TRUE(maps_->set_nic({.index = 5, .address = ip("10.0.0.5"), .vnet = kVnet}));
    close();
    open();
    EXPECT_TRUE(datapath_->reused("cv_nics"));
    const std::uint32_t key = 5;
    cv_nic value{};
    ASSERT_EQ(bpf_map_lookup_elem(datapath_->map("cv_nics"), &key, &value), 0);
    EXPECT_EQ(value.vnet, kVnet);
    EXPECT_EQ(value.address, ip("10.0.0.5").to_be());
}

TEST_F(DatapathTest, AMapOfAnotherSizeStartsEmptyAndFlowsAndTheProgramArrayStay) {
    open();
    ASSERT_TRUE(datapath_->activate());
    close();
    auto larger = options();
    larger.sizes.nics *= 2;
    open(larger);
    EXPECT_FALSE(datapath_->reused("cv_nics"));
    for (const char* part : {"cv_flows", "cv_slots", "cv_free", "cv_sweep", "cv_progs"}) {
        EXPECT_TRUE(datapath_->reused(part)) << part;
    }
    EXPECT_FALSE(datapath_->draining());
}

// Layouts differ by version and by the size of the flow table; here by the latter.
class LayoutTest : public DatapathTest {
  protected:
    LoadOptions options_with(std::uint32_t flows) const {
        auto out = options();
        out.sizes.flows = flows;
        return out;
    }
    // Opens and activates, with one flow in the table and one approved link.
    void serve(std::uint32_t flows, std::uint32_t client) {
        open(options_with(flows));
        ASSERT_TRUE(datapath_->activate());
        ASSERT_TRUE(maps_->set_link({.id = 2, .generation = 1, .state = CV_LINK_APPROVED}));
        const auto key = key_of(client);
        const cv_flow flow{};
        ASSERT_EQ(bpf_map_update_elem(datapath_->map("cv_flows"), &key, &flow, BPF_ANY), 0);
    }
    static cv_flow_key key_of(std::uint32_t client) {
        cv_flow_key key{};
        key.scope = client;
        return key;
    }
    std::filesystem::path pins(const std::string& layout) const {
        return options().pin_dir / layout;
    }
    bool has_flow(std::uint32_t client) const {
        const auto key = key_of(client);
        cv_flow flow{};
        return bpf_map_lookup_elem(datapath_->map("cv_flows"), &key, &flow) == 0;
    }
    bool approved() const {
        cv_link link{};
        const std::uint32_t id = 2;
        bpf_map_lookup_elem(datapath_->map("cv_links"), &id, &link);
        return link.state == CV_LINK_APPROVED;
    }
};

TEST_F(LayoutTest, FlowsOfTheOldOneAreServedUntilNoneIsLeft) {
    serve(1024, 7);
    ASSERT_TRUE(has_flow(7));
    const std::uint32_t drop = CV_DROP_NO_FLOW;
    const std::vector<std::uint64_t> counted(static_cast<std::size_t>(libbpf_num_possible_cpus()),
                                             3);
    ASSERT_EQ(bpf_map_update_elem(datapath_->map("cv_drops"), &drop, counted.data(), BPF_ANY), 0);
    close();
    open(options_with(2048));
    EXPECT_TRUE(datapath_->reused("cv_progs"));
    EXPECT_FALSE(has_flow(7)) << "entries stay where they are";
    EXPECT_FALSE(approved()) << "the intent is written anew";
    EXPECT_EQ((*maps_->drops())[drop], 3 * counted.size()) << "counters go on";
    EXPECT_EQ(maps_->flows().value(), 1u);
    ASSERT_TRUE(datapath_->draining());
    EXPECT_EQ(datapath_->draining()->flow_limit, 1024u);
    EXPECT_EQ(datapath_->draining()->version, CV_ABI_VERSION + 0u);
    EXPECT_EQ(datapath_->draining()->flows, 1u);
    EXPECT_EQ(datapath_->layout().flow_limit, 2048u);
    ASSERT_TRUE(datapath_->activate());
    ASSERT_TRUE(datapath_->drain());
    ASSERT_TRUE(datapath_->draining());
    const std::string old = fmt::format("v{}-1024", CV_ABI_VERSION);
    const runtime::Fd flows(bpf_obj_get((pins(old) / "cv_flows").c_str()));
    const auto key = key_of(7);
    ASSERT_EQ(bpf_map_delete_elem(flows.get(), &key), 0);
    auto drained = datapath_->drain();
    ASSERT_TRUE(drained) << drained.error().message;
    EXPECT_FALSE(datapath_->draining());
    EXPECT_FALSE(std::filesystem::exists(pins(old)));
    EXPECT_TRUE(datapath_->drain());
    // the descriptors that were handed out go on
    ASSERT_TRUE(maps_->set_link({.id = 2, .generation = 1, .state = CV_LINK_APPROVED}));
    EXPECT_TRUE(approved());
    close();
    open(options_with(2048));
    EXPECT_TRUE(datapath_->reused("cv_flows"));
    EXPECT_TRUE(approved());
}

// A drained node waits for these, whichever layout's table they are in.
TEST_F(LayoutTest, ConnectionsToBackendsAreCountedInBothAndNothingElseIs) {
    const auto put = [&](std::uint32_t client, std::uint32_t flags, std::uint8_t action,
                         std::uint32_t generation) {
        const auto key = key_of(client);
        cv_flow flow{};
        flow.flags = flags;
        flow.action = action;
        flow.link = 2;
        flow.link_generation = generation;
        flow.nic = 5;
        ASSERT_EQ(bpf_map_update_elem(datapath_->map("cv_flows"), &key, &flow, BPF_ANY), 0);
    };
    const auto fill = [&](std::uint32_t client) {
        put(client, CV_FLOW_PRIMARY | CV_FLOW_PAIRED, CV_FLOW_DELIVER, 1);
        put(client + 1, CV_FLOW_PAIRED, CV_FLOW_DELIVER, 1);   // its answers
        put(client + 2, CV_FLOW_PRIMARY, CV_FLOW_ENCAP, 1);    // to a backend elsewhere
        put(client + 3, CV_FLOW_PRIMARY, CV_FLOW_DELIVER, 9);  // its link is not approved any more
    };
    serve(1024, 7);
    fill(10);
    close();
    serve(2048, 8);
    fill(20);
    ASSERT_TRUE(maps_->set_nic({.index = 5, .address = ip("10.0.0.5"), .vnet = 7, .ifindex = 1}));
    ASSERT_TRUE(datapath_->draining());
    EXPECT_EQ(maps_->delivered_flows().value(), 2u);
}

// What ends connections asks for those of many NICs at once.
TEST_F(LayoutTest, OneWalkFindsTheConnectionsOfManyNicsInBoth) {
    const auto fill = [&](std::uint32_t first) {
        FlowWrites writes;
        for (std::uint32_t nic = first; nic < first + 20; ++nic) {
            FlowEntry entry{.key = key_of(1000 + nic)};
            entry.flow.flags = CV_FLOW_PRIMARY;
            entry.flow.nic = nic;
            entry.flow.source_nic = nic + 1;
            entry.flow.created_ns = static_cast<std::uint64_t>(kernel_now().count());
            entry.flow.last_seen_ns = entry.flow.created_ns;
            entry.flow.idle_s = 300;
            writes.put.push_back(entry);
        }
        auto transfer = Transfer::open(*datapath_);
        ASSERT_TRUE(transfer) << transfer.error().message;
        const auto written = (*transfer)->write(writes);
        ASSERT_TRUE(written) << written.error().message;
    };
    serve(1024, 7);
    fill(1);
    close();
    serve(2048, 8);
    fill(31);
    auto transfer = Transfer::open(*datapath_);
    ASSERT_TRUE(transfer) << transfer.error().message;
    const std::vector<std::uint32_t> wanted{5, 17, 40};
    FlowWalk walk;
    std::multiset<std::uint32_t> found;
    for (int pieces = 0; !walk.over; ++pieces) {
        ASSERT_LT(pieces, 1000);
        const auto copies = (*transfer)->step(walk, wanted);
        ASSERT_TRUE(copies) << copies.error().message;
        for (const FlowCopy& copy : *copies) {
            found.insert(copy.flow.nic);
        }
    }
    EXPECT_EQ(found, (std::multiset<std::uint32_t>{4, 5, 16, 17, 39, 40}));
    // and with none there are none
    walk = {};
    while (!walk.over) {
        const auto copies = (*transfer)->step(walk, {});
        ASSERT_TRUE(copies) << copies.error().message;
        ASSERT_TRUE(copies->empty());
    }
}

// What programs of both may make in the instant of the switch.
TEST_F(LayoutTest, AConnectionWhoseNatPortIsTakenInTheOtherOneIsEndedByTheSwitch) {
    const auto put = [&](std::uint32_t client, std::uint32_t backend, bool before) {
        const auto age = before ? std::chrono::hours(-1) : std::chrono::hours(0);
        const std::chrono::nanoseconds made =
            (std::chrono::steady_clock::now() + age).time_since_epoch();
        cv_flow flow{};
        flow.created_ns = static_cast<std::uint64_t>(made.count());
        for (const auto& [from, to, flags] :
             {std::tuple{client, backend, CV_FLOW_PRIMARY | CV_FLOW_PAIRED},
              {backend, client, CV_FLOW_PAIRED + 0u}}) {
            const auto key = key_of(from);
            flow.other = key_of(to);
            flow.flags = flags;
            ASSERT_EQ(bpf_map_update_elem(datapath_->map("cv_flows"), &key, &flow, BPF_ANY), 0);
        }
    };
    serve(1024, 7);
    put(10, 50, true);
    put(11, 51, true);
    close();
    open(options_with(2048));
    put(20, 50, false);  // the NAT port of 10
    put(11, 52, false);  // the connection of 11 once more
    put(21, 53, false);
    ASSERT_TRUE(datapath_->activate());
    for (const std::uint32_t gone : {20u, 50u, 11u, 52u}) {
        EXPECT_FALSE(has_flow(gone)) << gone;
    }
    EXPECT_TRUE(has_flow(21) && has_flow(53));
    ASSERT_TRUE(datapath_->draining());
    EXPECT_EQ(datapath_->draining()->flows, 5u) << "the older connections stay";
}

TEST_F(LayoutTest, GoingBackFindsTheFlowsButNotTheIntentOfThatTime) {
    serve(1024, 7);
    close();
    serve(2048, 8);
    close();
    open(options_with(1024));
    EXPECT_TRUE(datapath_->reused("cv_flows"));
    EXPECT_TRUE(has_flow(7));
    EXPECT_FALSE(approved()) << "a link revoked meanwhile must not come back";
    ASSERT_TRUE(datapath_->draining());
    EXPECT_EQ(datapath_->draining()->flow_limit, 2048u);
    EXPECT_EQ(datapath_->draining()->flows, 1u);
    EXPECT_EQ(maps_->flows().value(), 2u);
}

TEST_F(LayoutTest, AThirdOneTakesThePlaceOfThatWhichIsNotActive) {
    serve(1024, 7);
    close();
    serve(2048, 8);
    close();
    open(options_with(4096));
    ASSERT_TRUE(datapath_->draining());
    EXPECT_EQ(datapath_->draining()->flow_limit, 2048u);
    EXPECT_FALSE(std::filesystem::exists(pins(fmt::format("v{}-1024", CV_ABI_VERSION))));
}

TEST_F(LayoutTest, ARehearsalTouchesNothing) {
    serve(1024, 7);
    const auto entries = [&] {
        return std::distance(std::filesystem::directory_iterator(options().pin_dir), {});
    };
    const auto before = entries();
    for (const std::uint32_t flows : {1024u, 2048u}) {
        auto rehearsed = rehearse(options_with(flows));
        ASSERT_TRUE(rehearsed) << rehearsed.error().message;
    }
    EXPECT_EQ(entries(), before);
    EXPECT_TRUE(has_flow(7));
    EXPECT_TRUE(approved());
}

TEST_F(DatapathTest, MapsOfAnotherAbiVersionAreNotTrusted) {
    open();
    const std::uint32_t key = 0;
    cv_config config{};
    config.abi_version = CV_ABI_VERSION + 1;
    ASSERT_EQ(bpf_map_update_elem(datapath_->map("cv_config"), &key, &config, BPF_ANY), 0);
    close();
    open();
    EXPECT_FALSE(datapath_->reused("cv_config"));
    EXPECT_FALSE(datapath_->reused("cv_nics"));
    EXPECT_TRUE(datapath_->reused("cv_progs"));
}

// A build of the time before quotas lets connections end without returning what they are charged.
TEST_F(DatapathTest, ChargesAreKeptUnlessABuildWithoutQuotasRanMeanwhile) {
    const std::uint32_t all = 0;
    open();
    configure();
    const cv_held held{.entries = 5, .opening = 2};
    ASSERT_EQ(bpf_map_update_elem(datapath_->map("cv_nic_held"), &all, &held, BPF_ANY), 0);
    close();
    open();
    EXPECT_EQ(maps_->held(all)->entries, 5u);
    // what such a build writes: all that it does not know of is zero
    cv_config config{};
    ASSERT_EQ(bpf_map_lookup_elem(datapath_->map("cv_config"), &all, &config), 0);
    config.charged = 0;
    ASSERT_EQ(bpf_map_update_elem(datapath_->map("cv_config"), &all, &config, BPF_ANY), 0);
    close();
    open();
    EXPECT_EQ(maps_->held(all)->entries, 0u);
    EXPECT_FALSE(datapath_->reused("cv_charges"));
    EXPECT_TRUE(datapath_->reused("cv_flows"));
}

TEST_F(DatapathTest, RetainRemovesWhatTheIntentDoesNotName) {
    open();
    configure();
    const ServiceImage service{
        .id = 3,
        .provider_vnet = kVnet,
        .nat = {ip("10.0.0.9")},
        .rules = {{.protocol = 6, .port = 80, .pool = 4, .backend_port = 81},
                  {.protocol = 6, .port = 90, .pool = 4, .backend_port = 91}}};
    ASSERT_TRUE(maps_->set_service(nullptr, service));
    const std::vector<std::uint32_t> both{5, 6};
    ASSERT_TRUE(maps_->set_pool(4, {}, both, both));
    ASSERT_TRUE(maps_->set_link({.id = 2, .generation = 1, .state = CV_LINK_APPROVED}));
    for (const std::uint32_t nic : {5u, 6u}) {
        ASSERT_TRUE(maps_->set_nic({.index = nic, .address = ip("10.0.0.5"), .vnet = kVnet}));
        ASSERT_TRUE(maps_->set_lease(
            {.nic = nic, .gateway = ip("10.0.0.1"), .length = 24, .mtu = 1450, .dns = {}}));
    }
    close();
    open();
    const auto yes = [](auto...) { return true; };
    const auto no = [](auto...) { return false; };
    Retained keep{
        .nic = [](std::uint32_t nic) { return nic == 5; },
        .node = no,
        .link = no,
        .service = yes,
        .pool = yes,
        .member = [](std::uint32_t, std::uint32_t nic) { return nic == 5; },
        .address = no,
        .six = no,
        .six_name = no,
        .prefix = no,
        .rule = [](std::uint32_t, std::uint8_t, std::uint16_t port) { return port == 80; },
        .port = no,
        .lease = [](std::uint32_t nic) { return nic == 5; }};
    ASSERT_TRUE(maps_->retain(keep));
    const auto has = [&](const char* map, const auto& key) {
        std::array<std::uint8_t, 256> value{};
        return bpf_map_lookup_elem(datapath_->map(map), &key, value.data()) == 0;
    };
    EXPECT_TRUE(has("cv_leases", std::uint32_t{5}));
    EXPECT_FALSE(has("cv_leases", std::uint32_t{6}));
    EXPECT_TRUE(has("cv_members", cv_member_key{.pool = 4, .nic = 5}));
    EXPECT_FALSE(has("cv_members", cv_member_key{.pool = 4, .nic = 6}));
    EXPECT_TRUE(
        has("cv_rules", cv_rule_key{.service = 3, .port = htons(80), .proto = 6, .pad = 0}));
    EXPECT_FALSE(
        has("cv_rules", cv_rule_key{.service = 3, .port = htons(90), .proto = 6, .pad = 0}));
    cv_nic nic{};
    std::uint32_t index = 6;
    ASSERT_EQ(bpf_map_lookup_elem(datapath_->map("cv_nics"), &index, &nic), 0);
    EXPECT_EQ(nic.vnet, 0u);
    index = 5;
    ASSERT_EQ(bpf_map_lookup_elem(datapath_->map("cv_nics"), &index, &nic), 0);
    EXPECT_EQ(nic.vnet, kVnet);
    cv_link link{};
    index = 2;
    ASSERT_EQ(bpf_map_lookup_elem(datapath_->map("cv_links"), &index, &link), 0);
    EXPECT_EQ(link.state, 0u);
}

TEST_F(DatapathTest, APoolsTableHoldsItsMembersAndNobodyElse) {
    open();
    const std::vector<std::uint32_t> first{5, 6, 9};
    const std::vector<std::uint32_t> second{6, 10};
    ASSERT_TRUE(maps_->set_pool(4, {}, first, first));
    ASSERT_TRUE(maps_->set_pool(4, first, second, second));
    const std::uint32_t pool = 4;
    std::uint32_t inner_id = 0;
    ASSERT_EQ(bpf_map_lookup_elem(datapath_->map("cv_pools"), &pool, &inner_id), 0);
    const runtime::Fd inner(bpf_map_get_fd_by_id(inner_id));
    ASSERT_TRUE(inner);
    const auto expected = maglev_table(second);
    for (std::uint32_t at = 0; at < CV_MAGLEV_SIZE; at += 113) {
        std::uint32_t nic = 0;
        ASSERT_EQ(bpf_map_lookup_elem(inner.get(), &at, &nic), 0);
        ASSERT_EQ(nic, expected[at]);
    }
    ASSERT_TRUE(maps_->clear_pool(4, second));
    EXPECT_NE(bpf_map_lookup_elem(datapath_->map("cv_pools"), &pool, &inner_id), 0);
}

class AttachTest : public DatapathTest, public testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(Modes, AttachTest, testing::Bool(), [](const auto& info) {
    return info.param ? std::string("clsact") : std::string("tcx");
});

TEST_P(AttachTest, TrafficOutlivesTheProcessAndASwapOfPrograms) {
    open();
    configure();
    ASSERT_TRUE(datapath_->activate());
    const Namespace left;
    const Namespace right;
    auto attacher = Attacher::make(*datapath_, GetParam());
    workload(*attacher, left, 5, "10.0.0.5");
    workload(*attacher, right, 6, "10.0.0.6");
    const bool clsact = GetParam() || !packet::kernel_has_tcx();
    EXPECT_EQ(attacher->mode(), clsact ? AttachMode::kClsact : AttachMode::kTcx);
    const auto listener = listen_in(right, 8080);
    const auto client = connect_in(left, "10.0.0.6", 8080);
    ASSERT_TRUE(client) << "no connection through the data plane";
    const runtime::Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const auto crosses = [&] {
        char byte = 'x';
        return ::send(client.get(), &byte, 1, 0) == 1 && ::recv(server.get(), &byte, 1, 0) == 1;
    };
    EXPECT_TRUE(crosses());
    attacher.reset();
    close();
    EXPECT_TRUE(crosses()) << "the programs went with the process";
    open();
    EXPECT_TRUE(crosses());
    ASSERT_TRUE(datapath_->activate());
    auto again = Attacher::make(*datapath_, GetParam());
    for (const auto ifindex : ifindexes_) {
        const auto attached = again->attach(ifindex, Hook::kWorkload);
        ASSERT_TRUE(attached) << attached.error().message;
    }
    EXPECT_TRUE(crosses());
    const auto counters = maps_->counters();
    ASSERT_TRUE(counters);
    EXPECT_GT((*counters)[CV_COUNTER_VNET_LOCAL], 0u);
}

TEST_P(AttachTest, ChangingTheModeLeavesOneStub) {
    open();
    configure();
    ASSERT_TRUE(datapath_->activate());
    const Namespace left;
    const Namespace right;
    auto attacher = Attacher::make(*datapath_, GetParam());
    workload(*attacher, left, 5, "10.0.0.5");
    workload(*attacher, right, 6, "10.0.0.6");
    auto other = Attacher::make(*datapath_, !GetParam());
    for (const auto ifindex : ifindexes_) {
        ASSERT_TRUE(other->attach(ifindex, Hook::kWorkload));
    }
    const auto listener = listen_in(right, 8080);
    EXPECT_TRUE(connect_in(left, "10.0.0.6", 8080));
    for (const auto ifindex : ifindexes_) {
        ASSERT_TRUE(other->detach(ifindex));
    }
    // nobody answers ARP now, whichever stub had been left would
    EXPECT_FALSE(connect_in(left, "10.0.0.77", 8080, 200));
    const auto before = maps_->counters();
    EXPECT_FALSE(connect_in(left, "10.0.0.78", 8080, 200));
    const auto after = maps_->counters();
    ASSERT_TRUE(before && after);
    EXPECT_EQ((*before)[CV_COUNTER_ARP_ANSWERED], (*after)[CV_COUNTER_ARP_ANSWERED]);
}

TEST_P(AttachTest, APinOfARemovedInterfaceIsSwept) {
    open();
    const Namespace left;
    auto attacher = Attacher::make(*datapath_, GetParam());
    workload(*attacher, left, 5, "10.0.0.5");
    auto host = Netlink::open();
    ASSERT_TRUE(host);
    ASSERT_TRUE((*host)->remove_link(ifindexes_.front()));
    attacher->sweep();
    EXPECT_TRUE(std::filesystem::is_empty(datapath_->link_dir()));
    EXPECT_FALSE(attacher->attach(ifindexes_.front(), Hook::kWorkload));
    EXPECT_TRUE(attacher->detach(ifindexes_.front()));
}

TEST_F(DatapathTest, RemovePinsLeavesNothing) {
    open();
    close();
    const auto path = options().pin_dir;
    ASSERT_TRUE(std::filesystem::exists(path));
    const auto removed = remove_pins(path);
    ASSERT_TRUE(removed) << removed.error().message;
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_TRUE(remove_pins(path));
}

TEST_F(DatapathTest, VethNamesThatAreTakenAndFilesThatAreNoNamespaceAreRefused) {
    const Namespace left;
    auto host = Netlink::open();
    ASSERT_TRUE(host);
    VethRequest request{.host_name = "cvt1",
                        .host_alias = "culvert test",
                        .host_mac = net::Mac::of_nic(0),
                        .peer_netns = left.fd(),
                        .peer_name = "eth0",
                        .peer_mac = net::Mac::of_nic(1),
                        .mtu = 1450};
    ASSERT_TRUE((*host)->make_veth(request));
    request.host_name = "cvt2";
    const auto taken = (*host)->make_veth(request);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Code::kConflict) << taken.error().message;
    EXPECT_EQ((*host)->link("cvt2").error().code, Code::kNotFound);
    ASSERT_TRUE((*host)->remove_link((*host)->link("cvt1")->ifindex));
    EXPECT_EQ(open_netns("/etc/hostname").error().code, Code::kInvalidArgument);
    EXPECT_EQ(open_netns("/proc/self/ns/mnt").error().code, Code::kInvalidArgument);
    EXPECT_EQ(open_netns("/run/netns/none-such").error().code, Code::kNotFound);
    const auto file = open_netns(left.path());
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_NE(file->inode, open_netns("/proc/self/ns/net")->inode);
}

}  // namespace
}  // namespace culvert::datapath
