// SPDX-License-Identifier: Apache-2.0
// Network interfaces.
#include "control/document_handlers.hpp"
#include "control/node_documents.hpp"
#include "model/types.hpp"

#include <memory>

namespace culvert::control {
namespace {

using model::NetworkInterface;
namespace types = model::types;

// Is the interface attached? The change requires that it stays as it is.
Result<std::string> attached_to(Services& services, Change& change, const model::ResourceId& id) {
    const std::string key = keys::attachment(id.key());
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        change.require(store::absent(key));
        return std::string();
    }
    change.require(store::unchanged(key, (*row)->mod_revision));
    auto attachment = decode_attachment((*row)->value);
    if (!attachment) {
        return std::unexpected(std::move(attachment.error()));
    }
    return std::move(attachment->node);
}

// The ports of inbound NAT rules that lead to the interface, in its balancers' documents: `known`
// are those that the change requires as they were read.
Outcome<void> seat_ports(Services& services, Change& change, const NetworkInterface& next,
                         const NetworkInterface* previous,
                         const std::map<std::string, model::LoadBalancer>& known) {
    auto balancers = balancers_of(next);
    if (previous != nullptr) {
        balancers.merge(balancers_of(*previous));
    }
    for (const auto& [key, id] : balancers) {
        const auto at = known.find(key);
        std::optional<Stored<model::LoadBalancer>> left;
        if (at == known.end()) {
            auto found = load<model::LoadBalancer>(services.store, id);
            if (!found) {
                return refuse(std::move(found.error()));
            }
            change.require(still(id, *found));
            left = std::move(*found);
        }
        const model::LoadBalancer* before = at != known.end() ? &at->second
                                            : left            ? &left->value
                                                              : nullptr;
        if (before == nullptr || before->nat_rules.empty()) {
            continue;
        }
        model::LoadBalancer now = *before;
        if (auto errors = rules::seat(now, next); !errors.empty()) {
            return refuse(std::move(errors));
        }
        if (!(now == *before)) {
            change.put(keys::resource(key), wire::encode(now));
        }
    }
    return {};
}

PutSteps<NetworkInterface> interface_steps(Services& services, const Call&) {
    PutSteps<NetworkInterface> steps;
    const auto seen = std::make_shared<rules::Facts>();
    steps.admit = [&services, seen](const NetworkInterface& next,
                                    const std::optional<Stored<NetworkInterface>>& previous,
                                    rules::Facts facts, Change& change) -> Outcome<void> {
        *seen = facts;
        rules::NicFacts all{.facts = std::move(facts), .attached_to = {}};
        if (previous) {
            auto node = attached_to(services, change, next.id);
            if (!node) {
                return refuse(std::move(node.error()));
            }
            all.attached_to = std::move(*node);
        }
        return accepted(rules::admit_put(next, previous ? &previous->value : nullptr, all));
    };
    steps.complete = [&services, seen](NetworkInterface& next,
                                       const std::optional<Stored<NetworkInterface>>& previous,
                                       Change& change) -> Outcome<void> {
        rules::set_six(next, *seen);
        if (previous) {
            return seat_ports(services, change, next, &previous->value, seen->balancers);
        }
        auto number = take_number(services, change, Kind::kNic, next.id.key());
        if (!number) {
            return refuse(std::move(number.error()));
        }
        next.nic_index = number->number;
        next.nic_generation = number->generation;
        return seat_ports(services, change, next, nullptr, seen->balancers);
    };
    return steps;
}

}  // namespace

Outcome<Removed> remove_interface(Services& services, const http::Request* request,
                                  const model::ResourceId& id) {
    return remove_document<NetworkInterface>(
        services, request, id,
        [&](const Stored<NetworkInterface>& stored, Change& change) -> Outcome<void> {
            auto node = attached_to(services, change, id);
            if (!node) {
                return refuse(std::move(node.error()));
            }
            const rules::NicFacts facts{.facts = {}, .attached_to = std::move(*node)};
            if (auto errors = rules::admit_delete(stored.value, facts); !errors.empty()) {
                return refuse(std::move(errors));
            }
            release_number(change, Kind::kNic, stored.value.nic_index, stored.value.nic_generation,
                           id.key());
            NetworkInterface gone = stored.value;
            gone.ip_configurations.clear();
            return seat_ports(services, change, gone, &stored.value, {});
        });
}

void add_interface_handlers(Registry& registry, Services& services) {
    add_document_handlers<NetworkInterface>(registry, services, types::kNetworkInterface,
                                            interface_steps, remove_interface);
}

}  // namespace culvert::control
