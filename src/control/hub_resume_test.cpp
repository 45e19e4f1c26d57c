// SPDX-License-Identifier: Apache-2.0
// A node that meets another life of the control plane says what it holds and is sent what differs;
// after a restore of the store it is sent everything.
#include "control/hub_core_test.hpp"
#include "runtime/digest.hpp"

#include <gmock/gmock.h>

namespace culvert::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HubResumeTest : public HubCoreTest {
  protected:
    static std::vector<std::string> parts_of(const api::Delta& snapshot) {
        runtime::SetDigest digest;
        for (const api::Object& object : snapshot.upsert()) {
            digest.add(object.SerializeAsString());
        }
        return digest.parts();
    }
    // What n1 holds of an earlier life, in which the world was as it is now.
    std::vector<std::string> held() {
        hello(90, "n1", "s1");
        auto parts = parts_of(deltas(90).at(0));
        core.on_closed(90);
        return parts;
    }
    api::Delta return_with(const std::string& epoch, const std::vector<std::string>& parts) {
        core.on_opened(++stream_, {"n1", "s1"});
        api::AgentMessage message;
        message.mutable_hello()->set_node("n1");
        message.mutable_hello()->set_epoch(epoch);
        message.mutable_hello()->set_version(7);
        for (const std::string& part : parts) {
            message.mutable_hello()->add_part(part);
        }
        core.on_message(stream_, message);
        auto got = deltas(stream_);
        EXPECT_EQ(got.size(), 1U);
        return got.empty() ? api::Delta() : got.back();
    }
    StreamId stream_ = 100;
};

TEST_F(HubResumeTest, a_node_that_holds_the_same_is_sent_nothing_but_the_epoch) {
    const api::Delta delta = return_with("e1/earlier", held());
    EXPECT_FALSE(delta.snapshot());
    EXPECT_TRUE(delta.resume());
    EXPECT_EQ(delta.upsert_size(), 0);
    EXPECT_EQ(delta.part_size(), 0);
    EXPECT_EQ(delta.epoch(), "e1");
    EXPECT_EQ(counters.resumed, 1U);
    ack(stream_, delta.version());
    put({{"/released/a", "x"}});
    put({scene::attachment("app", "n1")});
    const auto next = deltas(stream_);
    ASSERT_EQ(next.size(), 1U);
    EXPECT_FALSE(next[0].resume());
}

TEST_F(HubResumeTest, a_node_that_missed_a_change_is_sent_the_parts_that_differ) {
    for (std::uint32_t i = 10; i < 60; ++i) {
        const std::string name = "nic" + std::to_string(i);
        put({scene::nic(name, i), scene::attachment(name, "n1")});
    }
    const auto before = held();
    put({scene::attachment("nic10", "n1", "another")});
    const api::Delta delta = return_with("e1/earlier", before);
    EXPECT_TRUE(delta.resume());
    EXPECT_GE(delta.upsert_size(), 1);
    EXPECT_LT(delta.upsert_size(), 20) << "of more than a hundred";
    EXPECT_EQ(delta.part_size(), 2) << "where it was and where it is";
}

TEST_F(HubResumeTest, digests_that_are_none_get_a_snapshot) {
    auto parts = held();
    parts.pop_back();
    EXPECT_TRUE(return_with("e1/earlier", parts).snapshot());
    parts.emplace_back("short");
    EXPECT_TRUE(return_with("e1/earlier", parts).snapshot());
    EXPECT_TRUE(return_with("e1/earlier", {}).snapshot());
    EXPECT_EQ(counters.resumed, 0U);
}

TEST_F(HubResumeTest, a_node_from_before_a_restore_is_sent_everything_whatever_it_says) {
    const auto parts = held();
    EXPECT_TRUE(return_with("e0/earlier", parts).snapshot());
    EXPECT_TRUE(return_with("", parts).snapshot());
    EXPECT_TRUE(return_with("e11/earlier", parts).snapshot());
}

TEST_F(HubResumeTest, what_a_restored_store_has_forgotten_is_certain_when_every_node_has_answered) {
    load({scene::vnet(),
          scene::node("n1", 1, "s1"),
          scene::node("n2", 2, "s2"),
          {std::string(keys::kEpoch), "1"}});
    hello(1, "n1", "s1", "e0/old", 3);
    ack(1, deltas(1).back().version());
    EXPECT_THAT(over, IsEmpty());
    EXPECT_EQ(core.status()[1].holds, 1U);
    hello(2, "n2", "s2", "e0/old", 3);
    ack(2, deltas(2).back().version());
    EXPECT_THAT(over, ElementsAre(std::string(keys::kEpoch)));
}

TEST_F(HubResumeTest, or_when_the_nodes_that_do_not_come_back_are_removed) {
    load({scene::vnet(),
          scene::node("n1", 1, "s1"),
          scene::node("n2", 2, "s2"),
          {std::string(keys::kEpoch), "1"}});
    hello(1, "n1", "s1", "e0/old", 3);
    ack(1, deltas(1).back().version());
    erase(keys::node("n2"));
    EXPECT_THAT(over, ElementsAre(std::string(keys::kEpoch)));
}

}  // namespace
}  // namespace culvert::control
