// SPDX-License-Identifier: Apache-2.0
#include "intent/state.hpp"

#include <algorithm>

namespace culvert::intent {
namespace {

template <typename Index, typename Value>
void drop(Index& index, const std::string& key, const Value& value) {
    const auto at = index.find(key);
    if (at != index.end()) {
        at->second.erase(value);
        if (at->second.empty()) {
            index.erase(at);
        }
    }
}

std::set<std::string> balancers_of(const model::PrivateLinkService& service) {
    std::set<std::string> keys;
    for (const model::ResourceId& frontend : service.frontends) {
        keys.insert(frontend.parent().key());
    }
    return keys;
}

std::string provider_of(const model::PrivateLinkService& service) {
    return service.nat.empty() ? std::string() : vnet_of(service.nat.front().subnet);
}

std::string frontend_name(const model::LoadBalancer& balancer, const model::Frontend& frontend) {
    return balancer.id.child("frontendIPConfigurations", frontend.name).key();
}

std::string pool_name(const model::LoadBalancer& balancer, const model::BackendPool& pool) {
    return balancer.id.child("backendAddressPools", pool.name).key();
}

// What NICs are told of their subnet: its prefixes, and the network's name servers.
struct OfSubnet {
    std::vector<net::Ipv4Prefix> prefixes;
    std::vector<std::string> dns_servers;
    bool operator==(const OfSubnet&) const = default;
};

std::map<std::string, OfSubnet> by_subnet(const model::VirtualNetwork* vnet) {
    std::map<std::string, OfSubnet> found;
    if (vnet != nullptr) {
        for (const model::Subnet& subnet : vnet->subnets) {
            found[vnet->id.child("subnets", subnet.name).key()] = {subnet.prefixes,
                                                                   vnet->dns_servers};
        }
    }
    return found;
}

}  // namespace

const model::NicIpConfiguration* primary(const model::NetworkInterface& nic) {
    const auto at =
        std::ranges::find_if(nic.ip_configurations, &model::NicIpConfiguration::primary);
    if (at != nic.ip_configurations.end()) {
        return &*at;
    }
    return nic.ip_configurations.empty() ? nullptr : &nic.ip_configurations.front();
}

std::string vnet_of(const model::ResourceId& subnet) { return subnet.parent().key(); }

std::string nat_name(const std::string& service, std::size_t position) {
    return service + "#" + std::to_string(position);
}

std::uint32_t World::State::vnet_index(const std::string& vnet) const {
    const model::VirtualNetwork* found = find(vnets, vnet);
    return found == nullptr ? 0 : found->vnet_index;
}

// Adds the new part before it takes the old one away, so that what stays needed is never let go.
void World::State::replace(Table<Part>& table, const std::string& key, Part next) {
    for (const auto& [from, to] : next.edges) {
        graph.link(from, to);
    }
    for (const auto& [node, vertex] : next.roots) {
        graph.hold(node, vertex);
    }
    const auto old = table.find(key);
    if (old != table.end()) {
        for (const auto& [from, to] : old->second.edges) {
            graph.unlink(from, to);
        }
        for (const auto& [node, vertex] : old->second.roots) {
            graph.release(node, vertex);
        }
    }
    if (!next.edges.empty() || !next.roots.empty()) {
        table[key] = std::move(next);
    } else if (old != table.end()) {
        table.erase(old);
    }
}

void World::State::vnet_changed(const std::string& key, const model::VirtualNetwork* before) {
    const model::VirtualNetwork* now = find(vnets, key);
    graph.touch(Kind::kNetwork, key);
    if ((before == nullptr ? 0 : before->vnet_index) != vnet_index(key)) {
        graph.touch_below(Kind::kMember, key);
        graph.touch_below(Kind::kNics, key);
        if (const auto* provided = find(services_by_vnet, key)) {
            for (const std::string& service : *provided) {
                graph.touch(Kind::kService, service);
                graph.touch_below(Kind::kProvider, service);
            }
        }
    }
    const auto old_subnets = by_subnet(before);
    const auto new_subnets = by_subnet(now);
    const auto touch_missing = [&](const auto& these, const auto& others) {
        for (const auto& [subnet, told] : these) {
            const auto other = others.find(subnet);
            const auto* inside = find(nics_by_subnet, subnet);
            if (inside == nullptr || (other != others.end() && other->second == told)) {
                continue;
            }
            for (const std::string& nic : *inside) {
                graph.touch(Kind::kNic, nic);
            }
        }
    };
    touch_missing(old_subnets, new_subnets);
    touch_missing(new_subnets, old_subnets);
}

void World::State::index_nic(const std::string& key, const AttachedNic* before,
                             const AttachedNic* now) {
    if (before != nullptr) {
        drop(nics_by_subnet, before->subnet, key);
        drop(nics_by_node, before->node, key);
        for (const std::string& pool : before->pools) {
            drop(members, pool, before->index);
            graph.touch(Kind::kPool, pool);
        }
    }
    if (now != nullptr) {
        nics_by_subnet[now->subnet].insert(key);
        nics_by_node[now->node].insert(key);
        for (const std::string& pool : now->pools) {
            members[pool].insert(now->index);
            graph.touch(Kind::kPool, pool);
        }
    }
}

// While a NIC moves its other node needs all that the NIC needs, everybody who knows the NIC knows
// both nodes, and the two are told how far the move is.
void World::State::add_move(const std::string& key, const model::Attachment& attachment,
                            const AttachedNic& nic, Graph::Vertex* member, Part& part) {
    Graph::Vertex* move = graph.vertex(Kind::kMove, key);
    Graph::NodeState* other = graph.node(attachment.other);
    part.edges.emplace_back(graph.vertex(Kind::kNic, key),
                            graph.vertex(Kind::kPeer, attachment.other));
    part.roots.emplace_back(graph.node(attachment.node), move);
    part.roots.emplace_back(other, move);
    part.roots.emplace_back(other, member);
    for (const std::string& pool : nic.pools) {
        part.roots.emplace_back(other, graph.vertex(Kind::kPoolHost, pool));
    }
}

void World::State::nic_changed(const std::string& key) {
    const model::NetworkInterface* nic = find(nics, key);
    const model::Attachment* attachment = find(attachments, key);
    const model::NicIpConfiguration* main = nic == nullptr ? nullptr : primary(*nic);
    Part part;
    std::optional<AttachedNic> now;
    if (main != nullptr && main->address && attachment != nullptr &&
        nic->private_endpoint.empty() && nic->private_link_service.empty()) {
        now = AttachedNic{nic->nic_index, attachment->node, main->subnet.key(), {}};
        bool backend = false;
        for (const model::NicIpConfiguration& configuration : nic->ip_configurations) {
            for (const model::ResourceId& pool : configuration.pools) {
                now->pools.insert(pool.key());
            }
            backend = backend || !configuration.pools.empty() || !configuration.nat_rules.empty();
        }
        if (backend) {
            now->pools.insert(key);  // its own, which ports of inbound NAT rules lead to
        }
        if (nic->six) {
            for (const model::ResourceId& pool : nic->six->pools) {
                now->pools.insert(pool.key());
            }
        }
        const std::string vnet = vnet_of(main->subnet);
        Graph::Vertex* self = graph.vertex(Kind::kNic, key);
        Graph::Vertex* member = graph.vertex(Kind::kMember, vnet);
        Graph::Vertex* all = graph.vertex(Kind::kNics, vnet);
        Graph::NodeState* node = graph.node(attachment->node);
        part.edges = {{self, graph.vertex(Kind::kPeer, attachment->node)},
                      {all, self},
                      {member, all},
                      {member, graph.vertex(Kind::kNetwork, vnet)},
                      {member, graph.vertex(Kind::kNicAddress, key)}};
        part.roots = {{node, member}};
        for (const std::string& pool : now->pools) {
            part.edges.emplace_back(graph.vertex(Kind::kPool, pool), self);
            part.roots.emplace_back(node, graph.vertex(Kind::kPoolHost, pool));
        }
        if (attachment->moves()) {
            add_move(key, *attachment, *now, member, part);
        }
    }
    graph.touch(Kind::kNic, key);
    graph.touch(Kind::kMove, key);
    graph.touch(Kind::kNicAddress, key);
    graph.touch(Kind::kPool, key);
    const AttachedNic* before = find(attached, key);
    const bool moved = before == nullptr ? now.has_value() : !now || *now != *before;
    if (moved) {
        index_nic(key, before, now ? &*now : nullptr);
        if (now) {
            attached[key] = *now;
        } else {
            attached.erase(key);
        }
    }
    replace(parts_of_nics, key, std::move(part));
}

// What a rule leads to is said by both: the balancer and the interface.
void World::State::nic_written(const std::string& key, const model::NetworkInterface* before) {
    const auto* using_it = find(services_by_target, key);
    const model::NetworkInterface* now = find(nics, key);
    if (using_it == nullptr ||
        (before != nullptr && now != nullptr && before->nic_index == now->nic_index &&
         before->ip_configurations == now->ip_configurations)) {
        return;
    }
    for (const std::string& service : std::set<std::string>(*using_it)) {
        service_changed(service, find(services, service));
    }
}

void World::State::index_targets(const std::string& service, std::set<std::string> now) {
    if (const auto* before = find(targets, service)) {
        for (const std::string& nic : *before) {
            drop(services_by_target, nic, service);
        }
    }
    for (const std::string& nic : now) {
        services_by_target[nic].insert(service);
    }
    if (now.empty()) {
        targets.erase(service);
    } else {
        targets[service] = std::move(now);
    }
}

void World::State::balancer_changed(const std::string& key, const model::LoadBalancer* before) {
    const model::LoadBalancer* now = find(balancers, key);
    Part part;
    for (const model::LoadBalancer* balancer : {before, now}) {
        if (balancer == nullptr) {
            continue;
        }
        for (const model::Frontend& frontend : balancer->frontends) {
            graph.touch(Kind::kFrontendAddress, frontend_name(*balancer, frontend));
        }
    }
    const bool probed_anew = before != nullptr && now != nullptr &&
                             (before->probes != now->probes || before->rules != now->rules);
    const auto touch_pools = [&](const model::LoadBalancer* these,
                                 const model::LoadBalancer* others) {
        std::map<std::string, std::uint32_t> known;
        for (const model::BackendPool& pool :
             others == nullptr ? std::vector<model::BackendPool>{} : others->pools) {
            known[model::lower(pool.name)] = pool.pool_index;
        }
        for (const model::BackendPool& pool :
             these == nullptr ? std::vector<model::BackendPool>{} : these->pools) {
            const auto other = known.find(model::lower(pool.name));
            if (probed_anew || other == known.end() || other->second != pool.pool_index) {
                graph.touch(Kind::kPool, pool_name(*these, pool));
            }
        }
    };
    touch_pools(before, now);
    touch_pools(now, before);
    if (now != nullptr) {
        for (const model::Frontend& frontend : now->frontends) {
            if (!frontend.subnet.empty() && frontend.address) {
                part.edges.emplace_back(
                    graph.vertex(Kind::kMember, vnet_of(frontend.subnet)),
                    graph.vertex(Kind::kFrontendAddress, frontend_name(*now, frontend)));
            }
        }
    }
    replace(parts_of_balancers, key, std::move(part));
    if (const auto* using_it = find(services_by_lb, key)) {
        for (const std::string& service : std::set<std::string>(*using_it)) {
            service_changed(service, find(services, service));
        }
    }
}

void World::State::service_changed(const std::string& key,
                                   const model::PrivateLinkService* before) {
    const model::PrivateLinkService* now = find(services, key);
    if (before != nullptr) {
        for (const std::string& balancer : balancers_of(*before)) {
            drop(services_by_lb, balancer, key);
        }
        drop(services_by_vnet, provider_of(*before), key);
    }
    index_targets(key, now == nullptr ? std::set<std::string>{} : targets_of(*now));
    Part part;
    if (now != nullptr) {
        for (const std::string& balancer : balancers_of(*now)) {
            services_by_lb[balancer].insert(key);
        }
        services_by_vnet[provider_of(*now)].insert(key);
        Graph::Vertex* self = graph.vertex(Kind::kService, key);
        Graph::Vertex* provider = graph.vertex(Kind::kProvider, key);
        part.edges.emplace_back(provider, self);
        for (std::size_t i = 0; i < now->nat.size(); ++i) {
            if (now->nat[i].address) {
                part.edges.emplace_back(graph.vertex(Kind::kMember, vnet_of(now->nat[i].subnet)),
                                        graph.vertex(Kind::kNatAddress, nat_name(key, i)));
            }
        }
        for (const std::string& pool : pools_of(*now)) {
            part.edges.emplace_back(self, graph.vertex(Kind::kPool, pool));
            part.edges.emplace_back(graph.vertex(Kind::kPoolHost, pool), provider);
        }
    }
    graph.touch(Kind::kService, key);
    const std::size_t nats =
        std::max(before == nullptr ? 0 : before->nat.size(), now == nullptr ? 0 : now->nat.size());
    for (std::size_t i = 0; i < nats; ++i) {
        graph.touch(Kind::kNatAddress, nat_name(key, i));
    }
    const bool same = before != nullptr && now != nullptr &&
                      before->service_index == now->service_index &&
                      provider_of(*before) == provider_of(*now);
    if (!same) {
        graph.touch_below(Kind::kProvider, key);
    }
    replace(parts_of_services, key, std::move(part));
}

void World::State::link_changed(const std::string& connection) {
    const model::PrivateEndpointConnection* link = find(connections, connection);
    const model::PrivateEndpoint* endpoint =
        link == nullptr ? nullptr : find(endpoints, link->private_endpoint.key());
    Part part;
    if (endpoint != nullptr && link->link_id != 0 && endpoint->connection.key() == connection) {
        const std::string consumer = vnet_of(endpoint->subnet);
        const std::string service = link->id.parent().key();
        Graph::Vertex* self = graph.vertex(Kind::kLink, connection);
        Graph::Vertex* member = graph.vertex(Kind::kMember, consumer);
        Graph::Vertex* provider = graph.vertex(Kind::kProvider, service);
        part.edges = {{member, self},
                      {member, graph.vertex(Kind::kEndpointAddress, connection)},
                      {provider, self}};
        if (link->state.status == model::ConnectionStatus::kApproved) {
            part.edges.emplace_back(member, graph.vertex(Kind::kService, service));
            part.edges.emplace_back(provider, graph.vertex(Kind::kNics, consumer));
        }
    }
    graph.touch(Kind::kLink, connection);
    graph.touch(Kind::kEndpointAddress, connection);
    replace(parts_of_links, connection, std::move(part));
}

void World::State::node_changed(const std::string& name, const model::Node* before) {
    const model::Node* now = find(nodes, name);
    Part part;
    if (now != nullptr) {
        part.roots = {{graph.node(name), graph.vertex(Kind::kConfig, name)}};
    }
    graph.touch(Kind::kConfig, name);
    graph.touch(Kind::kPeer, name);
    if ((before == nullptr ? 0 : before->index) != (now == nullptr ? 0 : now->index)) {
        if (const auto* hosted = find(nics_by_node, name)) {
            for (const std::string& nic : *hosted) {
                graph.touch(Kind::kNic, nic);
            }
        }
    }
    replace(parts_of_nodes, name, std::move(part));
}

}  // namespace culvert::intent
