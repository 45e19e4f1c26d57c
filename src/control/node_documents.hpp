// SPDX-License-Identifier: Apache-2.0
// The stored documents that no ARM resource has: nodes (/node/), attachments (/attach/) and join
// tokens (/join/). JSON, versioned ("v": 1). decode never trusts the store: kCorrupt for anything
// encode does not write.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "model/nodes.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::control {

// A one-time right to join; stored under the SHA-256 of the token, never the token itself.
struct JoinToken {
    std::string node;  // the only name it may be used for; empty: any
    WallTime expires;
    std::string created_by;                             // principal id
    std::optional<std::vector<std::string>> tenants{};  // the only ones the node will serve

    bool operator==(const JoinToken&) const = default;
};

// A certificate that is good no more, by its serial number in the key.
struct Revocation {
    std::string node;
    WallTime until;  // when it ends by itself

    bool operator==(const Revocation&) const = default;
};

std::string encode(const model::Node& value);
std::string encode(const model::Attachment& value);
std::string encode(const JoinToken& value);
std::string encode(const Revocation& value);

// "preparing", "moving", "settling"; "none".
std::string_view stage_name(model::MoveStage stage);

Result<model::Node> decode_node(std::string_view document);
Result<model::Attachment> decode_attachment(std::string_view document);
Result<JoinToken> decode_join_token(std::string_view document);
Result<Revocation> decode_revocation(std::string_view document);

}  // namespace culvert::control
