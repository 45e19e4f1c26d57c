// SPDX-License-Identifier: Apache-2.0
// Two and more bulletins that write to each other by a network that loses, doubles and delays.
#include "agent/bulletin.hpp"

#include "abi/note.h"
#include "base/probe_limits.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

constexpr HealthKey key(std::uint32_t nic) {
    return {.nic = nic, .generation = 1, .pool = 5, .probe = 9};
}

class Net {
  public:
    explicit Net(unsigned seed = 1) : random_(seed) {}

    Bulletin& node(std::uint32_t index) { return *nodes_.at(index); }
    void start(std::uint32_t index, const std::vector<std::uint32_t>& peers) {
        nodes_[index] = std::make_unique<Bulletin>(random_() | 1, [this] { return random_(); });
        nodes_[index]->set_self(index);
        nodes_[index]->set_peers(peers, now_);
    }
    void lose(int percent) { loss_ = percent; }

    // Lets time pass in steps of a millisecond.
    void pass(std::chrono::milliseconds span) {
        for (const auto end = now_ + span; now_ < end; now_ += 1ms) {
            for (auto& [index, bulletin] : nodes_) {
                if (bulletin->next() > now_) {
                    continue;
                }
                for (auto& letter : bulletin->turn(now_)) {
                    ++sent_;
                    for (int copies = draw(10) == 0 ? 2 : 1; copies > 0; --copies) {
                        if (draw(100) >= loss_) {
                            under_way_.push_back({index, letter, now_ + delay()});
                        }
                    }
                }
            }
            deliver();
        }
    }

    std::optional<bool> says(std::uint32_t hearer, std::uint32_t speaker, std::uint32_t nic) {
        const auto& rows = node(hearer).rows(speaker);
        const auto found = rows.find(key(nic));
        return found == rows.end() ? std::nullopt : std::optional(found->second);
    }
    std::uint64_t sent() const { return sent_; }
    SteadyTime now() const { return now_; }
    // The last note that was delivered to a node.
    std::map<std::uint32_t, Bulletin::Note> heard;

  private:
    struct Flight {
        std::uint32_t from;
        Bulletin::Letter letter;
        SteadyTime at;
    };
    int draw(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
    std::chrono::milliseconds delay() {
        return std::chrono::milliseconds(loss_ == 0 ? 1 : draw(40));
    }
    void deliver() {
        std::vector<Flight> later;
        for (auto& flight : std::exchange(under_way_, {})) {
            if (flight.at > now_) {
                later.push_back(std::move(flight));
            } else if (const auto to = nodes_.find(flight.letter.node); to != nodes_.end()) {
                heard[to->first] = flight.letter.note;
                to->second->take(flight.from, flight.letter.note, now_);
            }
        }
        under_way_.insert(under_way_.end(), later.begin(), later.end());
    }

    std::mt19937_64 random_;
    std::map<std::uint32_t, std::unique_ptr<Bulletin>> nodes_;
    std::vector<Flight> under_way_;
    SteadyTime now_{1h};
    int loss_ = 0;
    std::uint64_t sent_ = 0;
};

TEST(Bulletin, TellsAPeerWithinMilliseconds) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    net.pass(20ms);
    net.node(1).post({{key(7), true}});
    net.pass(5ms);
    EXPECT_EQ(net.says(2, 1, 7), true);
    net.node(2).take_words();
    net.node(1).post({{key(7), false}});
    net.pass(5ms);
    EXPECT_EQ(net.says(2, 1, 7), false);
    const auto words = net.node(2).take_words();
    ASSERT_EQ(words.size(), 1U);
    EXPECT_EQ(words[0], (Bulletin::Word{.node = 1, .key = key(7), .up = false}));
}

TEST(Bulletin, IsSilentWhenThereIsNothingNew) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    net.node(1).post({{key(7), true}});
    net.pass(100ms);
    const auto before = net.sent();
    net.pass(10s);
    EXPECT_EQ(net.sent(), before);
    EXPECT_EQ(net.node(1).next(), SteadyTime::max());
}

TEST(Bulletin, KnowsWhoSpeaksAndAsksTheOthersLessAndLess) {
    Net net;
    net.start(1, {2, 3});  // nobody is at 3
    net.start(2, {1});
    net.pass(100ms);
    EXPECT_TRUE(net.node(1).speaks(2)) << "though it has nothing to say";
    EXPECT_FALSE(net.node(1).speaks(3));
    const auto before = net.sent();
    net.pass(60s);
    EXPECT_LE(net.sent() - before, 25U);
    EXPECT_GE(net.sent() - before, 10U);
}

TEST(Bulletin, AStateLargerThanANoteArrivesWhole) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    HealthRows rows;
    for (std::uint32_t nic = 1; nic <= 5000; ++nic) {
        rows[key(nic)] = nic % 3 == 0;
    }
    net.node(1).post(rows);
    net.pass(1s);
    EXPECT_EQ(net.node(2).rows(1), rows);
}

TEST(Bulletin, AStateComesThroughALossyNetwork) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        Net net(seed);
        net.lose(40);
        net.start(1, {2, 3});
        net.start(2, {1, 3});
        net.start(3, {1, 2});
        HealthRows rows;
        std::mt19937 random(seed);
        for (int change = 0; change < 300; ++change) {
            rows[key(random() % 200 + 1)] = random() % 2 == 0;
            net.node(1).post(rows);
            net.pass(std::chrono::milliseconds(random() % 10));
        }
        net.pass(60s);
        for (const std::uint32_t hearer : {2u, 3u}) {
            EXPECT_EQ(net.node(hearer).rows(1), rows) << "seed " << seed;
        }
    }
}

TEST(Bulletin, AHearerThatStartsAgainIsToldEverything) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    net.node(1).post({{key(7), true}, {key(8), false}});
    net.pass(50ms);
    net.start(2, {1});
    EXPECT_FALSE(net.node(2).speaks(1));
    net.pass(50ms);
    EXPECT_TRUE(net.node(2).speaks(1));
    EXPECT_EQ(net.says(2, 1, 7), true);
    EXPECT_EQ(net.says(2, 1, 8), false);
}

TEST(Bulletin, ASpeakerThatStartsAgainIsBelievedAnew) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    for (int turn = 0; turn < 9; ++turn) {  // versions beyond those of the next life
        net.node(1).post({{key(7), turn % 2 == 0}});
        net.pass(5ms);
    }
    EXPECT_EQ(net.says(2, 1, 7), true);
    net.start(1, {2});
    net.node(1).post({{key(7), false}});
    net.pass(50ms);
    EXPECT_EQ(net.says(2, 1, 7), false);
}

TEST(Bulletin, WhatAnEarlierLifeSaidIsForgotten) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    net.node(1).post({{key(7), true}, {key(8), true}});
    net.pass(50ms);
    ASSERT_EQ(net.says(2, 1, 8), true);
    net.start(1, {2});
    net.node(1).post({{key(7), true}});
    net.pass(50ms);
    EXPECT_EQ(net.says(2, 1, 7), true);
    EXPECT_EQ(net.says(2, 1, 8), std::nullopt);
}

TEST(Bulletin, APeerIsBelievedAboutWhatIsWantedOfIt) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    const auto stray = [](std::uint32_t, const HealthKey& each) { return each == key(9); };
    net.node(2).set_wanted({{1, {key(7)}}, {3, {key(8)}}}, stray);
    net.node(1).post({{key(7), true}, {key(8), true}, {key(9), true}});
    net.pass(50ms);
    const auto words = net.node(2).take_words();
    ASSERT_EQ(words.size(), 1U);
    EXPECT_EQ(words[0].key, key(7));
    EXPECT_EQ(net.node(2).counts().refused, 1U);
    EXPECT_TRUE(net.node(2).take_words().empty());
    // the intent has come: what it was told counts now, and what does not, does not
    net.node(2).set_wanted({{1, {key(8)}}}, stray);
    const auto later = net.node(2).take_words();
    ASSERT_EQ(later.size(), 1U);
    EXPECT_EQ(later[0].key, key(8));
}

TEST(Bulletin, ManyRowsOfWhatNobodyKnowsCostLittleAndNothingThatIsWanted) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    constexpr std::uint32_t kRows = 3 * limits::kIdleHealthRows;
    net.node(2).set_wanted({}, {});
    HealthRows rows;
    for (std::uint32_t nic = 1; nic <= kRows; ++nic) {
        rows[key(nic)] = true;
    }
    net.node(1).post(rows);
    net.pass(5s);
    EXPECT_LE(net.node(2).rows(1).size(), limits::kIdleHealthRows);
    EXPECT_GE(net.node(2).counts().refused, kRows - limits::kIdleHealthRows);
    EXPECT_TRUE(net.node(2).take_words().empty());
    // what was not kept and is wanted now is asked for; what the intent forgets goes
    for (const std::uint32_t nic : {1U, kRows / 2, kRows}) {
        net.node(2).set_wanted({{1, {key(nic)}}}, {});
        net.pass(5s);
        EXPECT_EQ(net.says(2, 1, nic), true);
        const auto words = net.node(2).take_words();
        ASSERT_EQ(words.size(), 1U) << nic;
        EXPECT_EQ(words[0].key, key(nic));
    }
    EXPECT_LE(net.node(2).rows(1).size(), limits::kIdleHealthRows + 1);
    // what the speaker does not know either is not asked for again and again
    net.node(2).set_wanted({{1, {key(kRows + 1)}}}, {});
    net.pass(5s);
    const auto before = net.sent();
    net.pass(5s);
    EXPECT_EQ(net.sent(), before);
}

TEST(Bulletin, WhoAsksForEverythingAgainAndAgainCostsABoundedNumberOfNotes) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    HealthRows rows;
    for (std::uint32_t nic = 1; nic <= 5000; ++nic) {
        rows[key(nic)] = true;
    }
    net.node(1).post(rows);
    net.pass(1s);
    ASSERT_EQ(net.node(2).rows(1).size(), rows.size());
    cv_note_wire ask{};
    std::memcpy(&ask, net.heard.at(1).data(), sizeof(ask));
    ask.kind = CV_NOTE_ASK;
    ask.to = 0;
    Bulletin::Note note(sizeof(ask));
    std::memcpy(note.data(), &ask, sizeof(ask));
    std::size_t sent = 0;
    for (int ms = 0; ms < 1000; ++ms) {
        const auto now = net.now() + std::chrono::milliseconds(ms);
        net.node(1).take(2, note, now);
        sent += net.node(1).turn(now).size();
    }
    EXPECT_GT(sent, 1000U);
    EXPECT_LT(sent, 6000U);
}

TEST(Bulletin, ABackendThatGoesUpAndDownIsOneWord) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    for (int turn = 0; turn < 100; ++turn) {
        net.node(1).post({{key(7), turn % 2 != 0}});
        net.pass(3ms);
    }
    net.pass(50ms);
    const auto words = net.node(2).take_words();
    ASSERT_EQ(words.size(), 1U);
    EXPECT_TRUE(words[0].up);
}

TEST(Bulletin, APeerThatLeftIsForgotten) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    net.node(1).post({{key(7), true}});
    net.pass(50ms);
    net.node(2).take_words();
    net.node(2).set_peers({}, net.now());
    EXPECT_TRUE(net.node(2).rows(1).empty());
    EXPECT_FALSE(net.node(2).speaks(1));
    net.node(1).post({{key(7), false}});
    net.pass(1s);
    EXPECT_TRUE(net.node(2).take_words().empty());
    EXPECT_EQ(net.says(2, 1, 7), std::nullopt);
}

// A forger knows everything but the key: the last note that went to the node, in its own words.
Bulletin::Note forged(Bulletin::Note note, std::uint64_t key_xor, std::uint8_t up) {
    cv_note_wire wire{};
    std::memcpy(&wire, note.data(), sizeof(wire));
    wire.key ^= key_xor;
    std::memcpy(note.data(), &wire, sizeof(wire));
    if (note.size() > sizeof(wire)) {
        note[sizeof(wire) + offsetof(cv_note_row, up)] = up;
    }
    return note;
}

TEST(Bulletin, WhoDoesNotKnowTheKeyChangesNothing) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    net.pass(50ms);
    net.node(1).post({{key(7), true}});
    net.pass(5ms);
    ASSERT_EQ(net.says(2, 1, 7), true);
    const auto news = net.heard.at(2);
    ASSERT_EQ(news.size(), sizeof(cv_note_wire) + sizeof(cv_note_row));
    const auto refused = net.node(2).counts().refused;
    for (std::uint64_t guess = 1; guess < 100; ++guess) {
        net.node(2).take(1, forged(news, guess, 0), net.now());
    }
    EXPECT_EQ(net.says(2, 1, 7), true);
    EXPECT_EQ(net.node(2).counts().refused, refused + 99);
    // and it is answered no more often than once a turn
    EXPECT_LE(net.node(2).turn(net.now()).size(), 2U);
    // an acknowledgement that was forged does not end the telling either
    net.node(1).post({{key(7), false}});
    cv_note_wire have{};
    std::memcpy(&have, net.heard.at(1).data(), sizeof(have));
    have.key ^= 5;
    have.kind = CV_NOTE_HAVE;
    Bulletin::Note lie(sizeof(have));
    std::memcpy(lie.data(), &have, sizeof(have));
    net.node(1).take(2, lie, net.now());
    net.pass(50ms);
    EXPECT_EQ(net.says(2, 1, 7), false);
}

TEST(Bulletin, GarbageIsCountedAndNothingElse) {
    Net net;
    net.start(1, {2});
    net.start(2, {1});
    net.node(1).post({{key(7), true}});
    net.pass(50ms);
    std::mt19937 random(3);
    const auto rows = net.node(2).rows(1);
    for (int turn = 0; turn < 20000; ++turn) {
        Bulletin::Note note = net.heard.at(2);
        note.resize(random() % (CV_NOTE_MAX + 1));
        for (std::size_t at = 0; at < note.size(); ++at) {
            if (random() % 4 == 0) {
                note[at] = static_cast<std::uint8_t>(random());
            }
        }
        net.node(2).take(random() % 3, note, net.now());
    }
    EXPECT_EQ(net.node(2).rows(1), rows);
    EXPECT_GT(net.node(2).counts().refused, 10000U);
}

}  // namespace
}  // namespace culvert::agent
