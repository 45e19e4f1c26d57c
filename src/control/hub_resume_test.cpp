// SPDX-License-Identifier: Apache-2.0
// A node that meets another life of the control plane says what it holds and is sent what differs;
// after a restore of the store it is sent everything.
#include "control/hub_core_test.hpp"
#include "control/hub_pki_test.hpp"
#include "control/node_documents.hpp"
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

// --- certificates that a restored store has forgotten ---

class HubRestoredTest : public HubCoreTest {
  protected:
    static constexpr auto kAt = [](int days) { return WallTime(std::chrono::days(20000 + days)); };

    static std::pair<std::string, std::string> node(const std::string& name, std::uint32_t index,
                                                    int from) {
        auto value = *decode_node(scene::node(name, index, "s" + std::to_string(index)).second);
        value.certificate_from = kAt(from);
        value.certificate_until = kAt(from + 90);
        return {keys::node(name), encode(value)};
    }
    void restored(const std::vector<std::pair<std::string, std::string>>& more = {}) {
        std::vector<std::pair<std::string, std::string>> all{
            scene::vnet(), node("n1", 1, 0), node("n2", 2, 0), {std::string(keys::kEpoch), "1-x"}};
        all.insert(all.end(), more.begin(), more.end());
        load(all);
    }
    static std::pair<std::string, std::string> revoked(const std::string& serial) {
        return {keys::revocation(serial), encode(Revocation{"n1", kAt(90)})};
    }
    // Was the stream of such a certificate accepted?
    bool accepted(const std::string& name, const std::string& serial, int from) {
        core.on_opened(++stream_, {name, serial, "ca", kAt(from), kAt(from + 90)});
        say_hello(stream_, name, "0/before", 7);
        return !wire.closed.contains(stream_);
    }
    void answer() {
        const auto sent = deltas(stream_);
        ASSERT_FALSE(sent.empty());
        ack(stream_, sent.back().version());
    }
    StreamId stream_ = 200;
};

TEST_F(HubRestoredTest, a_certificate_renewed_since_the_backup_is_accepted_and_written_down) {
    restored();
    EXPECT_TRUE(accepted("n1", "renewed", 60));
    EXPECT_THAT(desk.adopted, ElementsAre("renewed"));
    EXPECT_THAT(desk.confirmed, IsEmpty());
    answer();
    EXPECT_TRUE(accepted("n2", "s2", 0)) << "the one of the backup";
    EXPECT_THAT(desk.adopted, ElementsAre("renewed"));
    answer();
    EXPECT_THAT(over, ElementsAre(std::string(keys::kEpoch)));
}

TEST_F(HubRestoredTest, only_a_later_one_of_that_node_and_only_until_the_restore_is_settled) {
    restored();
    EXPECT_FALSE(accepted("n1", "earlier", -30));
    EXPECT_FALSE(accepted("n1", "same-time", 0));
    EXPECT_FALSE(accepted("n9", "renewed", 60)) << "not in the store";
    core.on_opened(++stream_, {"n2", "renewed", "ca", kAt(60), kAt(150)});
    say_hello(stream_, "n1");
    EXPECT_TRUE(wire.closed.contains(stream_)) << "in another's name";
    for (const auto& [name, serial] : {std::pair{"n1", "s1"}, {"n2", "s2"}}) {
        EXPECT_TRUE(accepted(name, serial, 0));
        answer();
    }
    ASSERT_THAT(over, ElementsAre(std::string(keys::kEpoch)));
    EXPECT_FALSE(accepted("n1", "renewed", 60));
    EXPECT_THAT(desk.adopted, IsEmpty());
}

TEST_F(HubRestoredTest, what_was_revoked_since_the_backup_stays_revoked) {
    // n1 renewed, then was removed: both of its certificates were revoked then
    restored({revoked("s1"), revoked("renewed")});
    EXPECT_FALSE(accepted("n1", "s1", 0)) << "though the restored document names it";
    EXPECT_FALSE(accepted("n1", "renewed", 60));
    EXPECT_TRUE(accepted("n2", "s2", 0));
    answer();
    EXPECT_THAT(over, IsEmpty()) << "an operator removes it, or it joins again";
    put({revoked("s2")});
    EXPECT_FALSE(accepted("n2", "s2", 0));
}

TEST_F(HubRestoredTest, of_a_machine_and_the_one_that_replaced_it_the_later_one_remains) {
    restored();
    EXPECT_TRUE(accepted("n1", "of the former machine", 30));
    answer();
    const StreamId former = stream_;
    EXPECT_TRUE(accepted("n1", "of its replacement", 60));
    EXPECT_TRUE(wire.closed.contains(former));
    EXPECT_TRUE(deltas(stream_).back().snapshot()) << "nothing is known of what it holds";
    // as the store says once both are written
    auto value = *decode_node(node("n1", 1, 60).second);
    value.certificate_serial = "of its replacement";
    put({{keys::node("n1"), encode(value)}, revoked("of the former machine"), revoked("s1")});
    EXPECT_FALSE(wire.closed.contains(stream_));
    EXPECT_FALSE(accepted("n1", "of the former machine", 30));
    EXPECT_FALSE(accepted("n1", "s1", 0));
}

TEST_F(HubRestoredTest, one_that_could_not_be_written_down_is_asked_again) {
    restored();
    EXPECT_TRUE(accepted("n1", "renewed", 60));
    answer();
    core.on_not_adopted(stream_, Error{Code::kStorageFull, "full", {}, {}, {}});
    EXPECT_TRUE(wire.closed.contains(stream_));
    EXPECT_TRUE(accepted("n2", "s2", 0));
    answer();
    EXPECT_THAT(over, IsEmpty()) << "n1 is missing still";
    EXPECT_TRUE(accepted("n1", "renewed", 60));
    EXPECT_THAT(desk.adopted, ElementsAre("renewed", "renewed"));
}

TEST_F(HubRestoredTest, one_of_an_authority_that_is_not_trusted_is_refused) {
    restored();
    const scene::Authority trusted("ca");
    core.set_trust(trusted.pem());
    core.on_opened(++stream_, {"n1", "forged", "retired", kAt(60), kAt(150)});
    say_hello(stream_, "n1");
    EXPECT_TRUE(wire.closed.contains(stream_));
    EXPECT_TRUE(accepted("n1", "renewed", 60));
}

}  // namespace
}  // namespace culvert::control
