// SPDX-License-Identifier: Apache-2.0
#include "api/intent.pb.h"
#include "intent/state.hpp"

namespace culvert::intent {
namespace {

// Writes the value and returns what stood there.
template <typename T>
std::optional<T> store(Table<T>& table, const std::string& key, const T& value) {
    const auto at = table.find(key);
    if (at == table.end()) {
        table.emplace(key, value);
        return std::nullopt;
    }
    return std::exchange(at->second, value);
}

template <typename T>
std::optional<T> remove(Table<T>& table, const std::string& key) {
    const auto at = table.find(key);
    if (at == table.end()) {
        return std::nullopt;
    }
    std::optional<T> before(std::move(at->second));
    table.erase(at);
    return before;
}

// Whose a number is: the next owner may come before the last one goes.
void number(std::unordered_map<std::uint32_t, std::string>& owners, std::uint32_t before,
            std::uint32_t now, const std::string& key) {
    if (const auto at = owners.find(before);
        before != now && at != owners.end() && at->second == key) {
        owners.erase(at);
    }
    if (now != 0) {
        owners[now] = key;
    }
}

template <typename T>
const T* pointer(const std::optional<T>& value) {
    return value ? &*value : nullptr;
}

}  // namespace

World::World(Options options) : state_(std::make_unique<State>(options)) {}
World::~World() = default;

void World::put(const model::VirtualNetwork& value) {
    const std::string key = value.id.key();
    const auto before = store(state_->vnets, key, value);
    state_->vnet_changed(key, pointer(before));
}

void World::put(const model::NetworkInterface& value) {
    const std::string key = value.id.key();
    const auto before = store(state_->nics, key, value);
    state_->nic_changed(key);
    state_->nic_written(key, pointer(before));
}

void World::put(const model::LoadBalancer& value) {
    const std::string key = value.id.key();
    const auto before = store(state_->balancers, key, value);
    state_->balancer_changed(key, pointer(before));
}

void World::put(const model::PrivateLinkService& value) {
    const std::string key = value.id.key();
    const auto before = store(state_->services, key, value);
    number(state_->services_by_index, before ? before->service_index : 0, value.service_index, key);
    state_->service_changed(key, pointer(before));
}

void World::put(const model::PrivateEndpointConnection& value) {
    const std::string key = value.id.key();
    const auto before = store(state_->connections, key, value);
    number(state_->connections_by_link, before ? before->link_id : 0, value.link_id, key);
    state_->link_changed(key);
}

void World::put(const model::PrivateEndpoint& value) {
    const auto before = store(state_->endpoints, value.id.key(), value);
    if (before && before->connection != value.connection) {
        state_->link_changed(before->connection.key());
    }
    state_->link_changed(value.connection.key());
}

void World::put(const model::Node& value) {
    const auto before = store(state_->nodes, value.name, value);
    state_->node_changed(value.name, pointer(before));
}

void World::put(const model::Attachment& value) {
    const std::string key = value.nic.key();
    store(state_->attachments, key, value);
    state_->nic_changed(key);
}

void World::erase(const model::ResourceId& id) {
    const std::string key = id.key();
    if (const auto vnet = remove(state_->vnets, key)) {
        state_->vnet_changed(key, &*vnet);
    } else if (const auto nic = remove(state_->nics, key)) {
        state_->nic_changed(key);
        state_->nic_written(key, &*nic);
    } else if (const auto balancer = remove(state_->balancers, key)) {
        state_->balancer_changed(key, &*balancer);
    } else if (const auto service = remove(state_->services, key)) {
        number(state_->services_by_index, service->service_index, 0, key);
        state_->service_changed(key, &*service);
    } else if (const auto connection = remove(state_->connections, key)) {
        number(state_->connections_by_link, connection->link_id, 0, key);
        state_->link_changed(key);
    } else if (const auto endpoint = remove(state_->endpoints, key)) {
        state_->link_changed(endpoint->connection.key());
    }
}

void World::erase_node(std::string_view name) {
    if (const auto before = remove(state_->nodes, std::string(name))) {
        state_->node_changed(before->name, &*before);
    }
}

void World::erase_attachment(const model::ResourceId& nic) {
    const std::string key = nic.key();
    if (remove(state_->attachments, key)) {
        state_->nic_changed(key);
    }
}

std::vector<std::string> World::changed() {
    state_->flush();
    return state_->graph.changed();
}

api::Delta World::take(std::string_view node) {
    state_->flush();
    return state_->delta(state_->graph.take(node));
}

api::Delta World::snapshot(std::string_view node) {
    state_->flush();
    api::Delta delta = state_->delta(state_->graph.take_all(node));
    delta.clear_remove();
    delta.set_snapshot(true);
    return delta;
}

void World::forget(std::string_view node) {
    state_->flush();
    state_->graph.take(node);
    state_->graph.drop(node);
}

std::uint32_t World::vnet_index(std::string_view vnet) const {
    return state_->vnet_index(std::string(vnet));
}

std::uint64_t World::work() const { return state_->graph.work(); }
std::size_t World::size() const { return state_->graph.size(); }

}  // namespace culvert::intent
