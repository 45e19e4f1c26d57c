// SPDX-License-Identifier: Apache-2.0
#include "control/pictured.hpp"

#include <gtest/gtest.h>

#include <random>

namespace culvert::control {
namespace {

TEST(PicturedTest, a_picture_shows_one_moment_whatever_changes_meanwhile) {
    std::mt19937 random(7);
    const auto draw = [&](unsigned below) { return static_cast<int>(random() % below); };
    for (int round = 0; round < 300; ++round) {
        Pictured<int, int> map;
        const auto change = [&] {
            const int key = draw(40);
            if (draw(3) == 0) {
                map.erase(key);
            } else {
                map.change(key) = draw(1000);
            }
        };
        for (int i = 0; i < 30; ++i) {
            change();
        }
        const auto then = map.all();
        map.begin_picture();
        std::map<int, int> seen;
        bool more = true;
        while (more) {
            for (int i = draw(4); i > 0; --i) {
                change();
            }
            more = map.picture([&](int key, int value) {
                EXPECT_TRUE(seen.emplace(key, value).second) << "twice";
                return draw(3) == 0;
            });
        }
        EXPECT_EQ(seen, then);
        EXPECT_FALSE(map.picture([](int, int) { return true; })) << "it has been taken";
    }
}

}  // namespace
}  // namespace culvert::control
