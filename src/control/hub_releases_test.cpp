// SPDX-License-Identifier: Apache-2.0
// No id or address is used again before every holder has acknowledged its removal or has been
// fenced.
#include "control/hub_core_test.hpp"

#include <gmock/gmock.h>

namespace culvert::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HubReleasesTest : public HubCoreTest {
  protected:
    // Both nodes have what there is.
    void connect_all() {
        hello(1, "n1", "s1");
        hello(2, "n2", "s2");
        catch_up(1);
        catch_up(2);
    }
    void catch_up(StreamId stream) {
        const auto sent = deltas(stream);
        if (!sent.empty()) {
            ack(stream, sent.back().version());
        }
    }
    std::string web() const { return scene::attachment("web", "n1").first; }
    std::size_t held_by(std::size_t node) { return core.status().at(node).holds; }
};

TEST_F(HubReleasesTest, a_release_ends_when_the_node_concerned_has_acknowledged_and_not_before) {
    connect_all();
    give_up(web(), "a");
    EXPECT_THAT(over, IsEmpty());
    EXPECT_EQ(held_by(0), 1U);
    EXPECT_EQ(held_by(1), 0U) << "n2 never knew it";
    const auto sent = deltas(1);
    EXPECT_THAT(over, IsEmpty()) << "sent is not acknowledged";
    ack(1, sent.back().version());
    EXPECT_THAT(over, ElementsAre("/released/a"));
    EXPECT_EQ(core.releases(), 0U);
}

TEST_F(HubReleasesTest, what_concerns_no_node_is_free_at_once) {
    connect_all();
    put({scene::nic("nowhere", 9)});
    give_up(scene::nic("nowhere", 9).first, "a");
    EXPECT_THAT(over, ElementsAre("/released/a"));
}

TEST_F(HubReleasesTest, a_node_that_is_away_is_waited_for_without_deadline) {
    connect_all();
    core.on_closed(1);
    give_up(web(), "a");
    pass(std::chrono::hours(1));
    EXPECT_FALSE(core.status()[0].live);
    EXPECT_EQ(settle(revision), "true") << "an operation waits for live nodes alone";
    EXPECT_THAT(over, IsEmpty());
    hello(3, "n1", "s1", "e1", 1);
    EXPECT_THAT(over, IsEmpty()) << "back is not up to date";
    catch_up(3);
    EXPECT_THAT(over, ElementsAre("/released/a"));
}

TEST_F(HubReleasesTest, an_operation_is_answered_after_what_it_released_is_free) {
    connect_all();
    give_up(web(), "a");
    std::size_t free_when_answered = 99;
    core.settle(revision, [&](bool) { free_when_answered = over.size(); });
    catch_up(1);
    EXPECT_EQ(free_when_answered, 1U);
}

TEST_F(HubReleasesTest, after_a_restart_every_node_counts_as_a_holder_until_it_has_come_back) {
    load({scene::vnet(),
          scene::node("n1", 1, "s1"),
          scene::node("n2", 2, "s2"),
          {"/released/old", "x"}});
    hello(1, "n1", "s1", "e0", 7);
    catch_up(1);
    EXPECT_THAT(over, IsEmpty());
    EXPECT_EQ(held_by(0), 0U);
    EXPECT_EQ(held_by(1), 1U);
    pass(std::chrono::hours(1));
    give_up(scene::vnet().first, "new");
    EXPECT_EQ(held_by(1), 2U) << "nobody knows what it holds";
    hello(2, "n2", "s2", "e0", 7);
    EXPECT_THAT(over, IsEmpty());
    catch_up(2);
    EXPECT_THAT(over, ElementsAre("/released/old", "/released/new"));
}

TEST_F(HubReleasesTest, a_removed_node_is_fenced_once_the_others_have_dropped_it) {
    put({scene::attachment("app", "n2")});  // one VNet: n1 and n2 are peers
    connect_all();
    core.on_closed(2);
    give_up(scene::attachment("app", "n2").first, "a");
    catch_up(1);
    EXPECT_THAT(over, IsEmpty()) << "n2 has not acknowledged";
    put({scene::attachment("app", "n1", "a-2")});  // n1 has not acknowledged this yet
    erase(keys::node("n2"));
    EXPECT_THAT(over, IsEmpty()) << "n1 may still take packets of n2";
    catch_up(1);
    EXPECT_THAT(over, ElementsAre("/released/a"));
}

TEST_F(HubReleasesTest, removing_the_last_holder_ends_what_it_held_back) {
    connect_all();
    core.on_closed(2);
    put({scene::attachment("app", "n2")});
    catch_up(1);
    give_up(scene::attachment("app", "n2").first, "a");
    catch_up(1);
    EXPECT_EQ(held_by(1), 1U);
    erase(keys::node("n2"));
    EXPECT_THAT(over, ElementsAre("/released/a"));
}

TEST_F(HubReleasesTest, a_node_with_a_new_certificate_may_be_another_machine) {
    connect_all();
    put({scene::node("n2", 2, "s2-new")});
    catch_up(1);
    give_up(web(), "a");
    catch_up(1);
    EXPECT_THAT(over, IsEmpty());
    EXPECT_EQ(held_by(1), 1U);
    hello(3, "n2", "s2-new", "e1", 1);
    const auto sent = deltas(3);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_TRUE(sent[0].snapshot()) << "what it says it holds is not what was sent to it";
    ack(3, sent[0].version());
    EXPECT_THAT(over, ElementsAre("/released/a"));
}

TEST_F(HubReleasesTest, a_node_that_cannot_apply_holds_back_until_it_can) {
    connect_all();
    give_up(web(), "a");
    const auto sent = deltas(1);
    ack(1, sent.back().version(), "map full");
    EXPECT_THAT(over, IsEmpty());
    pass(std::chrono::milliseconds(750));
    catch_up(1);
    EXPECT_THAT(over, ElementsAre("/released/a"));
}

TEST_F(HubReleasesTest, what_the_store_could_not_free_is_told_again) {
    connect_all();
    put({{"/released/a", "x"}});
    ASSERT_THAT(over, ElementsAre("/released/a"));
    core.release_again("/released/a");
    pass(std::chrono::milliseconds(500));
    EXPECT_THAT(over, ElementsAre("/released/a", "/released/a"));
}

TEST_F(HubReleasesTest, a_node_found_in_the_store_is_waited_for_during_one_lease) {
    put({scene::attachment("app", "n1")});  // nobody has come back yet
    const std::string& change = settle(revision);
    EXPECT_EQ(change, "waiting");
    put({scene::nic("nowhere", 9)});
    EXPECT_EQ(settle(revision), "true") << "what does not concern it goes on";
    hello(1, "n1", "s1");
    catch_up(1);
    EXPECT_EQ(change, "true");
    pass(std::chrono::seconds(4));
    put({scene::attachment("app", "n2")});
    EXPECT_EQ(settle(revision), "true") << "silent for a lease";
}

}  // namespace
}  // namespace culvert::control
