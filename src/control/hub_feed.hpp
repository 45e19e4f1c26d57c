// SPDX-License-Identifier: Apache-2.0
// Store documents into the World: which key is what, decoded.
#pragma once

#include "intent/intent.hpp"
#include "model/nodes.hpp"
#include "store/store.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace culvert::control {

// Nodes and attachments are the hub's business too.
struct NodeEvents {
    std::function<void(const model::Node& value)> written;
    std::function<void(const std::string& name)> erased;
    std::function<void(const model::Attachment& value)> attached{};
    std::function<void(const std::string& nic_key)> detached{};
};

class HubFeed {
  public:
    explicit HubFeed(NodeEvents nodes) : nodes_(std::move(nodes)) {}

    // Is the key one that intent depends on?
    static bool concerns(std::string_view key);
    // A document that cannot be decoded is an error (kCorrupt) and changes nothing.
    Status put(intent::World& world, const store::KeyValue& document) const;
    void erase(intent::World& world, std::string_view key) const;

  private:
    NodeEvents nodes_;
};

}  // namespace culvert::control
