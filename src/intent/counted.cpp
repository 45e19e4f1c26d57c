// SPDX-License-Identifier: Apache-2.0
// Which counts a node may report: those of ends that live there.
#include "intent/state.hpp"

#include <algorithm>

namespace culvert::intent {
namespace {

bool serves(const World::State& state, const Presence& at,
            const model::PrivateLinkService& service) {
    const auto [known, fresh] = at.serves.try_emplace(service.id.key());
    if (fresh) {
        known->second = std::ranges::any_of(
            state.pools_of(service), [&](const auto& pool) { return at.pools.contains(pool); });
    }
    return known->second;
}

}  // namespace

Presence World::presence(std::string_view node) const {
    Presence out;
    const auto* nics = find(state_->nics_by_node, std::string(node));
    if (nics == nullptr) {
        return out;
    }
    for (const std::string& nic : *nics) {
        if (const AttachedNic* attached = find(state_->attached, nic); attached != nullptr) {
            const auto subnet = model::ResourceId::parse(attached->subnet);
            if (subnet) {
                out.vnets.insert(vnet_of(*subnet));
            }
            out.pools.insert(attached->pools.begin(), attached->pools.end());
        }
    }
    return out;
}

std::optional<CountedLink> World::counted(const Presence& at, std::uint32_t link) const {
    const auto name = state_->connections_by_link.find(link);
    const auto* connection = name == state_->connections_by_link.end()
                                 ? nullptr
                                 : find(state_->connections, name->second);
    if (connection == nullptr) {
        return std::nullopt;
    }
    CountedLink out{.connection = name->second,
                    .endpoint = connection->private_endpoint.key(),
                    .service = connection->id.parent().key()};
    const auto* endpoint = find(state_->endpoints, out.endpoint);
    out.consumer = endpoint != nullptr && at.vnets.contains(vnet_of(endpoint->subnet));
    const auto* service = find(state_->services, out.service);
    if (service != nullptr && !service->frontends.empty()) {
        out.balancer = service->frontends.front().parent().key();
    }
    out.provider = service != nullptr && serves(*state_, at, *service);
    return out.consumer || out.provider ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::string> World::nat_service(const Presence& at, std::uint32_t service,
                                              std::uint32_t address) const {
    const auto name = state_->services_by_index.find(service);
    const auto* found =
        name == state_->services_by_index.end() ? nullptr : find(state_->services, name->second);
    const bool known = found != nullptr &&
                       std::ranges::any_of(found->nat,
                                           [&](const auto& nat) {
                                               return nat.address && nat.address->value == address;
                                           }) &&
                       serves(*state_, at, *found);
    return known ? std::optional(name->second) : std::nullopt;
}

}  // namespace culvert::intent
