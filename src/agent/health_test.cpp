// SPDX-License-Identifier: Apache-2.0
#include "agent/health.hpp"

#include "agent/probing.hpp"

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using State = Health::State;

constexpr HealthKey kKey{.nic = 7, .generation = 2, .pool = 5, .probe = 9};

TEST(Judge, BeginsDownAndIsUpWithItsFirstSuccess) {
    Judge judge;
    EXPECT_FALSE(judge.known());
    EXPECT_FALSE(judge.up());
    EXPECT_TRUE(judge.take(Outcome::kFailed, 3));  // now it is known to be down
    EXPECT_TRUE(judge.known());
    EXPECT_FALSE(judge.up());

    Judge fresh;
    EXPECT_TRUE(fresh.take(Outcome::kUp, 3));
    EXPECT_TRUE(fresh.up());
}

TEST(Judge, TakesAsManyInARowAsTheThresholdSays) {
    Judge judge(true);
    EXPECT_FALSE(judge.take(Outcome::kFailed, 3));
    EXPECT_FALSE(judge.take(Outcome::kFailed, 3));
    EXPECT_FALSE(judge.take(Outcome::kUp, 3));  // not in a row
    EXPECT_FALSE(judge.take(Outcome::kFailed, 3));
    EXPECT_FALSE(judge.take(Outcome::kFailed, 3));
    EXPECT_TRUE(judge.take(Outcome::kFailed, 3));
    EXPECT_FALSE(judge.up());
    EXPECT_FALSE(judge.take(Outcome::kUp, 3));
    EXPECT_FALSE(judge.take(Outcome::kUp, 3));
    EXPECT_TRUE(judge.take(Outcome::kUp, 3));
    EXPECT_TRUE(judge.up());
}

TEST(Judge, AResetOrAnotherStatusIsDownAtOnce) {
    Judge judge(true);
    EXPECT_TRUE(judge.take(Outcome::kDown, 1000));
    EXPECT_FALSE(judge.up());
    EXPECT_FALSE(judge.take(Outcome::kDown, 1000));  // nothing new
}

TEST(Judge, AThresholdOfOneIsTheNextAnswer) {
    Judge judge(true);
    EXPECT_TRUE(judge.take(Outcome::kFailed, 1));
    EXPECT_TRUE(judge.take(Outcome::kUp, 1));
}

TEST(Health, WhatIsNotPlumbedServesNobody) {
    Health health;
    EXPECT_EQ(health.state(7, 2, 5, 0, 1), State::kUp);
    health.set({.nic = 7, .generation = 2}, false);
    EXPECT_EQ(health.state(7, 2, 5, 0, 1), State::kUnplumbed);
    health.set(kKey, true);
    EXPECT_EQ(health.state(7, 2, 5, 9, 1), State::kUnplumbed);
    EXPECT_EQ(health.state(7, 3, 5, 0, 1), State::kUp) << "of another NIC of that index";
}

TEST(Health, SilenceIsDownOfThoseWhoSpeakAlone) {
    Health health;
    EXPECT_EQ(health.state(7, 2, 5, 9, 1), State::kUnknown);
    EXPECT_TRUE(health.is_up(7, 2, 5, 9, 1)) << "a node older than verdicts";
    EXPECT_TRUE(health.speaks(1));
    EXPECT_FALSE(health.speaks(1));
    EXPECT_EQ(health.state(7, 2, 5, 9, 1), State::kDown);
    EXPECT_TRUE(health.set(kKey, true));
    EXPECT_FALSE(health.set(kKey, true));
    EXPECT_EQ(health.state(7, 2, 5, 9, 1), State::kUp);
    EXPECT_EQ(health.state(7, 2, 5, 8, 1), State::kDown) << "by another probe";
    EXPECT_EQ(health.state(7, 3, 5, 9, 1), State::kDown) << "another NIC of that index";
    health.retain([](const HealthKey&) { return false; });
    EXPECT_EQ(health.state(7, 2, 5, 9, 1), State::kDown);
}

TEST(ProbeSpec, TheNodesIntervalGoesBeforeTheProbesOwn) {
    api::Probe probe;
    probe.set_protocol(api::PROBE_HTTPS);
    probe.set_port(443);
    probe.set_path("/health");
    probe.set_interval_ms(15000);
    probe.set_threshold(2);
    EXPECT_EQ(spec_of(probe, {}).interval, std::chrono::seconds(15));
    EXPECT_EQ(spec_of(probe, std::chrono::milliseconds(50)).interval,
              std::chrono::milliseconds(50));
    EXPECT_EQ(to_string(spec_of(probe, {})), "https:443/health");
}

TEST(StatusOf, ReadsTheFirstLineAndNothingElse) {
    EXPECT_EQ(status_of(""), 0);
    EXPECT_EQ(status_of("HTT"), 0);
    EXPECT_EQ(status_of("HTTP/1.1 20"), 0);
    EXPECT_EQ(status_of("HTTP/1.1 200"), 0) << "2000 would be none";
    EXPECT_EQ(status_of("HTTP/1.1 200 OK\r\n"), 200);
    EXPECT_EQ(status_of("HTTP/1.0 503\r\n"), 503);
    for (const char* bad : {"SSH-2.0-x\r\n", "HTTP/2 200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 000 x",
                            "HTTP/1.1-200 OK", "HTTP/1.1 2a0 OK"}) {
        EXPECT_EQ(status_of(bad), -1) << bad;
    }
}

}  // namespace
}  // namespace culvert::agent
