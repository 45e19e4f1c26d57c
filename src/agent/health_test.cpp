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

    EXPECT_FALSE(judge.take(Outcome::kDown, 3));
    EXPECT_TRUE(judge.take(Outcome::kUp, 3)) << "it was slow to start";
    EXPECT_TRUE(judge.up());
    EXPECT_TRUE(judge.take(Outcome::kDown, 3));
    EXPECT_FALSE(judge.take(Outcome::kUp, 3)) << "from then on the threshold decides";

    Judge fresh;
    EXPECT_TRUE(fresh.take(Outcome::kUp, 3));
    EXPECT_TRUE(fresh.up());
}

TEST(Absence, IsWhatWasBusyAndWhatWokeLate) {
    const SteadyTime start{std::chrono::hours(1)};
    const auto at = [&](int ms) { return start + std::chrono::milliseconds(ms); };
    Absence absence;
    absence.waited(at(0), at(10), at(4));  // something happened
    EXPECT_EQ(absence.total(at(4)), std::chrono::milliseconds(0));
    EXPECT_EQ(absence.total(at(7)), std::chrono::milliseconds(3)) << "busy since";
    absence.waited(at(7), at(10), at(11));  // as exact as it gets
    EXPECT_EQ(absence.total(at(11)), std::chrono::milliseconds(3));
    absence.waited(at(11), at(20), at(520));  // stopped
    EXPECT_EQ(absence.total(at(520)), std::chrono::milliseconds(503));
    absence.waited(at(520), at(500), at(520));  // it did not want to wait
    EXPECT_EQ(absence.total(at(520)), std::chrono::milliseconds(503));
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

TEST(Doubt, SilenceOfWhoWasNotHeardDoesNotCountButForSoOften) {
    using std::chrono::milliseconds;
    Doubt doubt;
    EXPECT_TRUE(doubt.counts(true, true, milliseconds(10), milliseconds(20)));
    EXPECT_TRUE(doubt.counts(true, false, milliseconds(900), milliseconds(20))) << "it answered";
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 3; ++i) {
            EXPECT_FALSE(doubt.counts(true, true, milliseconds(11), milliseconds(20)));
        }
        EXPECT_TRUE(doubt.counts(true, true, milliseconds(11), milliseconds(20)));
    }
    EXPECT_FALSE(doubt.counts(false, false, milliseconds(0), milliseconds(20)));
    EXPECT_TRUE(doubt.counts(true, false, milliseconds(0), milliseconds(20)));
    for (int i = 0; i < 3; ++i) {
        EXPECT_FALSE(doubt.counts(false, false, milliseconds(0), milliseconds(20)));
    }
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
