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

// How far the move of a NIC to another node has come (docs/decisions/0010).
enum class MoveStage {
    kNone,
    kPreparing,  // `other` gets ready; `node` carries
    kMoving,     // `node` has stopped, `other` takes over
    kSettling,   // `node` carries; `other`, which it came from, passes stragglers on
};

// A NIC attached to a workload on a node; authorised by the caller's token.
struct Attachment {
    ResourceId nic;
    std::string node;
    std::string id;           // a new UUID with every attach
    std::string attached_by;  // principal id
    MoveStage stage = MoveStage::kNone;
    std::string other;     // node: where it goes to, while settling where it came from
    std::string other_id;  // id of the attachment there; while settling the one it had

    bool moves() const { return stage != MoveStage::kNone; }
    bool operator==(const Attachment&) const = default;
};

}  // namespace culvert::model
