// SPDX-License-Identifier: Apache-2.0
#include "control/hub_core_test.hpp"

#include <gmock/gmock.h>

namespace culvert::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(HubCoreTest, a_node_that_says_hello_gets_lease_and_snapshot) {
    hello(1, "n1", "s1");
    drain(1);
    ASSERT_EQ(wire.sent[1].size(), 2U);
    EXPECT_EQ(wire.sent[1][0].lease().ttl_ms(), 3000U);
    const api::Delta& delta = wire.sent[1][1].delta();
    EXPECT_TRUE(delta.snapshot());
    EXPECT_EQ(delta.epoch(), "e1");
    EXPECT_EQ(delta.version(), 1U);
    EXPECT_EQ(delta.upsert_size(), 4);  // config, network, NIC, address
}

TEST_F(HubCoreTest, a_change_goes_to_the_nodes_it_concerns_alone) {
    hello(1, "n1", "s1");
    hello(2, "n2", "s2");
    EXPECT_EQ(deltas(1).size(), 1U);
    EXPECT_EQ(deltas(2).size(), 1U);
    put({scene::nic("web", 1)});  // the same again
    EXPECT_THAT(deltas(1), IsEmpty());
    put({scene::attachment("app", "n1", "a-2")});
    const auto got = deltas(1);
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].version(), 2U);
    EXPECT_FALSE(got[0].snapshot());
    EXPECT_EQ(got[0].upsert_size(), 2);
    EXPECT_THAT(deltas(2), IsEmpty());
}

TEST_F(HubCoreTest, changes_join_while_the_stream_is_backed_up) {
    hello(1, "n1", "s1");
    deltas(1);
    put({scene::attachment("app", "n1")});  // on its way, not taken yet
    put({scene::nic("late", 3)});
    put({scene::attachment("late", "n1")});
    put({scene::attachment("app", "n2")});
    EXPECT_EQ(wire.sent[1].size(), 1U);
    const auto got = deltas(1);
    ASSERT_EQ(got.size(), 2U);
    EXPECT_EQ(got[1].version(), 3U);
}

TEST_F(HubCoreTest, settle_waits_for_the_acknowledgement_of_every_node_concerned) {
    hello(1, "n1", "s1");
    hello(2, "n2", "s2");
    deltas(1);
    deltas(2);
    ack(1, 1);
    ack(2, 1);
    EXPECT_EQ(settle(revision), "true");
    put({scene::attachment("app", "n2")});
    const std::string& both = settle(revision);
    deltas(1);
    deltas(2);
    EXPECT_EQ(both, "waiting");
    ack(2, 2);
    EXPECT_EQ(both, "waiting");
    ack(1, 2);
    EXPECT_EQ(both, "true");
}

TEST_F(HubCoreTest, settle_of_a_revision_that_the_watch_has_not_reached_waits_for_it) {
    hello(1, "n1", "s1");
    deltas(1);
    ack(1, 1);
    const std::string& ahead = settle(revision + 1);
    EXPECT_EQ(ahead, "waiting");
    put({});
    EXPECT_EQ(ahead, "true");
}

TEST_F(HubCoreTest, settle_is_immediate_when_nobody_is_concerned) {
    put({scene::nic("nowhere", 9)});
    EXPECT_EQ(settle(revision), "true");
}

TEST_F(HubCoreTest, a_settle_times_out_and_the_node_does_not_hold_up_others) {
    hello(1, "n1", "s1");
    hello(2, "n2", "s2");
    deltas(1);
    deltas(2);
    ack(2, 1);
    const std::string& never = settle(revision);
    for (int i = 0; i < 9; ++i) {
        pass(std::chrono::milliseconds(250));
        heartbeat(1);
        heartbeat(2);
    }
    EXPECT_EQ(never, "false");
    EXPECT_EQ(counters.timeouts, 1U);
    put({scene::nic("x", 5), scene::attachment("x", "n2")});  // concerns n1 too: one VNet
    const std::string& again = settle(revision);
    EXPECT_EQ(again, "waiting");
    erase(scene::attachment("x", "n2").first);
    put({scene::node("n2", 2, "s2")});
    EXPECT_EQ(settle(revision - 100), "true") << "an old revision is no concern of a lagging node";
    deltas(1);
    deltas(2);
    ack(1, 9999);
    EXPECT_EQ(wire.closed[1], Code::kInvalidArgument);
    EXPECT_EQ(counters.garbage, 1U);
}

TEST_F(HubCoreTest, a_node_whose_lease_is_over_is_not_waited_for_and_gets_everything_later) {
    hello(1, "n1", "s1");
    deltas(1);
    ack(1, 1);
    core.on_closed(1);
    put({scene::attachment("app", "n1")});
    pass(std::chrono::milliseconds(1750));
    const std::string& pending = settle(revision);
    EXPECT_EQ(pending, "waiting");
    pass(std::chrono::milliseconds(1500));
    EXPECT_EQ(pending, "true");
    put({scene::nic("late", 3), scene::attachment("late", "n1")});
    EXPECT_EQ(settle(revision), "true");
    hello(2, "n1", "s1", "e1", 1);
    const auto got = deltas(2);
    ASSERT_EQ(got.size(), 1U);
    EXPECT_FALSE(got[0].snapshot());
    EXPECT_EQ(got[0].upsert_size(), 4);
}

TEST_F(HubCoreTest, a_stream_of_the_same_epoch_resumes_by_deltas) {
    hello(1, "n1", "s1");
    deltas(1);
    ack(1, 1);
    put({scene::attachment("app", "n1")});
    put({scene::nic("late", 3), scene::attachment("late", "n1")});
    ASSERT_EQ(deltas(1).size(), 2U);  // versions 2 and 3, not acknowledged
    hello(2, "n1", "s1", "e1", 2);
    EXPECT_EQ(wire.closed[1], Code::kConflict);
    EXPECT_EQ(counters.replaced, 1U);
    const auto got = deltas(2);
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].version(), 3U);
    EXPECT_FALSE(got[0].snapshot());
}

TEST_F(HubCoreTest, another_epoch_or_a_gap_is_answered_with_a_snapshot) {
    hello(1, "n1", "s1");
    deltas(1);
    put({scene::attachment("app", "n1")});
    deltas(1);
    ack(1, 2);
    hello(2, "n1", "s1", "e0", 2);
    EXPECT_TRUE(deltas(2).at(0).snapshot());
    ack(2, 3);
    hello(3, "n1", "s1", "e1", 1);
    const auto got = deltas(3);
    EXPECT_TRUE(got.at(0).snapshot());
    EXPECT_EQ(got.at(0).version(), 4U);
    hello(4, "n1", "s1", "e1", 77);
    EXPECT_TRUE(deltas(4).at(0).snapshot());
}

TEST_F(HubCoreTest, a_refused_delta_is_counted_and_tried_again_as_a_snapshot) {
    hello(1, "n1", "s1");
    deltas(1);
    ack(1, 1);
    put({scene::attachment("app", "n1")});
    deltas(1);
    const std::string& change = settle(revision);
    ack(1, 2, "map full");
    EXPECT_EQ(counters.ack_errors, 1U);
    EXPECT_EQ(core.status()[0].error, "map full");
    EXPECT_EQ(change, "waiting");
    put({});
    EXPECT_EQ(settle(revision), "true") << "what does not concern the broken node goes on";
    pass(std::chrono::milliseconds(750));
    const auto got = deltas(1);
    ASSERT_EQ(got.size(), 1U);
    EXPECT_TRUE(got[0].snapshot());
    ack(1, got[0].version());
    EXPECT_EQ(change, "true");
    EXPECT_EQ(core.status()[0].error, "");
}

TEST_F(HubCoreTest, unknown_revoked_and_misnamed_nodes_are_refused) {
    hello(1, "n9", "s9");
    EXPECT_EQ(wire.closed[1], Code::kPermissionDenied);
    hello(2, "n1", "old");
    EXPECT_EQ(wire.closed[2], Code::kPermissionDenied);
    core.on_opened(3, {"n2", "s2"});
    api::AgentMessage message;
    message.mutable_hello()->set_node("n1");
    core.on_message(3, message);
    EXPECT_EQ(wire.closed[3], Code::kPermissionDenied);
    EXPECT_EQ(counters.refused, 3U);
    EXPECT_THAT(wire.sent, IsEmpty());
}

TEST_F(HubCoreTest, a_new_certificate_or_removal_ends_the_stream) {
    hello(1, "n1", "s1");
    put({scene::node("n1", 1, "s1-new")});
    EXPECT_EQ(wire.closed[1], Code::kPermissionDenied);
    hello(2, "n2", "s2");
    const std::string& waiting = settle(revision);
    erase(keys::node("n2"));
    EXPECT_EQ(wire.closed[2], Code::kPermissionDenied);
    pass(std::chrono::milliseconds(2250));
    EXPECT_NE(waiting, "waiting");
    EXPECT_EQ(core.status().size(), 1U);
}

TEST_F(HubCoreTest, messages_out_of_place_close_the_stream) {
    core.on_opened(1, {"n1", "s1"});
    ack(1, 1);
    EXPECT_EQ(wire.closed[1], Code::kInvalidArgument);
    hello(2, "n1", "s1");
    api::AgentMessage second;
    second.mutable_hello()->set_node("n1");
    core.on_message(2, second);
    EXPECT_EQ(wire.closed[2], Code::kInvalidArgument);
    core.on_opened(3, {"n1", "s1"});
    core.on_garbage(3);
    EXPECT_EQ(wire.closed[3], Code::kInvalidArgument);
    EXPECT_EQ(counters.garbage, 3U);
}

TEST_F(HubCoreTest, what_was_not_sent_cannot_be_acknowledged) {
    hello(1, "n1", "s1");  // the lease is on its way, the snapshot is made and waits behind it
    ASSERT_EQ(core.status().front().version, 1U);
    ack(1, 1);
    EXPECT_EQ(wire.closed[1], Code::kInvalidArgument);
    EXPECT_EQ(counters.garbage, 1U);
    EXPECT_EQ(core.status().front().acked, 0U);
}

TEST_F(HubCoreTest, the_streams_of_one_node_do_not_take_the_place_of_others) {
    for (StreamId stream = 1; stream <= 50; ++stream) {
        core.on_opened(stream, {"n1", "s1"});
    }
    EXPECT_FALSE(wire.closed.contains(4));
    EXPECT_EQ(wire.closed[5], Code::kTooLarge);
    EXPECT_EQ(counters.refused, 46U);
    hello(100, "n2", "s2");
    EXPECT_EQ(deltas(100).size(), 1U);
    pass(std::chrono::milliseconds(6250));
    hello(101, "n1", "s1");
    EXPECT_EQ(deltas(101).size(), 1U) << "silent ones have gone";
}

TEST_F(HubCoreTest, one_message_is_read_at_a_time) {
    hello(1, "n1", "s1");
    EXPECT_EQ(wire.reads[1], 2);  // for the hello, for the next
    heartbeat(1);
    EXPECT_EQ(wire.reads[1], 3);
}

TEST_F(HubCoreTest, a_stream_without_hello_is_closed) {
    core.on_opened(1, {"n1", "s1"});
    pass(std::chrono::milliseconds(6250));
    EXPECT_EQ(wire.closed[1], Code::kTimeout);
}

TEST_F(HubCoreTest, heartbeats_keep_a_node_live_and_renew_its_lease) {
    hello(1, "n1", "s1");
    deltas(1);
    for (int i = 0; i < 10; ++i) {
        pass(std::chrono::milliseconds(1000));
        heartbeat(1);
    }
    EXPECT_TRUE(core.status()[0].live);
    drain(1);
    ASSERT_FALSE(wire.sent[1].empty());
    EXPECT_TRUE(wire.sent[1].back().has_lease());
}

TEST_F(HubCoreTest, reading_the_store_anew_gives_everyone_a_snapshot) {
    hello(1, "n1", "s1");
    deltas(1);
    ack(1, 1);
    ++revision;
    load({scene::vnet(), scene::nic("web", 1), scene::node("n1", 1, "s1"),
          scene::attachment("web", "n1")});
    const auto got = deltas(1);
    ASSERT_EQ(got.size(), 1U);
    EXPECT_TRUE(got[0].snapshot());
    EXPECT_EQ(got[0].version(), 2U);
    EXPECT_EQ(core.status().size(), 1U);
}

TEST_F(HubCoreTest, a_document_that_cannot_be_read_is_counted_and_changes_nothing) {
    hello(1, "n1", "s1");
    deltas(1);
    put({{scene::nic("web", 1).first, "{}"}, {keys::node("n7"), "garbage"}});
    EXPECT_EQ(counters.undecodable, 2U);
    EXPECT_THAT(deltas(1), IsEmpty());
}

TEST_F(HubCoreTest, stopping_answers_every_settle) {
    hello(1, "n1", "s1");
    const std::string& waiting = settle(revision);
    EXPECT_EQ(waiting, "waiting");
    core.stop();
    EXPECT_EQ(waiting, "false");
}

TEST_F(HubCoreTest, a_renewal_waits_for_the_second_half_of_the_life_and_for_the_last_one) {
    core.on_opened(1, {"n1", "s1", "ca", clock.wall(), clock.wall() + std::chrono::hours(2)});
    say_hello(1, "n1");
    deltas(1);
    renew(1, "csr");
    EXPECT_THAT(desk.renewals, IsEmpty());
    EXPECT_THAT(issued(1).error(), testing::HasSubstr("too early"));
    clock.advance(std::chrono::hours(1));
    renew(1, "csr");
    renew(1, "another");
    ASSERT_EQ(desk.renewals.size(), 1U);
    EXPECT_EQ(desk.renewals[0].node, "n1");
    EXPECT_EQ(desk.renewals[0].csr, "csr");
    EXPECT_EQ(counters.renewals_refused, 2U);
    issued(1);
    core.on_issued(1, Renewed{"pem", "s2"});
    EXPECT_EQ(issued(1).certificate(), "pem");
    EXPECT_EQ(counters.renewals, 1U);
    renew(1, "csr");
    EXPECT_EQ(desk.renewals.size(), 1U) << "it need not use what it is given";
    clock.advance(std::chrono::seconds(1));
    renew(1, "csr");
    EXPECT_EQ(desk.renewals.size(), 2U);
}

TEST_F(HubCoreTest, both_certificates_are_good_until_the_new_one_is_used) {
    hello(1, "n1", "s1");
    renew(1, "csr");
    core.on_issued(1, Renewed{"pem", "s2"});
    hello(2, "n1", "s1");  // a crash before it was stored
    EXPECT_FALSE(wire.closed.contains(2));
    EXPECT_THAT(desk.confirmed, IsEmpty());
    hello(3, "n1", "s2");
    EXPECT_FALSE(wire.closed.contains(3));
    EXPECT_THAT(desk.confirmed, ElementsAre("s2"));
    put({scene::node("n1", 1, "s2")});
    EXPECT_FALSE(wire.closed.contains(3)) << "its own confirmation ends no stream";
    hello(4, "n1", "s1");
    EXPECT_EQ(wire.closed.at(4), Code::kPermissionDenied) << "now the old one is revoked";
    EXPECT_EQ(counters.refused, 1U);
}

TEST_F(HubCoreTest, an_answer_for_a_node_that_has_gone_is_nothing) {
    hello(1, "n1", "s1");
    renew(1, "csr");
    erase(keys::node("n1"));
    core.on_issued(1, Renewed{"pem", "s2"});
    hello(2, "n1", "s2");
    EXPECT_EQ(wire.closed.at(2), Code::kPermissionDenied);
}

TEST_F(HubCoreTest, a_node_that_never_acknowledges_is_sent_a_bounded_number_of_deltas) {
    hello(1, "n1", "s1");
    deltas(1);
    std::size_t sent = 0;
    for (int i = 0; i < 100; ++i) {
        put({scene::attachment("app", "n1", "a-" + std::to_string(i))});
        sent += deltas(1).size();
    }
    EXPECT_LT(sent, 40U);
    ack(1, sent + 1);
    EXPECT_EQ(deltas(1).size(), 1U) << "the rest joined into one";
}

TEST_F(HubCoreTest, a_lease_names_the_version_that_is_the_newest_for_the_node) {
    hello(1, "n1", "s1");
    drain(1);
    // written before the snapshot that it names
    EXPECT_EQ(wire.sent[1][0].lease().epoch(), "e1");
    EXPECT_EQ(wire.sent[1][0].lease().version(), 1U);
    ack(1, 1);
    core.on_closed(1);
    put({scene::attachment("app", "n1")});
    hello(2, "n1", "s1", "e1", 1);
    drain(2);
    ASSERT_EQ(wire.sent[2].size(), 2U);
    EXPECT_EQ(wire.sent[2][0].lease().version(), 2U);
    EXPECT_EQ(wire.sent[2][1].delta().version(), 2U);
}

TEST_F(HubCoreTest, what_is_left_on_a_draining_node_is_what_it_last_said) {
    hello(1, "n1", "s1");
    api::AgentMessage message;
    message.mutable_heartbeat()->set_draining(true);
    message.mutable_heartbeat()->set_remaining_flows(7);
    core.on_message(1, message);
    EXPECT_FALSE(core.status().front().remaining) << "it is not drained at all";
    model::Node drained{.name = "n1", .index = 1, .outer = "192.0.2.1", .certificate_serial = "s1"};
    drained.draining = true;
    put({{keys::node("n1"), encode(drained)}});
    EXPECT_TRUE(core.status().front().draining);
    EXPECT_EQ(core.status().front().remaining, 7U);
    heartbeat(1);
    EXPECT_FALSE(core.status().front().remaining);
}

}  // namespace
}  // namespace culvert::control
