// SPDX-License-Identifier: Apache-2.0
// A connection apart from the node it is on: one value from which the flow entries that any node
// needs can be made, and into which they can be read. Which entries a node needs follows from which
// of the two ends live there. Pure.
#pragma once

#include "abi/maps.h"
#include "datapath/transfer.hpp"
#include "net/address.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace culvert::agent {

struct End {
    std::uint32_t nic = 0;  // index
    std::uint32_t generation = 0;
    bool operator==(const End&) const = default;
};

struct Endpoint {  // an address and a port of the connection's tuple
    net::Ipv4 address{};
    std::uint16_t port = 0;
    bool operator==(const Endpoint&) const = default;
};

using datapath::FlowCopy;
using datapath::FlowEntry;
using datapath::FlowWrites;
using datapath::Volume;

struct Connection {
    std::uint32_t link = 0;
    std::uint32_t link_generation = 0;
    std::uint8_t protocol = 0;
    End consumer{};
    End backend{};
    Endpoint from{};  // the consumer's own
    Endpoint to{};    // the private endpoint's
    Endpoint nat{};   // as the backend sees the consumer; port 0: known at the backend's node only
    Endpoint serving{};  // the backend's own; as `nat`
    std::uint32_t idle_s = 0;
    bool tell = false;        // CV_FLOW_TELL, as idle_s of its rule
    std::uint32_t flags = 0;  // CV_FLOW_OPEN, _SEEN_REPLY, _FIN_FORWARD, _FIN_REPLY, _RST
    std::chrono::nanoseconds age{0};
    std::chrono::nanoseconds idle{0};
    Volume forward{};
    Volume back{};

    bool translated() const { return nat.port != 0; }
    bool operator==(const Connection&) const = default;
};

// nullopt: no primary entry, or half of a pair. `now`: CLOCK_MONOTONIC when it was copied.
std::optional<Connection> read_connection(const FlowCopy& copy, std::chrono::nanoseconds now);

// Which ends live on a node.
struct Ends {
    bool consumer = false;
    bool backend = false;
    bool operator==(const Ends&) const = default;
};

// The entries that a node with these ends needs, the primary one first; none for neither end.
// Where the backend is, the connection must be translated.
std::vector<FlowEntry> entries_of(const Connection& connection, Ends here,
                                  std::chrono::nanoseconds now);

// What turns the entries of `before` into those of `after`.
FlowWrites rewrite_flows(const Connection& connection, Ends before, Ends after,
                         std::chrono::nanoseconds now);

// The key of a connection's forward entry: where the consumer lives, and where only the backend
// does.
cv_flow_key consumer_key(const Connection& connection);
cv_flow_key link_key(const Connection& connection);
// Of the answer, where the backend lives.
cv_flow_key reverse_key(const Connection& connection);

bool same_key(const cv_flow_key& left, const cv_flow_key& right);

}  // namespace culvert::agent
