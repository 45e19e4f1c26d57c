// SPDX-License-Identifier: Apache-2.0
// intent compiles resources into what each node must know (api/intent.proto). Promises: a node gets
// exactly what its own workloads need; the deltas that a node was given add up to its snapshot; the
// result does not depend on the order in which resources came; the work of one change follows the
// objects that the change concerns, never the number of resources (work() counts it, intent_test
// holds it to that). Pure: values in, values out; no I/O, no clock.
//
// What a node gets, and why:
//   its configuration;
//   for each VNet that one of its NICs is in: the VNet's prefixes; every attached NIC of the VNet
//   with its address (inside
//     a VNet any may talk to any); the addresses of endpoints, NAT and frontends in it; the links
//     of its endpoints; for an approved link the service with rules, pools and member NICs;
//   for each service that one of its NICs is a backend of: the service, its pools, all of its
//   links, and for approved
//     links every attached NIC of the consumer's VNet (to check senders and to send answers back);
//   for each NIC it knows on another node: that node as a peer.
// A port of an inbound NAT rule leads to a pool of one interface alone (model::kNicPools).
// A pool goes with the probes that rules lead to it by: its members' nodes probe, all others must
// know whose verdict counts. Not thread-safe: one thread at a time.
#pragma once

#include "model/nodes.hpp"
#include "model/resources.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::api {
class Delta;
}

namespace culvert::intent {

// Cluster-wide settings that every NodeConfig repeats.
struct Options {
    std::uint32_t udp_port = 4789;
    std::uint32_t nic_limit = 262144;
    std::uint32_t link_limit = 262144;
};

// The ends that live on a node.
struct Presence {
    std::set<std::string> vnets;  // keys; of consumers
    std::set<std::string> pools;  // of backends
    // of services that were asked for: whether a backend of them is there; a walk over their rules
    mutable std::map<std::string, bool> serves{};
};

// Whose a link is, and which of its ends a node may speak for.
struct CountedLink {
    std::string connection;  // ResourceId::key()
    std::string endpoint;
    std::string service;
    std::string balancer{};
    bool consumer = false;
    bool provider = false;
};

class World {
  public:
    explicit World(Options options);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    // A resource is new or has changed. Every other resource it names may come later or never.
    void put(const model::VirtualNetwork& value);
    void put(const model::NetworkInterface& value);
    void put(const model::LoadBalancer& value);
    void put(const model::PrivateLinkService& value);
    void put(const model::PrivateEndpointConnection& value);
    void put(const model::PrivateEndpoint& value);
    void put(const model::Node& value);
    void put(const model::Attachment& value);

    // A resource is gone. Ids of other types and unknown ids are nothing.
    void erase(const model::ResourceId& id);
    void erase_node(std::string_view name);
    void erase_attachment(const model::ResourceId& nic);

    // The nodes that something changed for since the last call, each once, ascending. take() may
    // still have nothing for one of them: what changed may have changed back.
    std::vector<std::string> changed();
    // What changed for `node` since the last take() or snapshot(): only `upsert` and `remove` are
    // set, in a fixed order, both empty when nothing did.
    api::Delta take(std::string_view node);
    // Everything `node` must know, in `upsert`, with `snapshot` set; the next take() starts from
    // here.
    api::Delta snapshot(std::string_view node);
    // Forgets what an erased node was given.
    void forget(std::string_view node);

    // Of the network with that ResourceId::key(); 0: there is none.
    std::uint32_t vnet_index(std::string_view vnet) const;
    // What a node may say of what links carried; nullopt: there is no such link or service, or no
    // end of it on the node. Costs time by the NICs of the node, and by the rules of each service
    // once a presence.
    Presence presence(std::string_view node) const;
    std::optional<CountedLink> counted(const Presence& at, std::uint32_t link) const;
    std::optional<std::string> nat_service(const Presence& at, std::uint32_t service,
                                           std::uint32_t address) const;

    std::uint64_t work() const;  // objects and references visited since construction
    std::size_t size() const;    // vertices of the need graph

    struct State;  // state.hpp

  private:
    std::unique_ptr<State> state_;
};

}  // namespace culvert::intent
