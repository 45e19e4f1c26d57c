// SPDX-License-Identifier: Apache-2.0
#include "runtime/digest.hpp"

#include <gtest/gtest.h>

namespace culvert::runtime {
namespace {

TEST(SetDigest, equal_sets_have_equal_parts_in_any_order) {
    SetDigest left;
    SetDigest right;
    for (int i = 0; i < 1000; ++i) {
        left.add("member " + std::to_string(i));
        right.add("member " + std::to_string(999 - i));
    }
    EXPECT_EQ(left.parts(), right.parts());
    EXPECT_EQ(left.parts().size(), SetDigest::kParts);
    EXPECT_EQ(left.parts()[0].size(), SetDigest::kBytes);
}

TEST(SetDigest, a_change_shows_in_the_parts_of_what_came_and_what_went_alone) {
    SetDigest left;
    SetDigest right;
    for (int i = 0; i < 1000; ++i) {
        left.add("member " + std::to_string(i));
        right.add(i == 7 ? "changed" : "member " + std::to_string(i));
    }
    const auto old_parts = left.parts();
    const auto new_parts = right.parts();
    for (std::size_t part = 0; part < SetDigest::kParts; ++part) {
        const bool touched = part == part_of("member 7") || part == part_of("changed");
        EXPECT_EQ(old_parts[part] != new_parts[part], touched) << part;
    }
}

TEST(SetDigest, members_do_not_run_into_each_other) {
    SetDigest left;
    SetDigest right;
    left.add("ab");
    left.add("c");
    right.add("a");
    right.add("bc");
    EXPECT_NE(left.parts(), right.parts());
    EXPECT_NE(left.parts(), SetDigest().parts());
}

}  // namespace
}  // namespace culvert::runtime
