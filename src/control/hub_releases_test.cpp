// SPDX-License-Identifier: Apache-2.0
// No id or address is used again before every holder has acknowledged its removal or has been
// fenced.
#include "control/hub_core_test.hpp"
#include "control/keys.hpp"

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

// n1 gave the address of a NIC's network up that connections there still use.
class HubAddressesTest : public HubReleasesTest {
  protected:
    static constexpr std::uint32_t kVnet = 7;  // scene::vnet()
    static std::string address_key(const std::string& address) {
        return keys::address(scene::vnet().first.substr(2), address);
    }
    void give_up_address(const std::string& release, const std::string& address) {
        put({{"/released/" + release, address_key(address) + "\n/idx/service/7"}});
    }
    void beat(StreamId stream, const std::vector<std::string>& addresses,
              std::uint32_t vnet = kVnet) {
        api::AgentMessage message;
        message.mutable_heartbeat();
        for (const std::string& address : addresses) {
            auto* use = message.mutable_heartbeat()->add_in_use();
            use->set_vnet(vnet);
            use->set_address(net::Ipv4::parse(address)->value);
        }
        core.on_message(stream, message);
    }
};

TEST_F(HubAddressesTest, an_address_waits_for_the_connections_that_use_it) {
    connect_all();
    beat(1, {"10.0.0.9"});
    give_up_address("a", "10.0.0.9");
    EXPECT_THAT(over, IsEmpty());
    EXPECT_EQ(held_by(0), 1U);
    EXPECT_EQ(held_by(1), 0U);
    give_up(web(), "b");
    api::AgentMessage message;
    message.mutable_ack()->set_version(deltas(1).back().version());
    auto* use = message.mutable_ack()->add_in_use();
    use->set_vnet(kVnet);
    use->set_address(net::Ipv4::parse("10.0.0.9")->value);
    core.on_message(1, message);
    EXPECT_THAT(over, ElementsAre("/released/b")) << "others do not wait for it";
    beat(1, {});
    EXPECT_THAT(over, ElementsAre("/released/b", "/released/a"));
    EXPECT_EQ(core.releases(), 0U);
}

TEST_F(HubAddressesTest, the_same_address_of_another_network_is_another_one) {
    connect_all();
    beat(1, {"10.0.0.9"}, kVnet + 1);
    give_up_address("a", "10.0.0.9");
    EXPECT_THAT(over, ElementsAre("/released/a"));
}

TEST_F(HubAddressesTest, a_node_that_is_away_uses_what_it_used) {
    connect_all();
    beat(1, {"10.0.0.9"});
    core.on_closed(1);
    give_up_address("a", "10.0.0.9");
    pass(std::chrono::hours(1));
    EXPECT_THAT(over, IsEmpty());
    EXPECT_FALSE(desk.holdings.contains("n1")) << "what it holds is not all that it uses";
    erase("/node/n1");
    catch_up(2);
    EXPECT_THAT(over, ElementsAre("/released/a")) << "fenced";
}

TEST_F(HubAddressesTest, a_list_longer_than_any_node_can_have_is_refused) {
    connect_all();
    std::vector<std::string> many;
    for (std::uint32_t at = 0; at <= limits::kNatDrains; ++at) {
        many.push_back(net::Ipv4{0x0a000000U + at}.str());
    }
    beat(1, many);
    EXPECT_TRUE(wire.closed.contains(1));
    beat(2, {many.begin(), many.end() - 1});
    EXPECT_FALSE(wire.closed.contains(2));
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

// --- what nodes that are away hold, in another life of the control plane ---

class HubHoldingsTest : public HubReleasesTest {
  protected:
    using Documents = std::vector<std::pair<std::string, std::string>>;

    static Documents scene_documents() {
        return {scene::vnet(),
                scene::nic("web", 1),
                scene::nic("app", 2),
                scene::node("n1", 1, "s1"),
                scene::node("n2", 2, "s2"),
                scene::attachment("web", "n1")};
    }
    // n1 has gone and what it holds is written down.
    void lose_n1() {
        connect_all();
        core.on_closed(1);
        pass(std::chrono::seconds(4));
        ASSERT_TRUE(desk.holdings.contains("n1"));
    }
    // Another life begins with the scene, what was written down, and these; n2 comes back.
    std::vector<std::string> freed_by_another_life(Documents more, Documents base) {
        std::vector<std::string> freed;
        Wire other_wire;
        Desk other_desk;
        HubCore other{
            intent::Options{}, clock, other_wire,
            counters,          "e2",  [&](const std::string& key) { freed.push_back(key); },
            &other_desk};
        for (const auto& [node, digest] : desk.holdings) {
            more.emplace_back(keys::holds(node), digest);
        }
        std::vector<store::KeyValue> rows;
        for (const auto* all : {&base, &more}) {
            for (const auto& document : *all) {
                rows.push_back(row(document));
            }
        }
        other.load(rows, revision + 1);
        other.on_opened(1, {"n2", "s2"});
        api::AgentMessage message;
        message.mutable_hello()->set_node("n2");
        other.on_message(1, message);
        while (std::exchange(other_wire.writing[1], 0) > 0) {
            other.on_writable(1);
        }
        message.mutable_ack()->set_version(1);
        other.on_message(1, message);
        return freed;
    }
};

TEST_F(HubHoldingsTest, a_node_that_is_away_does_not_hold_back_what_it_never_knew) {
    lose_n1();
    EXPECT_THAT(freed_by_another_life({{"/released/a", "x"}}, scene_documents()),
                ElementsAre("/released/a"));
    desk.holdings.clear();
    EXPECT_THAT(freed_by_another_life({{"/released/a", "x"}}, scene_documents()), IsEmpty())
        << "nobody has written down what it holds";
}

TEST_F(HubHoldingsTest, it_holds_back_what_it_may_know) {
    lose_n1();
    Documents without = scene_documents();
    without.pop_back();  // web was detached from it since
    EXPECT_THAT(freed_by_another_life({{"/released/a", "x"}}, without), IsEmpty());
    Documents another = scene_documents();
    another[3] = scene::node("n1", 1, "s1-new");
    EXPECT_THAT(freed_by_another_life({{"/released/a", "x"}}, another), IsEmpty())
        << "another machine";
    Documents restored = scene_documents();
    restored.emplace_back(std::string(keys::kEpoch), "1-x");
    EXPECT_THAT(freed_by_another_life({{"/released/a", "x"}}, restored), IsEmpty())
        << "it was told more after the backup";
}

TEST_F(HubHoldingsTest, a_node_that_comes_back_is_told_nothing_before_the_record_is_erased) {
    lose_n1();
    put({scene::attachment("app", "n1")});
    desk.erases = false;
    hello(7, "n1", "s1", "e1", 1);
    ASSERT_EQ(desk.erased.size(), 1U);
    EXPECT_EQ(desk.erased[0], (std::pair<StreamId, std::string>(7, "n1")));
    put({scene::nic("more", 9), scene::attachment("more", "n1")});
    heartbeat(7);
    drain(7);
    bool leased = false;
    for (const auto& message : std::exchange(wire.sent[7], {})) {
        EXPECT_FALSE(message.has_delta());
        leased = leased || message.has_lease();
    }
    EXPECT_TRUE(leased) << "it lives";
    core.on_holdings_erased(7, false);  // the disk is full
    EXPECT_THAT(deltas(7), IsEmpty());
    pass(std::chrono::milliseconds(750));
    ASSERT_EQ(desk.erased.size(), 2U);
    core.on_holdings_erased(7, true);
    EXPECT_FALSE(deltas(7).empty());
    // and once more, from the beginning
    ack(7, 2);
    core.on_closed(7);
    desk.holdings.clear();
    pass(std::chrono::seconds(4));
    EXPECT_TRUE(desk.holdings.contains("n1"));
}

TEST_F(HubHoldingsTest, of_a_node_that_was_lost_with_changes_on_their_way_nothing_is_certain) {
    connect_all();
    put({scene::attachment("app", "n1")});
    core.on_closed(1);
    pass(std::chrono::seconds(4));
    EXPECT_THAT(desk.holdings, IsEmpty());
    core.on_closed(2);
    pass(std::chrono::seconds(4));
    EXPECT_EQ(desk.holdings.size(), 1U);
    hello(9, "n2", "s2", "e1", 1);
    core.on_closed(9);
    core.on_holdings_erased(9, true);  // too late: nothing comes of it
    EXPECT_EQ(core.status()[1].connected, false);
}

}  // namespace
}  // namespace culvert::control
