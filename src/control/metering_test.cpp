// SPDX-License-Identifier: Apache-2.0
// What nodes say is added once, however often they say it, and only of what is theirs.
#include "control/metering.hpp"

#include "api/intent.pb.h"
#include "control/metric_names.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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
    EXPECT_TRUE(scene.metering->known("a").empty());
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
    const Scene scene;
    api::Totals many;
    Business business;
    for (std::size_t i = 0; i < 10000; ++i) {
        many.add_links()->set_link(static_cast<std::uint32_t>(i));
        business.links.emplace_back(std::nullopt);
    }
    for (std::size_t i = 0; i < Metering::kEntries / 10000 + 1; ++i) {
        scene.metering->report("a", many, business);
    }
    scene.say(5);
    EXPECT_EQ(scene.total("/pe", kEndpointIn), 0);
}

}  // namespace
}  // namespace culvert::control
