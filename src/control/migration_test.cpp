// SPDX-License-Identifier: Apache-2.0
#include "control/migration.hpp"

#include "api/intent.pb.h"
#include "base/limits.hpp"
#include "control/hub_moves.hpp"
#include "control/hub_scene_test.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace culvert::control {
namespace {

using model::MoveStage;

model::Attachment resting() {
    model::Attachment value;
    value.nic = scene::id("networkInterfaces", "web");
    value.node = "n1";
    value.id = "here";
    value.attached_by = "p";
    return value;
}

model::Attachment preparing() {
    model::Attachment value = resting();
    value.stage = MoveStage::kPreparing;
    value.other = "n2";
    value.other_id = "there";
    return value;
}

TEST(MigrationTest, the_steps_lead_from_one_node_to_the_other) {
    const auto moving = after_step(preparing(), MoveStep::kLetGo);
    ASSERT_TRUE(moving);
    EXPECT_EQ(moving->node, "n1");
    const auto settling = after_step(*moving, MoveStep::kSettle);
    ASSERT_TRUE(settling);
    EXPECT_EQ(settling->node, "n2");
    EXPECT_EQ(settling->id, "there");
    EXPECT_EQ(settling->other, "n1");
    const auto done = after_step(*settling, MoveStep::kFinish);
    ASSERT_TRUE(done);
    EXPECT_FALSE(done->moves());
    EXPECT_EQ(done->node, "n2");
    for (const auto& stage : {preparing(), *moving, *settling}) {
        EXPECT_EQ(move_id(stage), "there");
        EXPECT_EQ(decode_attachment(encode(stage)).value(), stage);
    }
}

TEST(MigrationTest, a_move_is_called_off_until_the_nic_is_attached_there) {
    const auto moving = *after_step(preparing(), MoveStep::kLetGo);
    EXPECT_EQ(after_step(preparing(), MoveStep::kCallOff), resting());
    EXPECT_EQ(after_step(moving, MoveStep::kCallOff), resting());
    EXPECT_FALSE(after_step(*after_step(moving, MoveStep::kSettle), MoveStep::kCallOff));
    EXPECT_FALSE(after_step(resting(), MoveStep::kCallOff));
}

TEST(MigrationTest, no_step_is_taken_twice_or_out_of_order) {
    for (const auto step : {MoveStep::kSettle, MoveStep::kFinish}) {
        EXPECT_FALSE(after_step(preparing(), step));
    }
    const auto moving = *after_step(preparing(), MoveStep::kLetGo);
    EXPECT_FALSE(after_step(moving, MoveStep::kLetGo));
    EXPECT_FALSE(after_step(moving, MoveStep::kFinish));
}

TEST(MigrationTest, the_store_takes_a_step_of_the_named_move_alone) {
    const auto store = store::open_memory();
    const auto nic = resting().nic;
    scene::write(*store, {{keys::attachment(nic.key()), encode(preparing())},
                          {keys::ref(keys::node("n2"), nic.key()), nic.str()}});
    EXPECT_FALSE(take_step(*store, nic, "another", MoveStep::kLetGo).value());
    EXPECT_TRUE(take_step(*store, nic, "there", MoveStep::kLetGo).value());
    EXPECT_FALSE(take_step(*store, nic, "there", MoveStep::kLetGo).value()) << "taken already";
    EXPECT_TRUE(take_step(*store, nic, "there", MoveStep::kCallOff).value());
    EXPECT_EQ(decode_attachment((*store->get(keys::attachment(nic.key())))->value), resting());
    EXPECT_FALSE(*store->get(keys::ref(keys::node("n2"), nic.key()))) << "n2 is free again";
}

class HubMovesTest : public testing::Test {
  protected:
    void SetUp() override {
        moves.on_wish([this](MoveWish wish) { wishes.push_back(std::move(wish)); });
        moves.written(preparing());
    }
    bool report(const std::string& node, api::MoveReport::What what,
                const std::string& id = "there") {
        api::MoveReport message;
        message.set_nic(7);
        message.set_attachment(id);
        message.set_what(what);
        return moves.on_report(node, message);
    }
    bool flows(const std::string& node, bool final = false) {
        api::MoveFlows message;
        message.set_nic(7);
        message.set_attachment("there");
        message.set_final(final);
        message.set_last(true);
        return moves.on_flows(node, message);
    }
    void written(MoveStep step) {
        now = *after_step(now, step);
        moves.written(now);
    }

    struct Sent {
        std::string node;
        api::ControlMessage message;
    };
    model::Attachment now = preparing();
    ManualClock clock{WallTime{}};
    std::deque<Sent> sent;
    std::deque<MoveWish> wishes;
    HubCounters counters;
    HubMoves moves{clock, counters,
                   [this](const std::string& node, const api::ControlMessage& message) {
                       sent.push_back({node, message});
                       return true;
                   }};
};

TEST_F(HubMovesTest, copies_go_to_the_target_and_then_the_source_may_let_go) {
    EXPECT_TRUE(report("n2", api::MoveReport::READY));
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].node, "n1");
    EXPECT_TRUE(sent[0].message.order().restart());
    EXPECT_TRUE(flows("n1"));
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[1].node, "n2");
    EXPECT_TRUE(sent[1].message.has_flows());
    EXPECT_TRUE(report("n2", api::MoveReport::COPIED));
    ASSERT_EQ(wishes.size(), 1u);
    EXPECT_EQ(wishes[0].step, MoveStep::kLetGo);
    EXPECT_TRUE(report("n2", api::MoveReport::COPIED)) << "once is enough";
    EXPECT_EQ(wishes.size(), 1u);
}

TEST_F(HubMovesTest, when_the_target_carries_the_move_settles_and_ends) {
    written(MoveStep::kLetGo);
    EXPECT_TRUE(flows("n1", true));
    EXPECT_EQ(sent.back().node, "n2");
    EXPECT_TRUE(report("n2", api::MoveReport::CARRYING));
    ASSERT_EQ(wishes.size(), 1u);
    EXPECT_EQ(wishes[0].step, MoveStep::kSettle);
    written(MoveStep::kSettle);
    moves.tick();
    EXPECT_EQ(wishes.size(), 1u) << "stragglers have their time";
    clock.advance(limits::kMoveStragglers);
    moves.tick();
    ASSERT_EQ(wishes.size(), 2u);
    EXPECT_EQ(wishes[1].step, MoveStep::kFinish);
    written(MoveStep::kFinish);
    EXPECT_EQ(counters.moves, 1u);
    EXPECT_EQ(counters.moves_called_off, 0u);
}

TEST_F(HubMovesTest, a_node_that_the_nic_does_not_leave_hands_out_nothing) {
    EXPECT_FALSE(flows("n2"));
    EXPECT_FALSE(flows("n3"));
    EXPECT_FALSE(report("n1", api::MoveReport::CARRYING));
    EXPECT_FALSE(report("n3", api::MoveReport::READY));
    EXPECT_TRUE(sent.empty());
    EXPECT_TRUE(wishes.empty());
}

TEST_F(HubMovesTest, a_move_that_is_over_or_unknown_says_nothing) {
    EXPECT_TRUE(report("n2", api::MoveReport::READY, "unknown"));
    moves.erased(now.nic.key());
    EXPECT_TRUE(flows("n1"));
    EXPECT_TRUE(sent.empty());
}

TEST_F(HubMovesTest, the_last_flows_are_not_believed_before_the_store_says_so) {
    EXPECT_TRUE(flows("n1", true));
    EXPECT_TRUE(report("n2", api::MoveReport::CARRYING));
    EXPECT_TRUE(sent.empty());
    EXPECT_TRUE(wishes.empty());
}

TEST_F(HubMovesTest, a_move_that_does_not_come_on_is_called_off) {
    clock.advance(limits::kMovePreparation);
    moves.tick();
    ASSERT_EQ(wishes.size(), 1u);
    EXPECT_EQ(wishes[0].step, MoveStep::kCallOff);
    written(MoveStep::kLetGo);
    clock.advance(limits::kMoveTakeover);
    moves.tick();
    ASSERT_EQ(wishes.size(), 2u);
    EXPECT_EQ(wishes[1].step, MoveStep::kCallOff);
    written(MoveStep::kCallOff);
    EXPECT_EQ(counters.moves, 0u);
    EXPECT_EQ(counters.moves_called_off, 1u);
}

TEST_F(HubMovesTest, a_step_that_the_store_does_not_take_is_wished_for_until_it_does) {
    written(MoveStep::kLetGo);
    EXPECT_TRUE(report("n2", api::MoveReport::CARRYING));
    ASSERT_EQ(wishes.size(), 1u);
    clock.advance(limits::kMoveTakeover);
    moves.tick();
    moves.tick();
    ASSERT_EQ(wishes.size(), 2u) << "once a second";
    EXPECT_EQ(wishes[1].step, MoveStep::kSettle) << "the target carries: it is not called off";
    EXPECT_EQ(wishes[1].id, "there");
    written(MoveStep::kSettle);
    clock.advance(std::chrono::seconds(1));
    moves.tick();
    EXPECT_EQ(wishes.size(), 2u);
}

TEST_F(HubMovesTest, a_node_that_comes_back_is_asked_again) {
    EXPECT_TRUE(report("n2", api::MoveReport::READY));
    written(MoveStep::kLetGo);
    sent.clear();
    moves.connected("n1");
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_TRUE(sent[0].message.order().restart());
    EXPECT_EQ(sent[0].message.order().nic(), 7u);
    EXPECT_TRUE(report("n2", api::MoveReport::READY));
    EXPECT_EQ(sent.size(), 2u);
}

}  // namespace
}  // namespace culvert::control
