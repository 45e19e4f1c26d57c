// SPDX-License-Identifier: Apache-2.0
#include "agent/connection.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

constexpr auto kNow = std::chrono::nanoseconds(3600s);
constexpr Ends kBoth{.consumer = true, .backend = true};
constexpr Ends kConsumerOnly{.consumer = true, .backend = false};
constexpr Ends kBackendOnly{.consumer = false, .backend = true};
constexpr Ends kNeither{};

net::Ipv4 ip(const char* text) { return *net::Ipv4::parse(text); }

Connection connection() {
    return {.link = 9,
            .link_generation = 3,
            .protocol = 6,
            .consumer = {1, 11},
            .backend = {2, 22},
            .from = {ip("10.0.0.4"), 40000},
            .to = {ip("10.0.1.5"), 443},
            .nat = {ip("10.0.1.9"), 1025},
            .serving = {ip("10.0.0.7"), 8443},
            .idle_s = 240,
            .flags = CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY,
            .age = 60s,
            .idle = 2s,
            .forward = {10, 1000},
            .back = {8, 64000}};
}

// What a consumer's node knows of it.
Connection seen_by_consumer(Connection of) {
    of.nat = {};
    of.serving = {};
    return of;
}

// As the kernel would hand the entries of one connection out.
FlowCopy copied(const std::vector<FlowEntry>& entries) {
    FlowCopy out{
        .key = entries.front().key, .flow = entries.front().flow, .other = entries.front().answers};
    if (entries.size() > 1) {
        out.paired = true;
        out.other_last_seen_ns = entries[1].flow.last_seen_ns;
        out.other = {entries[1].flow.packets, entries[1].flow.bytes};
        out.other_flags = entries[1].flow.flags;
    }
    return out;
}

Connection through(const Connection& value, Ends here) {
    const auto entries = entries_of(value, here, kNow);
    const auto read = read_connection(copied(entries), kNow);
    EXPECT_TRUE(read.has_value());
    return read.value_or(Connection{});
}

TEST(ConnectionTest, entries_of_every_place_read_back_as_the_connection) {
    EXPECT_EQ(through(connection(), kBoth), connection());
    EXPECT_EQ(through(connection(), kBackendOnly), connection());
    EXPECT_EQ(through(connection(), kConsumerOnly), seen_by_consumer(connection()));
    EXPECT_TRUE(entries_of(connection(), kNeither, kNow).empty());
}

TEST(ConnectionTest, every_state_of_a_connection_survives) {
    for (const std::uint32_t flags :
         {0u, CV_FLOW_OPEN, CV_FLOW_SEEN_REPLY, CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY,
          CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY | CV_FLOW_FIN_FORWARD,
          CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY | CV_FLOW_FIN_REPLY,
          CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY | CV_FLOW_RST}) {
        for (const Ends here : {kBoth, kBackendOnly, kConsumerOnly}) {
            auto value = connection();
            value.flags = flags;
            value.back = {};
            EXPECT_EQ(through(value, here).flags, flags);
        }
    }
}

TEST(ConnectionTest, a_chain_of_moves_ends_where_it_began) {
    // consumer here and backend there, together, apart the other way, together again
    auto value = connection();
    for (const Ends here : {kBackendOnly, kBoth, kBackendOnly, kBoth}) {
        value = through(value, here);
    }
    EXPECT_EQ(value, connection());
}

TEST(ConnectionTest, half_a_pair_and_entries_that_are_not_primary_are_no_connection) {
    const auto entries = entries_of(connection(), kBoth, kNow);
    auto half = copied(entries);
    half.paired = false;
    EXPECT_FALSE(read_connection(half, kNow));
    EXPECT_FALSE(read_connection({.key = entries[1].key, .flow = entries[1].flow}, kNow));
}

struct Move {
    const char* what;
    Ends before, after;
    std::size_t put, removed;
};

// All that a move of either end does to a node.
const Move kMoves[] = {
    {"backend leaves, consumer elsewhere", kBackendOnly, kNeither, 0, 2},
    {"backend leaves, consumer stays", kBoth, kConsumerOnly, 1, 1},
    {"backend comes, consumer elsewhere", kNeither, kBackendOnly, 2, 0},
    {"backend comes to its consumer", kConsumerOnly, kBoth, 2, 0},
    {"consumer leaves, backend elsewhere", kConsumerOnly, kNeither, 0, 1},
    {"consumer leaves, backend stays", kBoth, kBackendOnly, 2, 1},
    {"consumer comes, backend elsewhere", kNeither, kConsumerOnly, 1, 0},
    {"consumer comes to its backend", kBackendOnly, kBoth, 2, 1},
    {"both ends are one interface: leaves", kBoth, kNeither, 0, 2},
    {"both ends are one interface: comes", kNeither, kBoth, 2, 0},
    {"a third node", kNeither, kNeither, 0, 0},
};

TEST(ConnectionTest, a_move_leaves_exactly_the_entries_of_the_new_place) {
    for (const Move& move : kMoves) {
        SCOPED_TRACE(move.what);
        auto table = entries_of(connection(), move.before, kNow);
        const auto writes = rewrite_flows(connection(), move.before, move.after, kNow);
        EXPECT_EQ(writes.put.size(), move.put);
        EXPECT_EQ(writes.remove.size(), move.removed);
        const auto drop = [&](const cv_flow_key& key) {
            std::erase_if(table, [&](const FlowEntry& held) { return same_key(held.key, key); });
        };
        for (const auto& entry : writes.put) {
            drop(entry.key);
            table.push_back(entry);
        }
        for (const auto& key : writes.remove) {
            drop(key);
        }
        const auto wanted = entries_of(connection(), move.after, kNow);
        ASSERT_EQ(table.size(), wanted.size());
        for (const auto& entry : wanted) {
            EXPECT_TRUE(std::ranges::any_of(
                table, [&](const FlowEntry& held) { return same_key(held.key, entry.key); }));
        }
    }
}

TEST(ConnectionTest, the_nat_port_is_kept) {
    for (const Ends here : {kBoth, kBackendOnly}) {
        const auto entries = entries_of(connection(), here, kNow);
        EXPECT_EQ(ntohs(entries[1].key.dport), 1025);
        EXPECT_EQ(ntohs(entries[0].flow.sport), 1025);
        EXPECT_TRUE(same_key(entries[0].flow.other, entries[1].key));
        EXPECT_TRUE(same_key(entries[1].flow.other, entries[0].key));
    }
}

TEST(ConnectionTest, times_are_the_new_nodes_own) {
    auto value = connection();
    value.age = 2h;  // older than this machine is up
    const auto entries = entries_of(value, kBackendOnly, kNow);
    EXPECT_EQ(entries[0].flow.created_ns, 1u);
    EXPECT_EQ(entries[0].flow.last_seen_ns, static_cast<std::uint64_t>((kNow - 2s).count()));
}

std::uint32_t folded(std::uint64_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint32_t>(sum);
}

// The sum over the words of a tuple, as the checksum sees it (RFC 1071).
std::uint64_t summed(std::initializer_list<std::uint32_t> words) {
    std::uint64_t sum = 0;
    for (const auto word : words) {
        sum += (word & 0xffff) + (word >> 16);
    }
    return sum;
}

TEST(ConnectionTest, checksums_change_by_what_the_rewrite_changes) {
    std::mt19937 random(1);
    for (int turn = 0; turn < 1000; ++turn) {
        auto value = connection();
        const auto number = [&] { return static_cast<std::uint32_t>(random()); };
        for (Endpoint* each : {&value.from, &value.to, &value.nat, &value.serving}) {
            *each = {net::Ipv4{number()}, static_cast<std::uint16_t>(number() | 1)};
        }
        for (const FlowEntry& entry : entries_of(value, kBoth, kNow)) {
            const auto& [key, flow, answers] = entry;
            EXPECT_EQ(folded(summed({key.saddr, key.daddr}) + flow.address_delta) % 0xffff,
                      folded(summed({flow.saddr, flow.daddr})) % 0xffff);
            EXPECT_EQ(folded(summed({key.sport, key.dport}) + flow.port_delta) % 0xffff,
                      folded(summed({flow.sport, flow.dport})) % 0xffff);
        }
    }
}

}  // namespace
}  // namespace culvert::agent
