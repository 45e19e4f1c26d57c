// SPDX-License-Identifier: Apache-2.0
#include "agent/liveness.hpp"

#include "base/limits.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr auto kStart = SteadyTime(1000s);

// Peers on a network whose faults the test makes; time moves from turn to turn.
class LivenessTest : public testing::Test {
  protected:
    void start(std::uint32_t peers, LivenessTimes times = {}, const Verdicts& known = {}) {
        liveness_ = std::make_unique<Liveness>(times);
        liveness_->remember(known, now_);
        std::vector<std::uint32_t> nodes;
        for (std::uint32_t node = 1; node <= peers; ++node) {
            nodes.push_back(node);
        }
        liveness_->set_peers(nodes, now_, hear());
    }

    Liveness::Hear hear() {
        return [this](std::uint32_t node) {
            deliver();
            return heard_[node];
        };
    }

    // Takes turns until `until`; true as soon as `stop` holds after one.
    template <typename Stop>
    bool run_until(SteadyTime until, Stop&& stop) {
        while (true) {
            const auto turn = liveness_->turn(now_, hear(), around_);
            for (const auto& question : turn.questions) {
                ask(question);
            }
            changes_ += turn.changed ? 1 : 0;
            if (stop()) {
                return true;
            }
            if (now_ >= until) {
                return false;
            }
            now_ = std::min(until, std::max(turn.next, now_ + 2ms));
        }
    }
    void run_for(nanoseconds time) {
        run_until(now_ + time, [] { return false; });
    }
    bool run_until_lost(std::uint32_t node, nanoseconds most = 10s) {
        return run_until(now_ + most, [&] { return peer(node).state == PeerState::kLost; });
    }

    PeerView peer(std::uint32_t node) const {
        for (const PeerView& view : liveness_->peers()) {
            if (view.node == node) {
                return view;
            }
        }
        return {};
    }
    std::size_t lost() const {
        std::size_t out = 0;
        for (const PeerView& view : liveness_->peers()) {
            out += view.state == PeerState::kLost ? 1 : 0;
        }
        return out;
    }

    std::unique_ptr<Liveness> liveness_;
    SteadyTime now_ = kStart;
    Liveness::Around around_;
    std::set<std::uint32_t> dead_;  // answer nothing
    std::set<std::uint32_t> cut_;   // the way between them and this node is
    bool own_cut_ = false;
    double loss_ = 0;  // of each packet
    nanoseconds way_ = 500us;
    std::map<std::uint32_t, datapath::Heard> heard_;
    std::size_t asked_ = 0;
    std::size_t relayed_ = 0;
    std::size_t changes_ = 0;

  private:
    bool passes() { return !(chance_(random_) < loss_); }

    void ask(const Liveness::Question& question) {
        ++asked_;
        relayed_ += question.relay != 0 ? 1 : 0;
        const bool relay = question.relay != 0;
        const std::uint32_t first = relay ? question.relay : question.target;
        bool arrives = !own_cut_ && !dead_.contains(first) && !cut_.contains(first) &&
                       !dead_.contains(question.target);
        for (int hop = 0; hop < (relay ? 4 : 2); ++hop) {
            arrives = passes() && arrives;
        }
        if (arrives) {
            on_the_way_.emplace(now_ + (relay ? 4 : 2) * way_, question);
        }
    }

    void deliver() {
        while (!on_the_way_.empty() && on_the_way_.begin()->first <= now_) {
            const auto& [at, question] = *on_the_way_.begin();
            datapath::Heard& to = heard_[question.target];
            if (question.relay != 0) {
                to.relay_sequence = question.sequence;
                to.relayed_at = at;
            } else if (static_cast<std::int32_t>(question.sequence - to.sequence) > 0) {
                to.sequence = question.sequence;
                to.at = at;
                ++to.answers;
            }
            on_the_way_.erase(on_the_way_.begin());
        }
    }

    std::multimap<SteadyTime, Liveness::Question> on_the_way_;
    std::mt19937_64 random_{20261122};
    std::uniform_real_distribution<double> chance_{0, 1};
};

TEST_F(LivenessTest, EachPeerIsAskedOnceAnInterval) {
    start(10);
    run_for(10s);
    EXPECT_NEAR(static_cast<double>(asked_), 1000, 20);
    EXPECT_EQ(relayed_, 0u);
    EXPECT_EQ(peer(3).state, PeerState::kAlive);
    EXPECT_EQ(peer(3).rtt, 1ms);
    EXPECT_EQ(peer(3).loss, 0);
}

TEST_F(LivenessTest, PeersAreAskedSpreadOverTheInterval) {
    start(10);
    run_until(now_ + 49ms, [] { return false; });
    EXPECT_EQ(asked_, 5u);
}

TEST_F(LivenessTest, ADeadNodeIsLostWithinMissesTimesInterval) {
    for (int at = 0; at < 20; ++at) {
        now_ = kStart;
        dead_.clear();
        heard_.clear();
        start(4);
        run_for(2s + at * 5ms);
        dead_ = {2};
        const auto fault = now_;
        ASSERT_TRUE(run_until_lost(2));
        EXPECT_LE(now_ - fault, 310ms);
        EXPECT_GE(now_ - fault, 190ms);
        EXPECT_EQ(peer(2).fault, Fault::kNode);
        EXPECT_EQ(lost(), 1u);
        EXPECT_FALSE(liveness_->isolated());
    }
}

TEST_F(LivenessTest, TheTimesAreConfigurable) {
    start(3, {.interval = 20ms, .misses = 5});
    run_for(1s);
    dead_ = {2};
    const auto fault = now_;
    ASSERT_TRUE(run_until_lost(2));
    EXPECT_LE(now_ - fault, 110ms);
    EXPECT_GE(now_ - fault, 75ms);
}

TEST_F(LivenessTest, ACutPathIsToldFromADeadNode) {
    start(4);
    run_for(1s);
    cut_ = {3};
    ASSERT_TRUE(run_until_lost(3));
    EXPECT_EQ(peer(3).fault, Fault::kPath);
    // and the class follows when the node dies, too
    dead_ = {3};
    run_for(6s);
    EXPECT_EQ(peer(3).fault, Fault::kNode);
    dead_.clear();
    run_for(3s);
    EXPECT_EQ(peer(3).fault, Fault::kPath);
}

TEST_F(LivenessTest, ANodeThatHearsNobodyIsIsolatedAndLosesNobody) {
    start(4);
    run_for(1s);
    own_cut_ = true;
    const auto fault = now_;
    ASSERT_TRUE(run_until(now_ + 10s, [&] { return liveness_->isolated(); }));
    EXPECT_LE(now_ - fault, 400ms);
    run_for(60s);
    EXPECT_EQ(lost(), 0u);
    own_cut_ = false;
    run_for(300ms);
    EXPECT_FALSE(liveness_->isolated());
    run_for(5s);
    EXPECT_EQ(lost(), 0u);
    EXPECT_EQ(changes_, 2u);
}

TEST_F(LivenessTest, TheNextLifeKnowsWhoIsLostUntilThatAnswersAgain) {
    start(4);
    run_for(1s);
    dead_ = {2};
    ASSERT_TRUE(run_until_lost(2));
    const auto since = peer(2).since;
    run_for(1s);
    changes_ = 0;
    start(4, {}, liveness_->verdicts());
    EXPECT_EQ(peer(2).state, PeerState::kLost);
    EXPECT_EQ(peer(2).since, since);
    run_for(5s);
    EXPECT_EQ(lost(), 1u);
    EXPECT_EQ(changes_, 0u);
    ASSERT_TRUE(run_until(since + 61s, [&] { return peer(2).gone; }));
    dead_.clear();
    const auto back = now_;
    ASSERT_TRUE(run_until(now_ + 5s, [&] { return lost() == 0; }));
    EXPECT_GE(now_ - back, 150ms) << "one answer is not enough";
    EXPECT_FALSE(peer(2).gone);
}

TEST_F(LivenessTest, TheNextLifeKnowsThatNobodyIsHeard) {
    start(4);
    run_for(1s);
    own_cut_ = true;
    ASSERT_TRUE(run_until(now_ + 10s, [&] { return liveness_->isolated(); }));
    start(4, {}, liveness_->verdicts());
    EXPECT_TRUE(liveness_->isolated());
    run_for(5s);
    EXPECT_TRUE(liveness_->isolated());
    EXPECT_EQ(lost(), 0u);
    own_cut_ = false;
    run_for(300ms);
    EXPECT_FALSE(liveness_->isolated());
    EXPECT_EQ(lost(), 0u);
}

TEST_F(LivenessTest, TheNextLifeKnowsWhoIsFencedAndForgetsWhoIsNoPeer) {
    start(4);
    heard_[3].fenced = true;
    run_for(1s);
    auto known = liveness_->verdicts();
    ASSERT_EQ(known.peers.size(), 1u);
    known.peers.push_back({.node = 9, .lost = true, .gone = false, .fenced = false, .since = {}});
    start(4, {}, known);
    EXPECT_TRUE(peer(3).fenced);
    EXPECT_EQ(peer(3).state, PeerState::kNew);
    heard_[3].fenced = false;
    run_for(300ms);
    EXPECT_EQ(liveness_->verdicts(), Verdicts{});
}

TEST_F(LivenessTest, AfterIsolationWhoStaysSilentIsLost) {
    start(4);
    run_for(1s);
    own_cut_ = true;
    run_for(2s);
    own_cut_ = false;
    dead_ = {1};
    ASSERT_TRUE(run_until_lost(1, 1s));
    EXPECT_EQ(lost(), 1u);
}

TEST_F(LivenessTest, WithoutCarrierItIsIsolatedAtOnce) {
    start(4);
    run_for(1s);
    around_.carrier = false;
    own_cut_ = true;
    run_for(10ms);
    EXPECT_TRUE(liveness_->isolated());
    run_for(2s);
    EXPECT_EQ(lost(), 0u);
    own_cut_ = false;
    around_.carrier = true;
    run_for(300ms);
    EXPECT_FALSE(liveness_->isolated());
}

TEST_F(LivenessTest, TheOnlyPeerIsLostWhileTheControlPlaneIsThere) {
    start(1);
    run_for(1s);
    dead_ = {1};
    ASSERT_TRUE(run_until_lost(1));
    EXPECT_FALSE(liveness_->isolated());
}

TEST_F(LivenessTest, TheOnlyPeerIsNotLostWhenTheControlPlaneIsAwayToo) {
    start(1);
    run_for(1s);
    dead_ = {1};
    around_.control = false;
    run_for(5s);
    EXPECT_TRUE(liveness_->isolated());
    EXPECT_EQ(lost(), 0u);
}

TEST_F(LivenessTest, NodesThatDieOneAfterTheOtherAreAllLost) {
    start(3);
    run_for(1s);
    dead_ = {1};
    ASSERT_TRUE(run_until_lost(1));
    dead_ = {1, 2};
    ASSERT_TRUE(run_until_lost(2));
    dead_ = {1, 2, 3};
    ASSERT_TRUE(run_until_lost(3));
    EXPECT_FALSE(liveness_->isolated());
}

TEST_F(LivenessTest, WhatThisMachineSleptOverIsNotHeldAgainstPeers) {
    start(4);
    run_for(1s);
    for (int at = 0; at < 50; ++at) {
        now_ += 700ms + at * 37ms;
        run_for(150ms);
        ASSERT_EQ(lost(), 0u);
        ASSERT_FALSE(liveness_->isolated());
    }
}

TEST_F(LivenessTest, QuestionsThatDidNotLeaveAreNotHeldAgainstPeers) {
    start(2);
    run_for(1s);
    for (int at = 0; at < 500; ++at) {
        const auto turn = liveness_->turn(now_, hear(), around_);
        for (const auto& question : turn.questions) {
            liveness_->unsent(question);
        }
        now_ += 10ms;
    }
    EXPECT_EQ(lost(), 0u);
    EXPECT_FALSE(liveness_->isolated());
}

TEST_F(LivenessTest, OnePercentLossNeverLosesAPeer) {
    start(5);
    loss_ = 0.01;
    run_for(2h);
    EXPECT_EQ(changes_, 0u);
    EXPECT_NEAR(peer(1).loss, 0.02, 0.04);
}

TEST_F(LivenessTest, AFarPeerIsNotLostByDistance) {
    start(3);
    way_ = 120ms;
    run_for(5min);
    EXPECT_EQ(changes_, 0u);
    EXPECT_EQ(peer(1).rtt, 240ms);
}

TEST_F(LivenessTest, ALostPeerComesBackAfterGoodAnswers) {
    start(4);
    run_for(1s);
    dead_ = {2};
    ASSERT_TRUE(run_until_lost(2));
    run_for(5s);
    dead_.clear();
    const auto mended = now_;
    ASSERT_TRUE(run_until(now_ + 5s, [&] { return peer(2).state == PeerState::kAlive; }));
    EXPECT_GE(now_ - mended, 200ms);
    EXPECT_LE(now_ - mended, 500ms);
    EXPECT_EQ(peer(2).fault, Fault::kNone);
}

TEST_F(LivenessTest, WhoFallsAgainAndAgainComesBackLater) {
    start(4);
    run_for(1s);
    nanoseconds last{0};
    for (int round = 0; round < 4; ++round) {
        dead_ = {2};
        ASSERT_TRUE(run_until_lost(2));
        dead_.clear();
        const auto mended = now_;
        ASSERT_TRUE(run_until(now_ + 60s, [&] { return peer(2).state == PeerState::kAlive; }));
        EXPECT_GT(now_ - mended, last * 3 / 2);
        last = now_ - mended;
    }
    EXPECT_EQ(peer(2).losses, 4u);
}

TEST_F(LivenessTest, APeerLostForLongIsGone) {
    start(4, {.reset_after = 5s});
    run_for(1s);
    dead_ = {2};
    ASSERT_TRUE(run_until_lost(2));
    run_for(4900ms);
    EXPECT_FALSE(peer(2).gone);
    run_for(200ms);
    EXPECT_TRUE(peer(2).gone);
    dead_.clear();
    run_for(2s);
    EXPECT_FALSE(peer(2).gone);
}

TEST_F(LivenessTest, AFencedPeerIsReachedAndShownAsFenced) {
    start(4);
    run_for(1s);
    heard_[2].fenced = true;
    run_for(200ms);
    EXPECT_TRUE(peer(2).fenced);
    EXPECT_EQ(peer(2).state, PeerState::kAlive);
    EXPECT_EQ(changes_, 1u);
    heard_[2].fenced = false;
    run_for(200ms);
    EXPECT_FALSE(peer(2).fenced);
    EXPECT_EQ(changes_, 2u);
}

TEST_F(LivenessTest, VeryManyPeersCostABoundedNumberOfEchoes) {
    start(limits::kNodes - 1);
    run_for(2s);
    EXPECT_LE(asked_, 2u * limits::kEchoesPerSecond + limits::kNodes);
    EXPECT_GE(asked_, 2u * limits::kEchoesPerSecond - limits::kNodes);
    dead_ = {7};
    ASSERT_TRUE(run_until_lost(7));
    EXPECT_EQ(lost(), 1u);
}

TEST_F(LivenessTest, ARackThatDiesDoesNotFloodTheRelays) {
    start(102);
    run_for(1s);
    for (std::uint32_t node = 3; node <= 102; ++node) {
        dead_.insert(node);
    }
    relayed_ = 0;
    run_for(1s);
    EXPECT_EQ(lost(), 100u);
    // two relays are left, in each of which the dead had a share
    EXPECT_LE(relayed_, 2u * 1024);
}

TEST_F(LivenessTest, PeersThatLeaveTheIntentAreForgotten) {
    start(4);
    run_for(1s);
    dead_ = {2};
    ASSERT_TRUE(run_until_lost(2));
    const std::vector<std::uint32_t> rest{1, 3, 4};
    liveness_->set_peers(rest, now_, hear());
    EXPECT_EQ(lost(), 0u);
    EXPECT_EQ(liveness_->peers().size(), 3u);
    liveness_->set_peers({}, now_, hear());
    run_for(1s);
    EXPECT_FALSE(liveness_->isolated());
}

}  // namespace
}  // namespace culvert::agent
