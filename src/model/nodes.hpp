// SPDX-License-Identifier: Apache-2.0
// Nodes and attachments: what ARM has no resource for.
#pragma once

#include "model/resource_id.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace culvert::model {

struct IssuedCertificate {
    std::string serial;
    std::chrono::system_clock::time_point until{};  // the epoch: not written down

    bool operator==(const IssuedCertificate&) const = default;
};

struct Node {
    std::string name;         // also the common name of its certificate
    std::uint32_t index = 0;  // 1..4095, never re-used while any holder may know it
    std::string outer;        // backbone address, text
    std::string certificate_serial;
    // Renewed, and not used yet, the newest last: each is good until the node has connected with
    // one of them.
    std::vector<IssuedCertificate> next{};
    // Of certificate_serial, empty and the epoch where nobody has written them down: the name of
    // the authority that signed it, its begin and its end.
    std::string authority{};
    std::chrono::system_clock::time_point certificate_from{};
    std::chrono::system_clock::time_point certificate_until{};
    std::optional<std::vector<std::string>> tenants{};  // the only ones it serves; nullopt: all
    bool draining = false;  // its backends get no new connections, nothing is attached there

    bool operator==(const Node&) const = default;
};

// A NIC attached to a workload on a node; authorised by the caller's token.
struct Attachment {
    ResourceId nic;
    std::string node;
    std::string id;           // a new UUID with every attach
    std::string attached_by;  // principal id

    bool operator==(const Attachment&) const = default;
};

}  // namespace culvert::model
