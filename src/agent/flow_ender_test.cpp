// SPDX-License-Identifier: Apache-2.0
// Which connections end is judged when they are looked at, not when the reason was noted.
#include "agent/flow_ender.hpp"

#include "agent/migrate_scene_test.hpp"

#include <netinet/in.h>

namespace culvert::agent {
namespace {

using What = EndedService::What;

constexpr EndedService kDown{.nic = kBackend, .what = What::kDatagrams, .pool = 6, .probe = 0};

Connection datagrams() {
    Connection out = honest();
    out.protocol = IPPROTO_UDP;
    return out;
}

State state_of(std::uint32_t protocol) {
    return state_with(
        [](api::Link&) {},
        [&](api::Service& service) { service.mutable_rules(0)->set_protocol(protocol); });
}

bool ends(const State& state, const Connection& connection, const EndedService& one,
          const Applier::Tables& tables = {}) {
    return must_end(state, tables, connection, {{one.nic, {one}}});
}

TEST(FlowEnder, DatagramsOfABackendThatIsDownEndUnlessItServesAgain) {
    const State state = state_of(IPPROTO_UDP);
    EXPECT_TRUE(ends(state, datagrams(), kDown));
    const Applier::Tables down{
        {table_number(6, 0), {.pool = 6, .members = {kBackend}, .serving = {}}}};
    EXPECT_TRUE(ends(state, datagrams(), kDown, down));
    const Applier::Tables up{
        {table_number(6, 0), {.pool = 6, .members = {kBackend}, .serving = {kBackend}}}};
    EXPECT_FALSE(ends(state, datagrams(), kDown, up));
    EXPECT_FALSE(ends(state_of(0), datagrams(), {.nic = kStranger, .what = What::kDatagrams}));
    EXPECT_FALSE(ends(state_of(IPPROTO_TCP), honest(), kDown)) << "TCP goes on";
    EXPECT_FALSE(ends(state, datagrams(),
                      {.nic = kBackend, .what = What::kDatagrams, .pool = 6, .probe = 1}))
        << "by another probe";
}

TEST(FlowEnder, WhatARuleLeadsToAgainStays) {
    const EndedService unruled{.nic = kBackend, .what = What::kUnruled};
    EXPECT_FALSE(ends(state_of(IPPROTO_TCP), honest(), unruled));
    EXPECT_TRUE(ends(state_of(IPPROTO_UDP), honest(), unruled));
    const EndedService consumer{.nic = kConsumer, .what = What::kUnruled};
    EXPECT_FALSE(ends(state_of(IPPROTO_UDP), honest(), consumer)) << "it serves nobody";
}

TEST(FlowEnder, WhatOpenedAfterTheInterfaceCameBackStays) {
    const State state = state_of(IPPROTO_TCP);
    for (const std::uint32_t nic : {kConsumer, kBackend}) {
        const EndedService gone{.nic = nic, .what = What::kGone};
        EXPECT_FALSE(ends(state, honest(), gone));
        Connection before = honest();
        (nic == kConsumer ? before.consumer : before.backend).generation--;
        EXPECT_TRUE(ends(state, before, gone));
        before = honest();
        before.link_generation--;
        EXPECT_TRUE(ends(state, before, gone)) << "of an earlier approval";
    }
}

TEST(FlowEnder, OneReasonOfManyIsEnough) {
    const State state = state_of(IPPROTO_UDP);
    const EndedServices why{
        {kStranger, {{.nic = kStranger, .what = What::kGone}}},
        {kBackend, {{.nic = kBackend, .what = What::kUnruled}, kDown}},
    };
    EXPECT_TRUE(must_end(state, {}, datagrams(), why));
    EXPECT_TRUE(must_end(state, {}, honest(), why));
    EXPECT_FALSE(must_end(state, {}, datagrams(), {}));
}

}  // namespace
}  // namespace culvert::agent
