// SPDX-License-Identifier: Apache-2.0
#include "control/allocate.hpp"

#include "control/handlers_test.hpp"

#include <set>

namespace culvert::control::test {
namespace {

using Allocate = Handlers;

TEST(Reservations, AreReadAsWrittenAndNothingElse) {
    using State = Reservation::State;
    for (const Reservation& value :
         {Reservation{State::kHeld, 7, "/a b/c"}, Reservation{State::kReleased, 0, "/x"},
          Reservation{State::kFree, 4294967295U, ""}}) {
        auto read = Reservation::parse(value.str());
        ASSERT_TRUE(read.has_value());
        EXPECT_EQ(*read, value);
    }
    for (const char* bad : {"", "held", "held ", "held x /a", "held 1", "free 1 x", "taken 1 /a",
                            "held 4294967296 /a", "free -1"}) {
        EXPECT_FALSE(Reservation::parse(bad).has_value()) << bad;
    }
}

TEST_F(Allocate, EveryNumberIsFoundOnceAndThenNoneIsLeft) {
    services_.link_limit = 50;
    std::set<std::uint32_t> numbers;
    for (int i = 0; i < 49; ++i) {
        Change change;
        auto number = take_number(services_, change, Kind::kLink, "/owner");
        ASSERT_TRUE(number.has_value()) << number.error().message;
        EXPECT_EQ(number->generation, 1U);
        ASSERT_TRUE(change.commit(services_));
        numbers.insert(number->number);
    }
    EXPECT_EQ(numbers.size(), 49U);
    EXPECT_EQ(*numbers.begin(), 1U);
    EXPECT_EQ(*numbers.rbegin(), 49U);
    Change change;
    auto none = take_number(services_, change, Kind::kLink, "/owner");
    ASSERT_FALSE(none.has_value());
    EXPECT_EQ(none.error().code, Code::kUnavailable);
}

TEST_F(Allocate, TwoChangesCannotTakeOneNumber) {
    services_.link_limit = 2;
    Change first;
    Change second;
    ASSERT_TRUE(take_number(services_, first, Kind::kLink, "/a"));
    ASSERT_TRUE(take_number(services_, second, Kind::kLink, "/b"));
    EXPECT_TRUE((*first.commit(services_)).has_value());
    EXPECT_FALSE((*second.commit(services_)).has_value());
}

TEST_F(Allocate, FreeingTwiceIsFreeingOnce) {
    Change take;
    auto number = take_number(services_, take, Kind::kNic, "/a");
    ASSERT_TRUE(number && take.commit(services_));
    Change give;
    release_number(give, Kind::kNic, number->number, number->generation, "/a");
    auto given = give.commit(services_);
    ASSERT_TRUE(given && *given);
    ASSERT_TRUE(free_released(*store_, (*given)->released));
    const auto revision = store_->revision();
    ASSERT_TRUE(free_released(*store_, (*given)->released));
    EXPECT_EQ(store_->revision(), revision);
}

}  // namespace
}  // namespace culvert::control::test
