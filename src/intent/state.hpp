// SPDX-License-Identifier: Apache-2.0
// The inside of World: typed resources, inverse indices, and for each resource the edges and roots
// that it (joined with what it names) contributes to the need graph. Keys are ResourceId::key() or
// node names.
#pragma once

#include "intent/graph.hpp"
#include "intent/intent.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace culvert::intent {

template <typename T>
using Table = std::unordered_map<std::string, T>;

// Edges and roots that one resource contributes.
struct Part {
    std::vector<std::pair<Graph::Vertex*, Graph::Vertex*>> edges;
    std::vector<std::pair<Graph::NodeState*, Graph::Vertex*>> roots;
};

// A NIC that is attached and not read-only: what others ask about it.
struct AttachedNic {
    std::uint32_t index = 0;
    std::string node;
    std::string subnet;
    std::set<std::string> pools;

    bool operator==(const AttachedNic&) const = default;
};

// A port of an inbound NAT rule and the NIC that it leads to.
struct NatPort {
    const model::InboundNatRule* rule = nullptr;
    std::uint16_t port = 0;
    std::string nic;
    std::uint32_t pool = 0;  // number of the NIC's own pool
};

// The interface's configuration that carries its address, or nullptr.
const model::NicIpConfiguration* primary(const model::NetworkInterface& nic);
std::string vnet_of(const model::ResourceId& subnet);  // key of the VNet that a subnet is in
std::string nat_name(const std::string& service, std::size_t position);

template <typename T>
const T* find(const Table<T>& table, const std::string& key) {
    const auto at = table.find(key);
    return at == table.end() ? nullptr : &at->second;
}

struct World::State {
    explicit State(Options given) : options(given) {}

    Options options;
    Graph graph;

    Table<model::VirtualNetwork> vnets;
    Table<model::NetworkInterface> nics;
    Table<model::LoadBalancer> balancers;
    Table<model::PrivateLinkService> services;
    Table<model::PrivateEndpointConnection> connections;
    Table<model::PrivateEndpoint> endpoints;
    Table<model::Node> nodes;
    Table<model::Attachment> attachments;  // by NIC

    Table<Part> parts_of_nics;
    Table<Part> parts_of_balancers;
    Table<Part> parts_of_services;
    Table<Part> parts_of_links;  // by connection
    Table<Part> parts_of_nodes;

    Table<AttachedNic> attached;                      // by NIC
    Table<std::set<std::string>> nics_by_subnet;      // attached ones
    Table<std::set<std::string>> nics_by_node;        // attached ones
    Table<std::set<std::uint32_t>> members;           // pool -> indices of attached NICs
    Table<std::set<std::string>> services_by_lb;      // balancers that its frontends are of
    Table<std::set<std::string>> services_by_vnet;    // provider VNets
    Table<std::set<std::string>> targets;             // service -> NICs that ports are given to
    Table<std::set<std::string>> services_by_target;  // and the other way round
    std::unordered_map<std::uint32_t, std::string> connections_by_link;
    std::unordered_map<std::uint32_t, std::string> services_by_index;

    // One for each kind of resource: called after the table has changed (state_*.cpp).
    void vnet_changed(const std::string& key, const model::VirtualNetwork* before);
    void nic_changed(const std::string& key);
    void nic_written(const std::string& key, const model::NetworkInterface* before);
    void balancer_changed(const std::string& key, const model::LoadBalancer* before);
    void service_changed(const std::string& key, const model::PrivateLinkService* before);
    void link_changed(const std::string& connection);
    void node_changed(const std::string& name, const model::Node* before);

    Content render(Kind kind, const std::string& name) const;  // render.cpp
    void flush();
    api::Delta delta(const Graph::Change& change) const;

    std::uint32_t vnet_index(const std::string& vnet) const;  // 0: unknown
    // serving.cpp. The pools that a service's rules lead to; a NIC's key is that of its own pool.
    std::set<std::string> pools_of(const model::PrivateLinkService& service) const;
    // The service's rules with their frontends, in the order of its frontends.
    std::vector<const model::LbRule*> rules_of(const model::PrivateLinkService& service) const;
    std::vector<NatPort> nat_ports_of(const model::PrivateLinkService& service) const;
    // The NICs that ports are given to, also those that are not (any more) what they were then.
    std::set<std::string> targets_of(const model::PrivateLinkService& service) const;

  private:
    void add_move(const std::string& key, const model::Attachment& attachment,
                  const AttachedNic& nic, Graph::Vertex* member, Part& part);
    void replace(Table<Part>& table, const std::string& key, Part next);
    void index_nic(const std::string& key, const AttachedNic* before, const AttachedNic* now);
    void index_targets(const std::string& service, std::set<std::string> now);
};

}  // namespace culvert::intent
