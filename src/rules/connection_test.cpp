// SPDX-License-Identifier: Apache-2.0
#include "rules/testing.hpp"

namespace culvert::rules {
namespace {

using namespace testing;
using model::ConnectionStatus;

struct Case {
    const char* name;
    std::vector<std::string> visibility;
    std::vector<std::string> auto_approval;
    bool manual;
    bool by_alias;
    bool may_read;
    bool may_approve;
    std::string expected;  // status word, or error code
};

class InitialState : public ::testing::TestWithParam<Case> {};

TEST_P(InitialState, IsDecidedByConsent) {
    const Case& c = GetParam();
    auto target = service();
    target.visibility = c.visibility;
    target.auto_approval = c.auto_approval;
    auto request = endpoint().requests[0];
    request.manual = c.manual;
    if (c.by_alias) {
        request.target = "pls1.guid.l.azure.privatelinkservice";
    }
    const auto state =
        initial_state(request, TargetFacts{.service = &target,
                                           .consumer_subscription = std::string(kOtherSub),
                                           .caller_may_read = c.may_read,
                                           .caller_may_approve = c.may_approve});
    if (!state) {
        EXPECT_EQ(state.error().arm_code, c.expected) << state.error().message;
        EXPECT_EQ(state.error().code, c.expected == "LinkedAuthorizationFailed"
                                          ? Code::kPermissionDenied
                                          : Code::kInvalidArgument);
        EXPECT_EQ(state.error().message.rfind(state.error().target, 0), 0u);
        return;
    }
    EXPECT_EQ(state->status == ConnectionStatus::kApproved ? "Approved" : "Pending", c.expected);
}

const std::vector<std::string> kNobody;
const std::vector<std::string> kAll{"*"};
const std::vector<std::string> kConsumer{"22222222-2222-4222-8222-222222222222"};
const std::vector<std::string> kStranger{"33333333-3333-4333-8333-333333333333"};

INSTANTIATE_TEST_SUITE_P(
    Consent, InitialState,
    ::testing::Values(
        Case{"invisible by id", kNobody, kNobody, false, false, false, false,
             "InvalidResourceReference"},
        Case{"invisible, though the caller may approve", kStranger, kNobody, false, false, false,
             true, "InvalidResourceReference"},
        Case{"visible by right, no approval", kNobody, kNobody, false, false, true, false,
             "LinkedAuthorizationFailed"},
        Case{"visible by right, may approve", kNobody, kNobody, false, false, true, true,
             "Approved"},
        Case{"listed, no approval", kConsumer, kNobody, false, false, false, false,
             "LinkedAuthorizationFailed"},
        Case{"listed and auto-approved", kConsumer, kConsumer, false, false, false, false,
             "Approved"},
        Case{"all visible, all auto-approved, manual", kAll, kAll, true, false, false, false,
             "Approved"},
        Case{"manual, listed", kConsumer, kNobody, true, false, false, false, "Pending"},
        Case{"manual, and the caller may approve: still asked", kConsumer, kNobody, true, false,
             true, true, "Pending"},
        Case{"alias, all visible", kAll, kNobody, true, true, false, false, "Pending"},
        Case{"alias, the right to read does not count", kStranger, kNobody, true, true, true, true,
             "InvalidResourceReference"},
        Case{"alias, auto-approved", kAll, kConsumer, true, true, false, false, "Approved"}),
    [](const auto& row) {
        std::string name;
        for (const char c : std::string(row.param.name)) {
            name += (c >= 'a' && c <= 'z') ? c : '_';
        }
        return name;
    });

TEST(InitialStateOfNothing, LooksLikeTheInvisible) {
    const auto request = endpoint().requests[0];
    const auto hidden = service();
    const auto absent = initial_state(request, TargetFacts{nullptr, std::string(kOtherSub)});
    const auto invisible = initial_state(request, TargetFacts{&hidden, std::string(kOtherSub)});
    ASSERT_FALSE(absent);
    ASSERT_FALSE(invisible);
    EXPECT_EQ(absent.error(), invisible.error());
}

TEST(InitialState, APendingOneTellsTheOwnerWhy) {
    auto target = service();
    target.visibility = kAll;
    auto request = endpoint().requests[0];
    request.manual = true;
    request.request_message = "please";
    const auto state = initial_state(request, TargetFacts{&target, std::string(kOtherSub)});
    ASSERT_TRUE(state);
    EXPECT_EQ(state->description, "please");
}

// --- transitions ---------------------------------------------------------------------------------

struct Step {
    ConnectionStatus from;
    ConnectionStatus to;
    bool allowed;
    std::uint32_t generation;  // from 5
};

TEST(UpdateConnection, FollowsTheTable) {
    constexpr auto P = ConnectionStatus::kPending;
    constexpr auto A = ConnectionStatus::kApproved;
    constexpr auto R = ConnectionStatus::kRejected;
    constexpr auto D = ConnectionStatus::kDisconnected;
    for (const Step& step :
         {Step{P, P, true, 5}, Step{P, A, true, 6}, Step{P, R, true, 5}, Step{P, D, false, 5},
          Step{A, P, false, 5}, Step{A, A, true, 5}, Step{A, R, true, 5}, Step{A, D, false, 5},
          Step{R, P, false, 5}, Step{R, A, true, 6}, Step{R, R, true, 5}, Step{R, D, false, 5},
          Step{D, P, false, 5}, Step{D, A, false, 5}, Step{D, R, false, 5}, Step{D, D, false, 5}}) {
        model::PrivateEndpointConnection current;
        current.id = id_of("privateLinkServices/p/privateEndpointConnections/c");
        current.link_id = 77;
        current.link_generation = 5;
        current.state.status = step.from;
        const auto next = update_connection(current, {step.to, "why", ""});
        const auto row = std::to_string(static_cast<int>(step.from)) + " to " +
                         std::to_string(static_cast<int>(step.to));
        ASSERT_EQ(next.has_value(), step.allowed) << row;
        if (next) {
            EXPECT_EQ(next->state, (model::ConnectionState{step.to, "why", "None"})) << row;
            EXPECT_EQ(next->link_generation, step.generation) << row;
            EXPECT_EQ(next->link_id, 77u);
        } else {
            EXPECT_EQ(next.error().target, "properties.privateLinkServiceConnectionState.status");
        }
    }
}

// A service with that many NAT addresses, each approved connection of which is to have one.
model::PrivateLinkService sharing(std::size_t addresses) {
    auto out = service();
    out.nat_per_connection = true;
    out.nat.resize(addresses);
    for (std::size_t at = 0; at < addresses; ++at) {
        out.nat[at].address = net::Ipv4{ip("10.0.1.10").value + static_cast<std::uint32_t>(at)};
    }
    return out;
}
model::PrivateEndpointConnection link(std::uint32_t id, ConnectionStatus status,
                                      std::string_view nat = "") {
    model::PrivateEndpointConnection out;
    out.link_id = id;
    out.state.status = status;
    if (!nat.empty()) {
        out.nat = ip(nat);
    }
    return out;
}
using Links = std::vector<model::PrivateEndpointConnection>;

TEST(ShareNat, EachApprovedConnectionHasAnAddressOfItsOwnAndKeepsIt) {
    Links links{link(9, ConnectionStatus::kApproved), link(3, ConnectionStatus::kApproved),
                link(5, ConnectionStatus::kApproved, "10.0.1.10"),
                link(1, ConnectionStatus::kPending), link(2, ConnectionStatus::kRejected)};
    ASSERT_TRUE(share_nat(sharing(3), links));
    EXPECT_EQ(links[2].nat, ip("10.0.1.10"));
    EXPECT_EQ(links[1].nat, ip("10.0.1.11"));
    EXPECT_EQ(links[0].nat, ip("10.0.1.12"));
    EXPECT_FALSE(links[3].nat || links[4].nat);
    const Links before = links;
    ASSERT_TRUE(share_nat(sharing(3), links));
    EXPECT_EQ(links, before);
}

TEST(ShareNat, AnAddressThatIsGoneOrTakenIsReplaced) {
    Links links{link(1, ConnectionStatus::kApproved, "10.0.9.9"),
                link(2, ConnectionStatus::kApproved, "10.0.1.10"),
                link(3, ConnectionStatus::kApproved, "10.0.1.10")};
    ASSERT_TRUE(share_nat(sharing(3), links));
    EXPECT_EQ(links[1].nat, ip("10.0.1.10"));
    EXPECT_EQ(links[0].nat, ip("10.0.1.11"));
    EXPECT_EQ(links[2].nat, ip("10.0.1.12"));
}

TEST(ShareNat, MoreConnectionsThanAddressesAreRefused) {
    Links links{link(1, ConnectionStatus::kApproved, "10.0.1.10"),
                link(2, ConnectionStatus::kApproved)};
    const auto done = share_nat(sharing(1), links);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kConflict);
    EXPECT_EQ(done.error().arm_code, "NotEnoughNatAddresses");
    EXPECT_EQ(done.error().target, "properties.natAddressPerConnection");
}

TEST(ShareNat, WhereNobodyAsksForItNobodyHasOne) {
    auto shared = sharing(1);
    shared.nat_per_connection = std::nullopt;
    Links links{link(1, ConnectionStatus::kApproved, "10.0.1.10"),
                link(2, ConnectionStatus::kApproved)};
    ASSERT_TRUE(share_nat(shared, links));
    EXPECT_FALSE(links[0].nat || links[1].nat);
}

}  // namespace
}  // namespace culvert::rules
