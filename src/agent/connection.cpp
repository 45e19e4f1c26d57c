// SPDX-License-Identifier: Apache-2.0
#include "agent/connection.hpp"

#include "base/assert.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace culvert::agent {
namespace {

using std::chrono::nanoseconds;

constexpr std::uint32_t kKept =
    CV_FLOW_OPEN | CV_FLOW_SEEN_REPLY | CV_FLOW_FIN_FORWARD | CV_FLOW_FIN_REPLY | CV_FLOW_RST;

Endpoint endpoint(std::uint32_t address, std::uint16_t port) {
    return {net::Ipv4::from_be(address), ntohs(port)};
}

// One's complement difference of two words (RFC 1624 3), folded to 16 bits: as bpf/open.h makes it.
std::uint32_t difference(std::uint32_t from0, std::uint32_t from1, std::uint32_t to0,
                         std::uint32_t to1) {
    std::uint64_t sum = std::uint64_t{to0} + to1 + std::uint32_t{~from0} + std::uint32_t{~from1};
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint32_t>((sum & 0xffff) + (sum >> 16));
}

void set_rewrite(FlowEntry& entry, const Endpoint& source, const Endpoint& destination) {
    cv_flow& flow = entry.flow;
    flow.saddr = source.address.to_be();
    flow.daddr = destination.address.to_be();
    flow.sport = htons(source.port);
    flow.dport = htons(destination.port);
    flow.flags |= CV_FLOW_REWRITE;
    flow.address_delta = difference(entry.key.saddr, entry.key.daddr, flow.saddr, flow.daddr);
    flow.port_delta = difference(entry.key.sport, entry.key.dport, flow.sport, flow.dport);
}

std::uint64_t earlier(nanoseconds now, nanoseconds by) {
    const auto at = now - by;
    // 0 would read as never set
    return static_cast<std::uint64_t>(std::max<nanoseconds::rep>(at.count(), 1));
}

cv_flow common(const Connection& connection, nanoseconds now) {
    cv_flow flow{};
    flow.created_ns = earlier(now, connection.age);
    flow.last_seen_ns = earlier(now, connection.idle);
    flow.link = connection.link;
    flow.link_generation = connection.link_generation;
    flow.idle_s = connection.idle_s;
    flow.flags = connection.tell ? CV_FLOW_TELL : 0;
    return flow;
}

void set_ends(cv_flow& flow, const End& source, const End& target) {
    flow.nic = target.nic;
    flow.nic_generation = target.generation;
    flow.source_nic = source.nic;
    flow.source_generation = source.generation;
}

cv_flow_key key_of(cv_flow_kind kind, std::uint32_t scope, const Endpoint& from, const Endpoint& to,
                   std::uint8_t protocol) {
    cv_flow_key key{};
    key.scope = scope;
    key.saddr = from.address.to_be();
    key.daddr = to.address.to_be();
    key.sport = htons(from.port);
    key.dport = htons(to.port);
    key.proto = protocol;
    key.kind = kind;
    return key;
}

FlowEntry single(const Connection& connection, nanoseconds now) {
    FlowEntry entry{.key = consumer_key(connection), .flow = common(connection, now)};
    set_ends(entry.flow, connection.consumer, connection.backend);
    entry.flow.action = CV_FLOW_ENCAP;
    entry.flow.flags |= CV_FLOW_PRIMARY | connection.flags;
    entry.flow.packets = connection.forward.packets;
    entry.flow.bytes = connection.forward.bytes;
    entry.answers = connection.back;
    return entry;
}

std::vector<FlowEntry> pair(const Connection& connection, bool consumer_here, nanoseconds now) {
    CULVERT_ASSERT(connection.translated());
    FlowEntry forward{.key = consumer_here ? consumer_key(connection) : link_key(connection),
                      .flow = common(connection, now)};
    FlowEntry back{.key = reverse_key(connection), .flow = common(connection, now)};
    const bool answered = (connection.flags & CV_FLOW_SEEN_REPLY) != 0;

    set_ends(forward.flow, connection.consumer, connection.backend);
    forward.flow.action = CV_FLOW_DELIVER;
    forward.flow.flags |= CV_FLOW_PAIRED | CV_FLOW_PRIMARY |
                          (connection.flags & (CV_FLOW_OPEN | CV_FLOW_FIN_FORWARD | CV_FLOW_RST));
    forward.flow.packets = connection.forward.packets;
    forward.flow.bytes = connection.forward.bytes;
    forward.flow.other = back.key;
    set_rewrite(forward, connection.nat, connection.serving);

    set_ends(back.flow, connection.backend, connection.consumer);
    back.flow.action = consumer_here ? CV_FLOW_DELIVER : CV_FLOW_ENCAP;
    back.flow.flags |= CV_FLOW_PAIRED | (connection.flags & CV_FLOW_FIN_REPLY);
    // that it was answered shows in the other entry's count
    back.flow.packets = std::max<std::uint64_t>(connection.back.packets, answered ? 1u : 0u);
    back.flow.bytes = connection.back.bytes;
    forward.answers = {back.flow.packets, back.flow.bytes};
    back.flow.other = forward.key;
    set_rewrite(back, connection.to, connection.from);
    return {forward, back};
}

}  // namespace

bool same_key(const cv_flow_key& left, const cv_flow_key& right) {
    return std::memcmp(&left, &right, sizeof(left)) == 0;
}

cv_flow_key consumer_key(const Connection& connection) {
    return key_of(CV_FLOW_NIC, connection.consumer.nic, connection.from, connection.to,
                  connection.protocol);
}

cv_flow_key link_key(const Connection& connection) {
    return key_of(CV_FLOW_LINK, connection.link, connection.from, connection.to,
                  connection.protocol);
}

cv_flow_key reverse_key(const Connection& connection) {
    return key_of(CV_FLOW_NIC, connection.backend.nic, connection.serving, connection.nat,
                  connection.protocol);
}

std::optional<Connection> read_connection(const FlowCopy& copy, nanoseconds now) {
    const cv_flow& flow = copy.flow;
    const bool pairs = (flow.flags & CV_FLOW_PAIRED) != 0;
    if ((flow.flags & CV_FLOW_PRIMARY) == 0 || pairs != copy.paired) {
        return std::nullopt;
    }
    const auto since = [now](std::uint64_t then) {
        return std::max(nanoseconds(0), now - nanoseconds(then));
    };
    Connection out{
        .link = flow.link,
        .link_generation = flow.link_generation,
        .protocol = copy.key.proto,
        .consumer = {flow.source_nic, flow.source_generation},
        .backend = {flow.nic, flow.nic_generation},
        .from = endpoint(copy.key.saddr, copy.key.sport),
        .to = endpoint(copy.key.daddr, copy.key.dport),
        .nat = {},
        .serving = {},
        .idle_s = flow.idle_s,
        .tell = (flow.flags & CV_FLOW_TELL) != 0,
        .flags = (flow.flags | copy.other_flags) & kKept,
        .age = since(flow.created_ns),
        .idle = since(std::max<std::uint64_t>(flow.last_seen_ns, copy.other_last_seen_ns)),
        .forward = {flow.packets, flow.bytes},
        .back = copy.other};
    if (pairs) {
        out.nat = endpoint(flow.saddr, flow.sport);
        out.serving = endpoint(flow.daddr, flow.dport);
        out.flags |= copy.other.packets != 0 ? CV_FLOW_SEEN_REPLY : 0;
    }
    return out;
}

std::vector<FlowEntry> entries_of(const Connection& connection, Ends here, nanoseconds now) {
    if (here.backend) {
        return pair(connection, here.consumer, now);
    }
    return here.consumer ? std::vector{single(connection, now)} : std::vector<FlowEntry>{};
}

FlowWrites rewrite_flows(const Connection& connection, Ends before, Ends after, nanoseconds now) {
    FlowWrites out;
    if (before == after) {
        return out;
    }
    out.put = entries_of(connection, after, now);
    for (const FlowEntry& old : entries_of(connection, before, now)) {
        const bool stays = std::ranges::any_of(
            out.put, [&](const FlowEntry& kept) { return same_key(kept.key, old.key); });
        if (!stays) {
            out.remove.push_back(old.key);
        }
    }
    return out;
}

}  // namespace culvert::agent
