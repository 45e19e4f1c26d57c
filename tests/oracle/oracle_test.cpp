// SPDX-License-Identifier: Apache-2.0
// The data plane against the oracle, over random sequences. CULVERT_ORACLE_PACKETS,
// CULVERT_ORACLE_SEED and CULVERT_ORACLE_STEPS say how many packets, which sequences and how long
// ones (shorter on a slow machine: flows must not age in one).
#include "tests/oracle/player.hpp"
#include "tests/oracle/scene.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace culvert::oracle {
namespace {

constexpr std::uint64_t kPackets = 150'000;
constexpr std::size_t kSteps = 1000;

std::uint64_t number(const char* name, std::uint64_t otherwise) {
    const char* value = std::getenv(name);
    return value && *value ? std::strtoull(value, nullptr, 10) : otherwise;
}

std::string listing(const std::vector<Step>& steps) {
    std::string out;
    for (const Step& step : steps) {
        out += "  " + text(step) + "\n";
    }
    return out;
}

std::string summary(const Tally& tally) {
    std::string out =
        fmt::format("{} packets: {} delivered, {} sent, {} answered, {} dropped", tally.packets,
                    tally.delivered, tally.sent, tally.answered, tally.dropped);
    for (const auto& [reason, times] : tally.reasons) {
        out += fmt::format("\n  {:>9} {}", times, reason);
    }
    return out;
}

TEST(Oracle, AgreesWithTheDataPlane) {
    const std::uint64_t seed = number("CULVERT_ORACLE_SEED", std::random_device()());
    const std::uint64_t packets = number("CULVERT_ORACLE_PACKETS", kPackets);
    const std::uint64_t length = number("CULVERT_ORACLE_STEPS", kSteps);
    std::mt19937_64 random(seed);
    Player player;
    std::uint64_t told = 0;
    while (player.tally().packets < packets) {
        const auto steps = random_steps(random, length);
        if (player.play(steps)) {
            const auto fewest = player.shrink(steps);
            const auto how = player.play(fewest);
            FAIL() << "seed " << seed << ", after " << player.tally().packets << " packets; "
                   << fewest.size() << " steps:\n"
                   << listing(fewest) << (how ? how->message : "and then not again");
        }
        if (player.tally().packets - told >= 1'000'000) {
            told = player.tally().packets;
            std::printf("seed %llu: %llu packets, no divergence\n",
                        static_cast<unsigned long long>(seed),
                        static_cast<unsigned long long>(told));
            std::fflush(stdout);
        }
    }
    const Tally& tally = player.tally();
    std::printf("seed %llu, %s\n", static_cast<unsigned long long>(seed), summary(tally).c_str());
    // a game in which nothing happens would agree, too
    EXPECT_GT(tally.delivered * 5, tally.packets);
    EXPECT_GT(tally.sent * 10, tally.packets);
    EXPECT_GT(tally.answered * 50, tally.packets);
    for (const auto* reason : {"SPOOFED_ADDRESS",
                               "FRAGMENT",
                               "NO_DESTINATION",
                               "PROTOCOL",
                               "NO_RULE",
                               "LINK_REFUSED",
                               "LINK_UNKNOWN",
                               "LINK_STALE",
                               "NO_BACKEND",
                               "NO_FLOW",
                               "OUTER_SOURCE",
                               "VNI_UNKNOWN",
                               "NIC_NOT_IN_VNET",
                               "NIC_NOT_IN_POOL",
                               "NIC_NOT_HERE",
                               "INNER_ADDRESS",
                               "NAT_DIRECT",
                               "FRONTEND_DIRECT",
                               "TOO_BIG",
                               "IP_OPTIONS",
                               "SCTP",
                               "PING",
                               "NODE_LOST",
                               "MALFORMED"}) {
        EXPECT_GT(tally.reasons.contains(reason) ? tally.reasons.at(reason) : 0, 0u) << reason;
    }
}

// Plays until the planted fault shows and gives back the fewest steps that show it.
std::vector<Step> found(Player& player) {
    std::mt19937_64 random(1);
    for (int sequence = 0; sequence < 20; sequence++) {
        const auto steps = random_steps(random, kSteps);
        if (player.play(steps)) {
            return player.shrink(steps);
        }
    }
    return {};
}

TEST(Oracle, FindsAWrongBackendPortInTwoSteps) {
    Player player([](packet::World& world) { world.rule(kService, 443, kPool, 8444); });
    const auto steps = found(player);
    EXPECT_FALSE(steps.empty());
    EXPECT_LE(steps.size(), 2u) << listing(steps);
}

TEST(Oracle, FindsANatAddressThatIsNotTheServices) {
    Player player([](packet::World& world) {
        world.service(kService, kProviderVnet, {packet::ip("10.0.1.9"), packet::ip("10.0.1.11")});
    });
    const auto steps = found(player);
    EXPECT_FALSE(steps.empty());
    EXPECT_LE(steps.size(), 4u) << listing(steps);
}

TEST(Oracle, FindsALinkThatStaysApproved) {
    Player player([](packet::World& world) {
        auto link = world.link(kFirstLink);
        link.state = CV_LINK_APPROVED;
        world.link(kFirstLink, link);
    });
    const auto steps = found(player);
    EXPECT_FALSE(steps.empty());
    EXPECT_LE(steps.size(), 3u) << listing(steps);
}

}  // namespace
}  // namespace culvert::oracle
