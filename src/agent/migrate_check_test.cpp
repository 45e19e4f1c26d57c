// SPDX-License-Identifier: Apache-2.0
// A hostile node hands out connections that never were: none is believed.
#include "agent/migrate_check.hpp"
#include "agent/six.hpp"

#include "agent/migrate.hpp"
#include "agent/migrate_scene_test.hpp"

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

Connection untranslated() {
    Connection out = honest();
    out.nat = {};
    out.serving = {};
    return out;
}

TEST(MigrateCheckTest, what_the_intent_allows_comes_along) {
    const State state = state_with();
    for (const std::uint32_t moving : {kConsumer, kBackend}) {
        EXPECT_TRUE(check_moved(state, honest(), moving));
        EXPECT_TRUE(check_moved(state, untranslated(), moving));
    }
    EXPECT_EQ(rule_of(state, honest())->idle_s(), 240u);
}

TEST(MigrateCheckTest, ipv6_comes_along_by_the_addresses_that_stand_for_it) {
    const auto with_six = [](bool six) {
        State state = state_with();
        api::Object nic;
        *nic.mutable_nic() = *state.nic(kConsumer);
        nic.mutable_nic()->set_six(six ? std::string(16, '\x20') : std::string());
        state.commit({.key = key_of(nic), .before = {}, .after = nic});
        return state;
    };
    Connection six = honest();
    six.from.address = stand_in_of_nic(kConsumer);
    six.to.address = stand_in_of_link(9);
    EXPECT_TRUE(check_moved(with_six(true), six, kConsumer));
    EXPECT_FALSE(check_moved(with_six(false), six, kConsumer)) << "it has no IPv6";
    six.to.address = honest().to.address;
    EXPECT_FALSE(check_moved(with_six(true), six, kConsumer)) << "one end alone";
    six = honest();
    six.to.address = stand_in_of_link(9);
    EXPECT_FALSE(check_moved(with_six(true), six, kConsumer)) << "the other end alone";
    six.from.address = stand_in_of_nic(kStranger);
    EXPECT_FALSE(check_moved(with_six(true), six, kConsumer)) << "another's";
}

TEST(MigrateCheckTest, a_backend_of_ipv6_is_called_by_its_stand_in) {
    const auto with_six = [](bool service, bool nic) {
        State state = state_with({}, [&](api::Service& to) { to.set_six(service); });
        api::Object backend;
        *backend.mutable_nic() = *state.nic(kBackend);
        backend.mutable_nic()->set_six(nic ? std::string(16, '\x20') : std::string());
        state.commit({.key = key_of(backend), .before = {}, .after = backend});
        return state;
    };
    Connection six = honest();
    six.serving.address = stand_in_of_nic(kBackend);
    for (const std::uint32_t moving : {kConsumer, kBackend}) {
        EXPECT_TRUE(check_moved(with_six(true, true), six, moving));
        EXPECT_TRUE(check_moved(with_six(true, true), untranslated(), moving));
        EXPECT_FALSE(check_moved(with_six(true, false), six, moving)) << "it has no IPv6";
        EXPECT_FALSE(check_moved(with_six(false, true), six, moving)) << "the service has not";
        EXPECT_FALSE(check_moved(with_six(true, true), honest(), moving)) << "by IPv4";
    }
    six.serving.address = stand_in_of_nic(kStranger);
    EXPECT_FALSE(check_moved(with_six(true, true), six, kBackend)) << "another's";
}

struct Lie {
    const char* what;
    std::function<void(Connection&)> tell;
};

const Lie kLies[] = {
    {"a link that is not here", [](Connection& c) { c.link = 10; }},
    {"another approval", [](Connection& c) { c.link_generation = 2; }},
    {"another endpoint address", [](Connection& c) { c.to.address.value++; }},
    {"a port without a rule", [](Connection& c) { c.to.port = 444; }},
    {"another protocol", [](Connection& c) { c.protocol = 17; }},
    {"another backend port", [](Connection& c) { c.serving.port = 22; }},
    {"a backend outside the pool", [](Connection& c) { c.backend = {kStranger, 13}; }},
    {"an earlier owner of the backend's index", [](Connection& c) { c.backend.generation = 11; }},
    {"another address of the backend", [](Connection& c) { c.serving.address.value++; }},
    {"a consumer of another network", [](Connection& c) { c.consumer = {kStranger, 13}; }},
    {"an earlier owner of the consumer's index", [](Connection& c) { c.consumer.generation = 10; }},
    {"another address of the consumer", [](Connection& c) { c.from.address.value++; }},
    {"a NAT address of somebody else", [](Connection& c) { c.nat.address.value++; }},
    {"a NAT port below those that are given out", [](Connection& c) { c.nat.port = 80; }},
};

TEST(MigrateCheckTest, no_lie_is_believed) {
    const State state = state_with();
    for (const Lie& lie : kLies) {
        Connection told = honest();
        lie.tell(told);
        EXPECT_FALSE(check_moved(state, told, kBackend)) << lie.what;
    }
    EXPECT_FALSE(check_moved(state, honest(), kStranger)) << "a connection of others";
}

TEST(MigrateCheckTest, a_link_that_is_refused_has_no_connections) {
    const State state = state_with([](api::Link& link) { link.set_state(api::LINK_REFUSED); });
    EXPECT_FALSE(check_moved(state, honest(), kBackend));
}

TEST(MigrateCheckTest, a_connection_survives_the_wire) {
    Connection sent = honest();
    sent.age = std::chrono::seconds(60);
    sent.idle = std::chrono::seconds(2);
    sent.forward = {1, 2};
    sent.back = {3, 4};
    for (const Connection& each : {sent, untranslated()}) {
        EXPECT_EQ(from_wire(to_wire(each)).value(), each);
    }
}

TEST(MigrateCheckTest, what_cannot_be_on_the_wire_is_refused) {
    const auto lie = [](const std::function<void(api::MovedFlow&)>& change) {
        auto out = to_wire(honest());
        change(out);
        return from_wire(out).has_value();
    };
    EXPECT_FALSE(lie([](api::MovedFlow& f) { f.mutable_consumer()->set_port(65536); }));
    EXPECT_FALSE(lie([](api::MovedFlow& f) { f.set_nat_port(1 << 20); }));
    EXPECT_FALSE(lie([](api::MovedFlow& f) { f.set_protocol(256); }));
    EXPECT_FALSE(lie([](api::MovedFlow& f) { f.set_flags(CV_FLOW_PAIRED); }));
    EXPECT_FALSE(lie([](api::MovedFlow& f) { f.set_age_ns(~std::uint64_t{0}); }));
    EXPECT_FALSE(lie([](api::MovedFlow& f) { f.set_nat_port(0); })) << "half translated";
}

}  // namespace
}  // namespace culvert::agent
