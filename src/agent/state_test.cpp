// SPDX-License-Identifier: Apache-2.0
#include "agent/state.hpp"

#include "abi/limits.h"
#include "agent/disk.hpp"
#include "runtime/digest.hpp"
#include "runtime/files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <set>

namespace culvert::agent {
namespace {

using Kind = api::Object;

constexpr std::uint32_t kNicLimit = 1000;
constexpr std::uint32_t kLinkLimit = 500;

api::Delta delta(std::uint64_t version, bool snapshot) {
    api::Delta out;
    out.set_epoch("epoch");
    out.set_version(version);
    out.set_snapshot(snapshot);
    return out;
}

void add_config(api::Delta& to) {
    auto* config = to.add_upsert()->mutable_config();
    config->set_node(1);
    config->set_udp_port(4789);
    config->set_nic_limit(kNicLimit);
    config->set_link_limit(kLinkLimit);
}

api::Nic* add_nic(api::Delta& to, std::uint32_t index) {
    auto* nic = to.add_upsert()->mutable_nic();
    nic->set_index(index);
    nic->set_generation(1);
    nic->set_id("/subscriptions/S/NIC" + std::to_string(index));
    nic->set_vnet(7);
    nic->set_address(0x0a000005);
    nic->mutable_subnet()->set_base(0x0a000000);
    nic->mutable_subnet()->set_length(24);
    nic->set_gateway(0x0a000001);
    nic->set_node(1);
    return nic;
}

api::Address* add_address(api::Delta& to, std::uint32_t address, std::uint32_t nic) {
    auto* out = to.add_upsert()->mutable_address();
    out->set_vnet(7);
    out->set_address(address);
    out->set_kind(api::ADDRESS_NIC);
    out->set_id(nic);
    return out;
}

api::Pool* add_pool(api::Delta& to, std::uint32_t id) {
    auto* pool = to.add_upsert()->mutable_pool();
    pool->set_id(id);
    pool->add_members(5);
    pool->add_members(6);
    return pool;
}

api::Service* add_service(api::Delta& to, std::uint32_t id) {
    auto* service = to.add_upsert()->mutable_service();
    service->set_id(id);
    service->set_provider_vnet(7);
    service->add_nat(0x0a000009);
    auto* rule = service->add_rules();
    rule->set_protocol(6);
    rule->set_port(80);
    rule->set_pool(4);
    rule->set_backend_port(8080);
    rule->set_affinity(5);
    return service;
}

api::Link* add_link(api::Delta& to, std::uint32_t id) {
    auto* link = to.add_upsert()->mutable_link();
    link->set_id(id);
    link->set_generation(1);
    link->set_state(api::LINK_APPROVED);
    link->set_service(3);
    link->set_consumer_vnet(8);
    link->set_provider_vnet(7);
    return link;
}

api::Delta everything() {
    api::Delta out = delta(1, true);
    add_address(out, 0x0a000005, 5);
    auto* network = out.add_upsert()->mutable_network();
    network->set_vnet(7);
    auto* prefix = network->add_prefixes();
    prefix->set_base(0x0a000000);
    prefix->set_length(16);
    add_link(out, 2);
    add_service(out, 3);
    add_pool(out, 4);
    add_nic(out, 5);
    auto* peer = out.add_upsert()->mutable_peer();
    peer->set_node(2);
    peer->set_name("two");
    peer->set_outer("192.0.2.2");
    add_config(out);
    return out;
}

void take(State& state, const api::Delta& what) {
    const auto plan = state.plan(what);
    ASSERT_TRUE(plan) << plan.error().message;
    for (const Change& change : plan->changes) {
        state.commit(change);
    }
    state.conclude(*plan);
}

std::vector<std::uint32_t> kinds(const Plan& plan) {
    std::vector<std::uint32_t> out;
    for (const Change& change : plan.changes) {
        out.push_back(change.key.kind);
    }
    return out;
}

// What a control plane that has `wanted` sends to a node that holds `parts`.
api::Delta difference(const api::Delta& wanted, const std::vector<std::string>& parts,
                      std::uint64_t version) {
    State other;
    take(other, wanted);
    api::Delta out;
    out.set_epoch("another");
    out.set_version(version);
    out.set_resume(true);
    std::set<std::size_t> differ;
    const auto theirs = other.parts();
    for (std::size_t part = 0; part < theirs.size(); ++part) {
        if (theirs[part] != parts[part]) {
            differ.insert(part);
            out.add_part(static_cast<std::uint32_t>(part));
        }
    }
    for (const auto& object : wanted.upsert()) {
        if (differ.contains(runtime::part_of(object.SerializeAsString()))) {
            *out.add_upsert() = object;
        }
    }
    return out;
}

TEST(State, AResumptionOfWhatIsHeldChangesNothingButTheEpoch) {
    State state;
    take(state, everything());
    const auto plan = state.plan(difference(everything(), state.parts(), 1));
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_TRUE(plan->changes.empty());
    state.conclude(*plan);
    EXPECT_EQ(state.epoch(), "another");
    EXPECT_EQ(state.version(), 1U);
}

TEST(State, AResumptionBringsWhatChangedAndTakesWhatWent) {
    State state;
    api::Delta before = everything();
    for (std::uint32_t i = 20; i < 120; ++i) {
        add_nic(before, i);
    }
    take(state, before);
    api::Delta wanted = everything();
    for (std::uint32_t i = 21; i < 121; ++i) {
        add_nic(wanted, i)->set_generation(i == 60 ? 9 : 1);
    }
    const auto plan = state.plan(difference(wanted, state.parts(), 5));
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_EQ(plan->changes.size(), 3U) << "one came, one went, one changed";
    for (const Change& change : plan->changes) {
        state.commit(change);
    }
    state.conclude(*plan);
    EXPECT_EQ(state.nic(20), nullptr);
    EXPECT_EQ(state.nic(60)->generation(), 9U);
    EXPECT_NE(state.nic(120), nullptr);
    State fresh;
    take(fresh, wanted);
    EXPECT_EQ(state.parts(), fresh.parts());
}

TEST(State, AResumptionNeedsSomethingToGoOnFromAndNothingElse) {
    State state;
    api::Delta empty = difference(everything(), State().parts(), 1);
    EXPECT_EQ(state.plan(empty).error().code, Code::kPreconditionFailed);
    take(state, everything());
    api::Delta both = difference(everything(), state.parts(), 1);
    both.set_snapshot(true);
    EXPECT_FALSE(state.plan(both));
    api::Delta beyond = difference(everything(), state.parts(), 1);
    beyond.add_part(256);
    EXPECT_FALSE(state.plan(beyond));
    api::Delta part = delta(2, false);
    part.add_part(1);
    EXPECT_FALSE(state.plan(part));
}

TEST(State, WhatIsNamedComesBeforeWhatNamesIt) {
    State state;
    const auto plan = state.plan(everything());
    ASSERT_TRUE(plan) << plan.error().message;
    const std::vector<std::uint32_t> expected{Kind::kConfig,  Kind::kPeer,    Kind::kNic,
                                              Kind::kPool,    Kind::kService, Kind::kLink,
                                              Kind::kNetwork, Kind::kAddress};
    EXPECT_EQ(kinds(*plan), expected);
}

TEST(State, RemovalsRunTheOtherWayAfterTheUpserts) {
    State state;
    take(state, everything());
    api::Delta snapshot = delta(2, true);
    add_config(snapshot);
    add_nic(snapshot, 6);
    const auto plan = state.plan(snapshot);
    ASSERT_TRUE(plan) << plan.error().message;
    const std::vector<std::uint32_t> expected{Kind::kNic,  Kind::kAddress, Kind::kNetwork,
                                              Kind::kLink, Kind::kService, Kind::kPool,
                                              Kind::kNic,  Kind::kPeer};
    EXPECT_EQ(kinds(*plan), expected);
}

TEST(State, ASnapshotOfWhatIsHeldChangesNothing) {
    State state;
    take(state, everything());
    api::Delta again = everything();
    again.set_epoch("another");
    again.set_version(9);
    const auto plan = state.plan(again);
    ASSERT_TRUE(plan);
    EXPECT_TRUE(plan->changes.empty());
    state.conclude(*plan);
    EXPECT_EQ(state.epoch(), "another");
    EXPECT_EQ(state.version(), 9u);
}

TEST(State, AChangeCarriesWhatWasThereBefore) {
    State state;
    take(state, everything());
    api::Delta update = delta(2, false);
    add_pool(update, 4)->add_members(7);
    auto* gone = update.add_remove();
    gone->set_kind(Kind::kLink);
    gone->set_id(2);
    const auto plan = state.plan(update);
    ASSERT_TRUE(plan) << plan.error().message;
    ASSERT_EQ(plan->changes.size(), 2u);
    EXPECT_EQ(plan->changes[0].before->pool().members_size(), 2);
    EXPECT_EQ(plan->changes[0].after->pool().members_size(), 3);
    EXPECT_EQ(plan->changes[1].before->link().service(), 3u);
    EXPECT_FALSE(plan->changes[1].after);
}

TEST(State, RemovingWhatIsNotThereIsNothing) {
    State state;
    take(state, everything());
    api::Delta update = delta(2, false);
    auto* gone = update.add_remove();
    gone->set_kind(Kind::kAddress);
    gone->set_id(7);
    gone->set_address(0x0a0000ff);
    const auto plan = state.plan(update);
    ASSERT_TRUE(plan);
    EXPECT_TRUE(plan->changes.empty());
    EXPECT_EQ(plan->version, 2u);
}

TEST(State, VersionsCompareOnlyWithinOneEpoch) {
    State state;
    EXPECT_EQ(state.plan(delta(2, false)).error().code, Code::kPreconditionFailed);
    take(state, everything());
    api::Delta other = delta(2, false);
    other.set_epoch("another");
    EXPECT_EQ(state.plan(other).error().code, Code::kPreconditionFailed);
    api::Delta known = delta(1, false);
    add_nic(known, 9);
    const auto plan = state.plan(known);
    ASSERT_TRUE(plan);
    EXPECT_TRUE(plan->changes.empty());
    EXPECT_EQ(plan->version, 1u);
    state.forget_version();
    EXPECT_FALSE(state.plan(delta(2, false)));
    EXPECT_EQ(state.objects().size(), 8u);
}

TEST(State, NicsAreFoundByTheirIdWithoutCase) {
    State state;
    take(state, everything());
    ASSERT_NE(state.nic("/SUBSCRIPTIONS/s/nic5"), nullptr);
    EXPECT_EQ(state.nic("/subscriptions/s/nic5")->index(), 5u);
    api::Delta moved = delta(2, false);
    add_nic(moved, 6)->set_id("/subscriptions/S/NIC5");
    auto* gone = moved.add_remove();
    gone->set_kind(Kind::kNic);
    gone->set_id(5);
    take(state, moved);
    ASSERT_NE(state.nic("/subscriptions/S/NIC5"), nullptr);
    EXPECT_EQ(state.nic("/subscriptions/S/NIC5")->index(), 6u);
    EXPECT_EQ(state.nic("/subscriptions/S/NIC6"), nullptr);
}

// A row: what is broken in an otherwise good snapshot.
struct Broken {
    const char* name;
    std::function<void(api::Delta&)> breaks;
};

class Validation : public testing::TestWithParam<Broken> {};

TEST_P(Validation, RefusesTheDeltaAndKeepsTheState) {
    State state;
    take(state, everything());
    api::Delta bad = delta(2, false);
    GetParam().breaks(bad);
    const auto plan = state.plan(bad);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, Code::kInvalidArgument);
    EXPECT_FALSE(plan.error().message.empty());
    EXPECT_EQ(state.version(), 1u);
}

const std::vector<Broken> kBroken{
    {"no epoch", [](api::Delta& to) { to.clear_epoch(); }},
    {"an object of no kind", [](api::Delta& to) { to.add_upsert(); }},
    {"NIC at the limit", [](api::Delta& to) { add_nic(to, kNicLimit); }},
    {"NIC 0, the router", [](api::Delta& to) { add_nic(to, 0); }},
    {"NIC without id", [](api::Delta& to) { add_nic(to, 9)->clear_id(); }},
    {"NIC with an endless id",
     [](api::Delta& to) { add_nic(to, 9)->set_id(std::string(1025, 'a')); }},
    {"VNet id of 24 bits", [](api::Delta& to) { add_nic(to, 9)->set_vnet(0x800000); }},
    {"subnet with host bits",
     [](api::Delta& to) { add_nic(to, 9)->mutable_subnet()->set_base(0x0a000001); }},
    {"subnet of 33 bits", [](api::Delta& to) { add_nic(to, 9)->mutable_subnet()->set_length(33); }},
    {"NIC on node 4096", [](api::Delta& to) { add_nic(to, 9)->set_node(4096); }},
    {"named twice",
     [](api::Delta& to) {
         add_nic(to, 9);
         add_nic(to, 9);
     }},
    {"made and removed",
     [](api::Delta& to) {
         add_nic(to, 9);
         auto* gone = to.add_remove();
         gone->set_kind(Kind::kNic);
         gone->set_id(9);
     }},
    {"removal of the configuration",
     [](api::Delta& to) { to.add_remove()->set_kind(Kind::kConfig); }},
    {"removal of an unknown kind", [](api::Delta& to) { to.add_remove()->set_kind(9); }},
    {"removal in a snapshot",
     [](api::Delta& to) {
         to.set_snapshot(true);
         add_config(to);
         to.add_remove()->set_kind(Kind::kNic);
     }},
    {"snapshot without configuration", [](api::Delta& to) { to.set_snapshot(true); }},
    {"link at the limit", [](api::Delta& to) { add_link(to, kLinkLimit); }},
    {"link in no state", [](api::Delta& to) { add_link(to, 9)->set_state(api::LINK_NONE); }},
    {"address of no kind",
     [](api::Delta& to) { add_address(to, 1, 5)->set_kind(api::ADDRESS_NONE); }},
    {"address of a kind to come",
     [](api::Delta& to) { add_address(to, 1, 5)->set_kind(static_cast<api::AddressKind>(77)); }},
    {"address of a NIC beyond the limit", [](api::Delta& to) { add_address(to, 1, kNicLimit); }},
    {"a ninth NAT address",
     [](api::Delta& to) {
         auto* service = add_service(to, 9);
         while (service->nat_size() < CV_NAT_ADDRESSES_MAX + 1) {
             service->add_nat(1);
         }
     }},
    {"no NAT address", [](api::Delta& to) { add_service(to, 9)->clear_nat(); }},
    {"port 65536", [](api::Delta& to) { add_service(to, 9)->mutable_rules(0)->set_port(65536); }},
    {"affinity of four fields",
     [](api::Delta& to) { add_service(to, 9)->mutable_rules(0)->set_affinity(4); }},
    {"members that do not ascend", [](api::Delta& to) { add_pool(to, 9)->add_members(6); }},
    {"more members than entries",
     [](api::Delta& to) {
         auto* pool = add_pool(to, 9);
         while (pool->members_size() <= CV_MAGLEV_SIZE) {
             pool->add_members(1);
         }
     }},
    {"IPv6 address of a NIC with 15 bytes",
     [](api::Delta& to) { add_nic(to, 9)->set_six(std::string(15, '\x20')); }},
    {"IPv6 multicast as a NIC's address",
     [](api::Delta& to) { add_nic(to, 9)->set_six(std::string(16, '\xff')); }},
    {"IPv6 address of no kind of endpoint",
     [](api::Delta& to) {
         auto* address = add_address(to, 1, 5);
         address->set_kind(api::ADDRESS_NIC);
         address->set_six(std::string(16, '\x20'));
     }},
    {"NAT address of IPv6 alone",
     [](api::Delta& to) {
         auto* address = add_address(to, 1, 5);
         address->set_kind(api::ADDRESS_NAT);
         address->set_six(std::string(16, '\x20'));
         address->set_six_only(true);
     }},
    {"NAT address of IPv6 with 4 bytes",
     [](api::Delta& to) {
         auto* address = add_address(to, 1, 5);
         address->set_kind(api::ADDRESS_NAT);
         address->set_six("four");
     }},
    {"NAT address that stands for IPv6",
     [](api::Delta& to) { add_service(to, 9)->add_nat(0xf0000002); }},
    {"interface's address that stands for IPv6",
     [](api::Delta& to) { add_nic(to, 9)->set_address(0xf0000002); }},
    {"endpoint of IPv6 alone without it",
     [](api::Delta& to) {
         auto* address = add_address(to, 1, 5);
         address->set_kind(api::ADDRESS_ENDPOINT);
         address->set_six_only(true);
     }},
    {"an address that stands for IPv6",
     [](api::Delta& to) { add_address(to, 1, 5)->set_address(0xf8000005); }},
    {"peer without an address",
     [](api::Delta& to) { to.add_upsert()->mutable_peer()->set_node(3); }},
    {"peer with a name for an address",
     [](api::Delta& to) {
         auto* peer = to.add_upsert()->mutable_peer();
         peer->set_node(3);
         peer->set_outer("host.example");
     }},
};

INSTANTIATE_TEST_SUITE_P(Rows, Validation, testing::ValuesIn(kBroken), [](const auto& info) {
    std::string name = info.param.name;
    for (char& letter : name) {
        letter = std::isalnum(static_cast<unsigned char>(letter)) != 0 ? letter : '_';
    }
    return name;
});

TEST(Validate, TheLastIdBelowTheLimitIsGood) {
    State state;
    take(state, everything());
    api::Delta good = delta(2, false);
    add_nic(good, kNicLimit - 1);
    add_link(good, kLinkLimit - 1);
    auto* service = add_service(good, 9);
    while (service->nat_size() < CV_NAT_ADDRESSES_MAX) {
        service->add_nat(1);
    }
    EXPECT_TRUE(state.plan(good));
}

class DiskTest : public testing::Test {
  protected:
    DiskTest() {
        std::string name = "/tmp/culvert-disk-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
        path_ = directory_ / "intent.log";
    }
    ~DiskTest() override { std::filesystem::remove_all(directory_); }

    std::unique_ptr<Disk> open(State& state) {
        auto disk = Disk::open(path_, state);
        EXPECT_TRUE(disk) << disk.error().message;
        return disk ? std::move(*disk) : nullptr;
    }
    // A snapshot and three deltas, each with one more NIC.
    void fill() {
        State state;
        const auto disk = open(state);
        ASSERT_TRUE(disk->append(everything()));
        for (std::uint32_t nic = 10; nic < 13; ++nic) {
            api::Delta more = delta(nic - 8, false);
            add_nic(more, nic);
            ASSERT_TRUE(disk->append(more));
        }
    }

    std::filesystem::path directory_;
    std::filesystem::path path_;
};

TEST_F(DiskTest, WhatWasAppendedIsThereAgain) {
    fill();
    State state;
    ASSERT_TRUE(open(state));
    EXPECT_EQ(state.epoch(), "epoch");
    EXPECT_EQ(state.version(), 4u);
    EXPECT_NE(state.nic(12u), nullptr);
    EXPECT_EQ(state.objects().size(), 11u);
}

TEST_F(DiskTest, ATornTailIsCutOffAndWritingGoesOn) {
    fill();
    std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 3);
    State state;
    auto disk = open(state);
    EXPECT_EQ(state.version(), 3u);
    api::Delta more = delta(5, false);
    add_nic(more, 20);
    take(state, more);
    ASSERT_TRUE(disk->append(more));
    disk.reset();
    State again;
    ASSERT_TRUE(open(again));
    EXPECT_EQ(again.version(), 5u);
    EXPECT_NE(again.nic(20u), nullptr);
    EXPECT_EQ(again.nic(12u), nullptr);
}

TEST_F(DiskTest, ADamagedFrameEndsWhatIsBelieved) {
    fill();
    auto content = runtime::read_file(path_);
    ASSERT_TRUE(content);
    content->at(content->size() - 1) ^= 1;
    ASSERT_TRUE(runtime::replace_file(path_, *content, 0600));
    State state;
    ASSERT_TRUE(open(state));
    EXPECT_EQ(state.version(), 3u);
}

TEST_F(DiskTest, AFileThatIsNotOursIsSetAside) {
    ASSERT_TRUE(runtime::replace_file(path_, "something else", 0600));
    State state;
    const auto disk = open(state);
    EXPECT_TRUE(state.epoch().empty());
    EXPECT_TRUE(std::filesystem::exists(directory_ / "intent.log.bad"));
    EXPECT_TRUE(disk->append(everything()));
}

TEST_F(DiskTest, ALongLogBecomesOneSnapshot) {
    State state;
    auto disk = open(state);
    take(state, everything());
    ASSERT_TRUE(disk->append(everything()));
    for (std::uint64_t version = 2; std::filesystem::file_size(path_) < 1200 * 1024; ++version) {
        api::Delta more = delta(version, false);
        add_nic(more, 9)->set_id(std::string(1000, 'n'));
        take(state, more);
        ASSERT_TRUE(disk->append(more));
    }
    EXPECT_TRUE(disk->take_unsynced());
    EXPECT_FALSE(disk->take_unsynced());
    ASSERT_TRUE(disk->compact(state));
    EXPECT_LT(std::filesystem::file_size(path_), 10u * 1024);
    disk.reset();
    State again;
    ASSERT_TRUE(open(again));
    EXPECT_EQ(again.version(), state.version());
    EXPECT_EQ(again.objects().size(), state.objects().size());
}

}  // namespace
}  // namespace culvert::agent
