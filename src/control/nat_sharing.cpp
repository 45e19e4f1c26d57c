// SPDX-License-Identifier: Apache-2.0
#include "control/nat_sharing.hpp"

#include "control/views.hpp"

#include <algorithm>

namespace culvert::control {

Outcome<void> share_nat(Services& services, const model::PrivateLinkService& service,
                        model::PrivateEndpointConnection* next, Change& change) {
    auto stored = connections_of(services.store, service.id);
    if (!stored) {
        return refuse(std::move(stored.error()));
    }
    std::vector<model::PrivateEndpointConnection> connections;
    std::int64_t newest = 0;
    for (const auto& each : *stored) {
        newest = std::max(newest, each.revision);
        if (next == nullptr || !(each.value.id == next->id)) {
            connections.push_back(each.value);
        }
    }
    if (next != nullptr) {
        connections.push_back(*next);
    }
    if (auto shared = rules::share_nat(service, connections); !shared) {
        return refuse(std::move(shared.error()));
    }
    if (next != nullptr) {
        *next = std::move(connections.back());
        connections.pop_back();
    }
    change.require(nothing_new_below(connections_prefix(service.id), newest));
    for (const auto& connection : connections) {
        const auto before = std::ranges::find_if(
            *stored, [&](const auto& each) { return each.value.id == connection.id; });
        if (!(before->value == connection)) {
            change.put(keys::resource(connection.id.key()), wire::encode(connection));
        }
    }
    return {};
}

}  // namespace culvert::control
