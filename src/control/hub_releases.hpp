// SPDX-License-Identifier: Apache-2.0
// What was given up and may still be known to a node (DESIGN.md 5: no id or address is used again
// before every holder has acknowledged its removal or has been fenced). A release is the store's
// record /released/<guid>, written in the transaction that gave something up and erased when that
// is free; a node is a holder until it has acknowledged a state at or beyond the release, for
// however long it is away, or until it is no node of the deployment any more; and of an address
// also while connections there use it, as it says itself (docs/decisions/0014).
//
// INVARIANT: a release is told to be over once, and only while every node has acknowledged its
// revision and none uses an address of it. Strand-bound to the hub's worker.
#pragma once

#include "control/hub_node.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace culvert::control {

class HubReleases {
  public:
    using Nodes = std::map<std::string, std::unique_ptr<HubNode>>;
    using OverFn = std::function<void(const std::string& key)>;

    // `over` is called for each release that has ended.
    HubReleases(const Nodes& nodes, OverFn over) : nodes_(nodes), over_(std::move(over)) {}

    // A record of the store, with the addresses among what it gives up: it waits for every node to
    // acknowledge `revision`.
    void add(std::string key, std::int64_t revision, AddressUses addresses = {});
    // Everything is read anew.
    void clear();
    // A node was removed or has another certificate, which the others learn at `revision`: what
    // waits, waits until they have acknowledged that too, and so refuse its packets.
    void fence(std::int64_t revision);
    // Ends what every node has acknowledged; the store's revision is `now`.
    void advance(std::int64_t now);
    // The node is gone: it must not be remembered.
    void forget(const HubNode& node);

    std::size_t size() const { return waiting_.size() + used_.size(); }
    // How many wait for this node.
    std::size_t held_by(const HubNode& node, std::int64_t now) const;

  private:
    struct Release {
        std::string key;
        AddressUses addresses;
    };
    const HubNode* holder(std::int64_t revision, std::int64_t now) const;
    bool is_used(const Release& release) const;

    const Nodes& nodes_;
    const OverFn over_;
    std::multimap<std::int64_t, Release> waiting_;  // by the revision to acknowledge
    std::vector<Release> used_;                     // acknowledged by all and still used by some
    const HubNode* holder_ = nullptr;               // one that the first of them waits for
};

}  // namespace culvert::control
