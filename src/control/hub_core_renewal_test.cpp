// SPDX-License-Identifier: Apache-2.0
#include "control/hub_core_test.hpp"

#include <gmock/gmock.h>

namespace culvert::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HubCoreRenewalTest : public HubCoreTest {
  protected:
    void renew(StreamId stream, const std::string& csr) {
        api::AgentMessage message;
        message.mutable_renew()->set_csr(csr);
        core.on_message(stream, message);
    }
    // The answer to a renewal, which must be there.
    api::Issued issued(StreamId stream) {
        drain(stream);
        api::Issued found;
        for (const api::ControlMessage& message : std::exchange(wire.sent[stream], {})) {
            if (message.has_issued()) {
                found = message.issued();
            }
        }
        EXPECT_FALSE(found.certificate().empty() && found.error().empty());
        return found;
    }
};

TEST_F(HubCoreRenewalTest, a_renewal_waits_for_the_second_half_of_the_life_and_for_the_last_one) {
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

TEST_F(HubCoreRenewalTest, both_certificates_are_good_until_the_new_one_is_used) {
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

TEST_F(HubCoreRenewalTest, an_answer_for_a_node_that_has_gone_is_nothing) {
    hello(1, "n1", "s1");
    renew(1, "csr");
    erase(keys::node("n1"));
    core.on_issued(1, Renewed{"pem", "s2"});
    hello(2, "n1", "s2");
    EXPECT_EQ(wire.closed.at(2), Code::kPermissionDenied);
}

}  // namespace
}  // namespace culvert::control
