// SPDX-License-Identifier: Apache-2.0
// Virtual networks and their subnets, which live in the network's document.
#include "control/document_handlers.hpp"
#include "control/operations.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::control {
namespace {

using model::Subnet;
using model::VirtualNetwork;
namespace types = model::types;

// Who uses the subnets, and the addresses in use; the change requires that nobody joins meanwhile.
Result<rules::NetworkFacts> network_facts(Services& services, Change& change,
                                          const model::ResourceId& id, bool with_addresses) {
    rules::NetworkFacts facts;
    auto referrers = referrers_below(services.store, id);
    if (!referrers) {
        return std::unexpected(std::move(referrers.error()));
    }
    change.require(nothing_new_below(keys::refs_below(id.key()), referrers->revision));
    facts.users = by_child(*referrers, "subnets");
    if (!with_addresses) {
        return facts;
    }
    const std::string prefix = keys::addresses(id.key());
    auto rows = services.store.list(prefix);
    if (!rows) {
        return std::unexpected(std::move(rows.error()));
    }
    change.require(nothing_new_below(prefix, rows->revision));
    for (const store::KeyValue& row : rows->kvs) {
        auto address = net::Ipv4::parse(std::string_view(row.key).substr(prefix.size()));
        auto held = Reservation::parse(row.value);
        auto owner = held ? model::ResourceId::parse(held->owner)
                          : Result<model::ResourceId>(std::unexpected(held.error()));
        if (!address || !owner) {
            return fail(Code::kCorrupt, "not an address reservation: " + row.key);
        }
        facts.taken.push_back({*address, std::move(*owner)});
    }
    return facts;
}

PutSteps<VirtualNetwork> network_steps(Services& services, const Call& call) {
    PutSteps<VirtualNetwork> steps;
    steps.admit = [&services](const VirtualNetwork& next,
                              const std::optional<Stored<VirtualNetwork>>& previous,
                              const rules::Facts&, Change& change) -> Outcome<void> {
        const VirtualNetwork* before = previous ? &previous->value : nullptr;
        rules::NetworkFacts facts;
        // an identical PUT needs no facts and must not compete with others
        if (before != nullptr && !(next == *before)) {
            auto found = network_facts(services, change, next.id,
                                       rules::needs_taken_addresses(next, before));
            if (!found) {
                return refuse(std::move(found.error()));
            }
            facts = std::move(*found);
        }
        return accepted(rules::admit_put(next, before, facts));
    };
    steps.complete = [&services](VirtualNetwork& next,
                                 const std::optional<Stored<VirtualNetwork>>& previous,
                                 Change& change) -> Outcome<void> {
        if (previous) {
            return {};
        }
        auto number = take_number(services, change, Kind::kVni, next.id.key());
        if (!number) {
            return refuse(std::move(number.error()));
        }
        next.vnet_index = number->number;
        return {};
    };
    if (!wire::gives_subnets(call.body)) {
        steps.inherit = [](VirtualNetwork& next, const VirtualNetwork& previous) {
            next.subnets = previous.subnets;
        };
    }
    return steps;
}

bool has_subnet(const VirtualNetwork& network, std::string_view name) {
    return find_named(network.subnets, name) != network.subnets.end();
}

// A change of one subnet is a change of its network (rules.hpp): `edit` makes it, on what exists
// now. nullopt from `edit`: there is nothing to do.
using Edit = std::function<Outcome<bool>(VirtualNetwork& network, Change& change)>;
Outcome<Written<VirtualNetwork>> edit_network(Services& services, const Call& call,
                                              const Edit& edit) {
    const model::ResourceId id = call.id.parent();
    return retrying<Written<VirtualNetwork>>(
        id, [&]() -> Outcome<std::optional<Written<VirtualNetwork>>> {
            auto found = fetch<VirtualNetwork>(services.store, id);
            if (!found) {
                return refuse(std::move(found.error()));
            }
            const bool existed = has_subnet(found->value, call.id.name());
            const auto revision = existed ? std::optional(found->revision) : std::nullopt;
            if (auto wanted = check_preconditions(call.request, revision); !wanted) {
                return refuse(std::move(wanted.error()));
            }
            Change change;
            VirtualNetwork next = found->value;
            auto edited = edit(next, change);
            if (!edited) {
                return std::unexpected(std::move(edited.error()));
            }
            if (!*edited || next == found->value) {
                return Written<VirtualNetwork>{std::move(next), found->revision, false};
            }
            auto written = commit_replaced(services, change, std::move(next), found->revision);
            if (written && *written) {
                (*written)->created = !existed;
            }
            return written;
        });
}

void put_subnet(Services& services, const Call& call, ReplyFn reply) {
    auto body = wire::read<Subnet>(call.body, call.id);
    if (!body) {
        reply(errors_reply(body.error()));
        return;
    }
    auto outcome =
        edit_network(services, call, [&](VirtualNetwork& network, Change& change) -> Outcome<bool> {
            const VirtualNetwork before = network;
            put_named(network.subnets, *body);
            if (network == before) {
                return false;
            }
            if (auto errors = rules::validate(network); !errors.empty()) {
                return refuse(std::move(errors));
            }
            auto facts = network_facts(services, change, network.id,
                                       rules::needs_taken_addresses(network, &before));
            if (!facts) {
                return refuse(std::move(facts.error()));
            }
            if (auto errors = rules::admit_put(network, &before, *facts); !errors.empty()) {
                return refuse(std::move(errors));
            }
            return true;
        });
    answer_child(services, call, std::move(reply), std::move(outcome));
}

void delete_subnet(Services& services, const Call& call, ReplyFn reply) {
    bool removed = false;
    auto outcome =
        edit_network(services, call, [&](VirtualNetwork& network, Change& change) -> Outcome<bool> {
            removed = has_subnet(network, call.id.name());
            if (!removed) {
                return false;
            }
            auto facts = network_facts(services, change, network.id, false);
            if (!facts) {
                return refuse(std::move(facts.error()));
            }
            if (auto errors = rules::admit_delete_subnet(network, call.id.name(), *facts);
                !errors.empty()) {
                return refuse(std::move(errors));
            }
            change.require(store::none_below(keys::refs_to(call.id.key())));
            std::erase_if(network.subnets, [&](const Subnet& each) {
                return model::same_name(each.name, call.id.name());
            });
            return true;
        });
    // without its network a subnet is absent too, and deleting what is absent is no error
    // (arm-contract 6)
    if (!outcome && outcome.error().front().code == Code::kNotFound) {
        removed = false;
    } else if (!outcome) {
        reply(errors_reply(outcome.error()));
        return;
    }
    answer_delete(services, call, std::move(reply),
                  Removed{removed, outcome ? outcome->revision : 0});
}

}  // namespace

Outcome<Removed> remove_network(Services& services, const http::Request* request,
                                const model::ResourceId& id) {
    return remove_document<VirtualNetwork>(
        services, request, id,
        [&](const Stored<VirtualNetwork>& stored, Change& change) -> Outcome<void> {
            auto facts = network_facts(services, change, id, false);
            if (!facts) {
                return refuse(std::move(facts.error()));
            }
            if (auto errors = rules::admit_delete(stored.value, *facts); !errors.empty()) {
                return refuse(std::move(errors));
            }
            release_number(change, Kind::kVni, stored.value.vnet_index, 0, id.key());
            return {};
        });
}

void add_network_handlers(Registry& registry, Services& services) {
    add_document_handlers<VirtualNetwork>(registry, services, types::kVirtualNetwork, network_steps,
                                          remove_network);
    const std::string subnet(types::kSubnet);
    add_child_handlers<VirtualNetwork>(registry, services, subnet);
    registry.add(subnet, "PUT", subnet + "/write", with(services, put_subnet));
    registry.add(subnet, "DELETE", subnet + "/delete", with(services, delete_subnet));
    add_interface_handlers(registry, services);
    add_operation_handlers(registry, services);
}

}  // namespace culvert::control
