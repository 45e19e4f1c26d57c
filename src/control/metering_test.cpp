// SPDX-License-Identifier: Apache-2.0
// What nodes say is added once, however often they say it, and only of what is theirs.
#include "control/metering.hpp"

#include "api/intent.pb.h"
#include "control/metric_names.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace culvert::control {
namespace {

const intent::CountedLink kWho{.connection = "/pls/connections/pe.1",
                               .endpoint = "/pe",
                               .service = "/pls",
                               .balancer = "/lb",
                               .consumer = true,
                               .provider = true};

struct Scene {
    ManualClock clock{WallTime(std::chrono::hours(480000))};
    std::filesystem::path file;
    std::unique_ptr<Metering> metering;

    explicit Scene(std::filesystem::path at = {})
        : file(std::move(at)), metering(std::make_unique<Metering>(clock, file)) {}

    std::size_t say(std::uint64_t bytes, std::optional<intent::CountedLink> who = kWho,
                    std::uint64_t epoch = 1, std::uint64_t begun = 7) const {
        api::Totals totals;
        totals.set_epoch(epoch);
        auto& link = *totals.add_links();
        link.set_link(9);
        link.set_begun(begun);
        link.set_consumer_in_bytes(bytes);
        link.set_provider_in_bytes(bytes);
        link.set_provider_in_packets(bytes / 10);
        return metering->report("a", totals, {.links = {std::move(who)}, .nat = {}, .known = {}});
    }
    void still(std::optional<intent::CountedLink> who) const {
        metering->report("a", api::Totals(), {.links = {}, .nat = {}, .known = {{9, who}}});
    }
    double total(const std::string& resource, std::string_view metric) const {
        return metering->read([&](const SeriesTable& table) {
            double out = 0;
            const std::string name(metric);
            for (const auto& dimension : table.dimensions(resource, name)) {
                const auto all = table.read({resource, name, dimension}, 0, 1'000'000'000, 1);
                out += all[0] ? all[0]->sum : 0;
            }
            return out;
        });
    }
};

std::filesystem::path scratch(const char* name) {
    const auto out = std::filesystem::temp_directory_path() /
                     ("culvert-metering-" + std::to_string(::getpid()) + "-" + name);
    std::filesystem::remove(out);
    return out;
}

TEST(MeteringTest, each_end_is_added_to_its_own_resource) {
    const Scene scene;
    scene.say(1000);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1000);
    EXPECT_EQ(scene.total("/pls", kServiceIn), 1000);
    EXPECT_EQ(scene.total("/lb", kByteCount), 1000);
    EXPECT_EQ(scene.total("/lb", kPacketCount), 100);
    scene.metering->read([](const SeriesTable& table) {
        EXPECT_EQ(table.dimensions("/pls", std::string(kServiceIn)),
                  std::vector<std::string>{"pe.1"});
    });
}

TEST(MeteringTest, what_was_said_before_is_not_added_again) {
    const Scene scene;
    scene.say(1000);
    scene.say(1000);
    scene.say(1500);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1500);
    scene.say(200, kWho, 2);  // the node's maps were made anew
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1700);
    scene.say(30, kWho, 2, 8);  // the link's id was given up and is used again
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1730);
}

TEST(MeteringTest, numbers_that_shrink_or_leap_are_refused_whole) {
    const Scene scene;
    scene.say(1000);
    EXPECT_EQ(scene.say(999), 1u);
    EXPECT_EQ(scene.say(1000 + Metering::kMost + 1), 1u);
    scene.say(1001);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1001);
}

TEST(MeteringTest, a_node_speaks_only_of_its_own_ends) {
    const Scene scene;
    auto who = kWho;
    who.provider = false;
    scene.say(1000, who);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1000);
    EXPECT_EQ(scene.total("/pls", kServiceIn), 0);
    EXPECT_EQ(scene.total("/lb", kByteCount), 0);
    const Scene stranger;
    EXPECT_EQ(stranger.say(1000, std::nullopt), 1u);
    EXPECT_EQ(stranger.total("/pe", kEndpointIn), 0);
}

// The last of it comes when the store has forgotten the link; later nothing does.
TEST(MeteringTest, what_has_left_a_node_is_heard_for_a_moment) {
    Scene scene;
    scene.say(1000);
    scene.clock.advance(std::chrono::hours(5));
    scene.still(kWho);
    scene.clock.advance(std::chrono::seconds(10));
    scene.still(std::nullopt);
    scene.say(1010, std::nullopt);
    EXPECT_EQ(scene.total("/pls", kServiceIn), 1010);
    scene.clock.advance(Metering::kGrace);
    scene.say(1020, std::nullopt);
    EXPECT_EQ(scene.total("/pls", kServiceIn), 1010);
    scene.clock.advance(2 * Metering::kGrace);
    scene.still(std::nullopt);
    EXPECT_TRUE(scene.metering->due("a").empty());
}

TEST(MeteringTest, the_file_keeps_series_and_how_far_they_go_together) {
    const auto file = scratch("kept");
    {
        const Scene scene(file);
        scene.say(1000);
        ASSERT_TRUE(scene.metering->save());
        scene.say(1300);
        std::filesystem::copy_file(file, file.string() + ".killed");
    }
    // killed after that: what the node says next makes up for what was lost
    std::filesystem::rename(file.string() + ".killed", file);
    const Scene scene(file);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1000);
    scene.say(1400);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1400);
    std::filesystem::remove(file);
}

TEST(MeteringTest, a_damaged_file_is_set_aside) {
    const auto file = scratch("damaged");
    std::ofstream(file) << "nonsense";
    const Scene scene(file);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 0);
    EXPECT_TRUE(std::filesystem::exists(file.string() + ".damaged"));
    std::filesystem::remove(file.string() + ".damaged");
    std::filesystem::remove(file);
}

TEST(MeteringTest, a_flood_of_reports_is_not_taken) {
    Scene scene;
    constexpr std::size_t kLot = 10000;
    for (std::size_t i = 0; i < Metering::kEntries / kLot; ++i) {
        ASSERT_TRUE(scene.metering->charge("a", kLot));
    }
    EXPECT_FALSE(scene.metering->charge("a", 1));
    EXPECT_TRUE(scene.metering->charge("b", 1)) << "everybody has an own budget";
    EXPECT_FALSE(scene.metering->charge("c", ~std::size_t{0}));
    EXPECT_FALSE(scene.metering->charge("c", 1)) << "no sum goes round";
    scene.clock.advance(Metering::kGrace);
    EXPECT_TRUE(scene.metering->charge("a", 1));
}

TEST(MeteringTest, what_is_still_there_is_looked_up_now_and_then_however_often_a_node_asks) {
    Scene scene;
    scene.say(1000);
    EXPECT_EQ(scene.metering->due("a"), std::vector<std::uint32_t>{9});
    EXPECT_TRUE(scene.metering->due("a").empty());
    scene.clock.advance(Metering::kLook);
    EXPECT_EQ(scene.metering->due("a"), std::vector<std::uint32_t>{9});
}

// A node that had the consumer alone is no more believed because culvertd has started.
TEST(MeteringTest, after_a_start_a_node_speaks_of_the_ends_that_it_had) {
    const auto file = scratch("ends");
    auto who = kWho;
    who.provider = false;
    {
        const Scene scene(file);
        scene.say(1000, who);
        ASSERT_TRUE(scene.metering->save());
    }
    const Scene scene(file);
    scene.say(1400, std::nullopt);  // the store does not know the link any more
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1400);
    EXPECT_EQ(scene.total("/pls", kServiceIn), 0);
    EXPECT_EQ(scene.total("/lb", kByteCount), 0);
    std::filesystem::remove(file);
}

TEST(MeteringTest, the_last_numbers_of_a_link_are_not_its_next_owners) {
    const Scene scene;
    scene.say(1000);
    auto next = kWho;
    next.connection = "/other/connections/pe.2";
    next.endpoint = "/pe2";
    next.service = "/other";
    scene.say(1600, next);  // the node has not heard of it yet
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 1600);
    EXPECT_EQ(scene.total("/pe2", kEndpointIn), 0);
    scene.say(40, next, 1, 8);
    EXPECT_EQ(scene.total("/pe2", kEndpointIn), 40);
    EXPECT_EQ(scene.total("/other", kServiceIn), 40);
}

TEST(MeteringTest, a_removed_node_is_forgotten) {
    const auto file = scratch("removed");
    {
        const Scene scene(file);
        scene.say(1000);
        ASSERT_TRUE(scene.metering->save());
        std::filesystem::copy_file(file, file.string() + ".killed");
        scene.metering->forget("b");
        EXPECT_FALSE(scene.metering->due("a").empty());
        scene.metering->forget("a");
        EXPECT_TRUE(scene.metering->due("a").empty());
    }
    // killed before that was written down
    std::filesystem::rename(file.string() + ".killed", file);
    const Scene scene(file);
    scene.metering->retain({"b"});
    EXPECT_TRUE(scene.metering->due("a").empty());
    std::filesystem::remove(file);
}

// Reports go on while the file is written, and what it has of series and of how far they go is of
// one moment.
TEST(MeteringTest, the_file_is_of_one_moment_while_reports_go_on) {
    const auto file = scratch("moment");
    constexpr std::uint32_t kLinks = 3000;
    const auto report = [](Metering& metering, std::uint64_t bytes) {
        for (std::uint32_t first = 0; first < kLinks; first += 100) {
            api::Totals totals;
            totals.set_epoch(1);
            Business business;
            for (std::uint32_t link = first; link < first + 100; ++link) {
                auto& each = *totals.add_links();
                each.set_link(link);
                each.set_begun(7);
                each.set_consumer_in_bytes(bytes);
                auto who = kWho;
                who.endpoint = "/subscriptions/s/pe" + std::to_string(link);
                business.links.emplace_back(std::move(who));
            }
            metering.report("a", totals, business);
        }
    };
    {
        const Scene scene(file);
        report(*scene.metering, 1);
        std::atomic<bool> over{false};
        std::thread writer([&] {
            for (std::uint64_t bytes = 2; !over; ++bytes) {
                report(*scene.metering, bytes);
            }
        });
        ASSERT_TRUE(scene.metering->save());
        over = true;
        writer.join();
        std::filesystem::copy_file(file, file.string() + ".then");
    }
    std::filesystem::rename(file.string() + ".then", file);
    const Scene scene(file);
    constexpr std::uint64_t kLast = 1'000'000;
    report(*scene.metering, kLast);
    for (std::uint32_t link = 0; link < kLinks; ++link) {
        ASSERT_EQ(scene.total("/subscriptions/s/pe" + std::to_string(link), kEndpointIn), kLast);
    }
    std::filesystem::remove(file);
}

}  // namespace
}  // namespace culvert::control
