// SPDX-License-Identifier: Apache-2.0
// Load balancers, and their children out of the same document.
#include "base/log.hpp"
#include "control/document_handlers.hpp"
#include "model/types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace culvert::control {
namespace {

using model::BackendPool;
using model::LoadBalancer;
namespace types = model::types;

std::string pool_owner(const LoadBalancer& balancer, const BackendPool& pool) {
    return balancer.id.child("backendAddressPools", pool.name).key();
}

Result<rules::BalancerFacts> balancer_facts(Services& services, Change& change,
                                            const model::ResourceId& id) {
    auto referrers = referrers_below(services.store, id);
    if (!referrers) {
        return std::unexpected(std::move(referrers.error()));
    }
    change.require(nothing_new_below(keys::refs_below(id.key()), referrers->revision));
    rules::BalancerFacts facts;
    facts.frontend_users = by_child(*referrers, "frontendIPConfigurations");
    facts.pool_users = by_child(*referrers, "backendAddressPools");
    facts.nat_rule_users = by_child(*referrers, "inboundNatRules");
    return facts;
}

// Which of the pools' members are configurations of IPv6; the change requires that they stay.
Status find_six_members(Services& services, Change& change, const std::vector<std::string>& pools,
                        rules::BalancerFacts& facts) {
    std::set<std::string> seen;
    for (const std::string& pool : pools) {
        for (const model::ResourceId& member : facts.pool_users[model::lower(pool)]) {
            const model::ResourceId id = model::document_of(member);
            if (!seen.insert(id.key()).second) {
                continue;
            }
            auto nic = load<model::NetworkInterface>(services.store, id);
            if (!nic) {
                return std::unexpected(std::move(nic.error()));
            }
            change.require(still(id, *nic));
            if (*nic && (*nic)->value.six) {
                facts.six_members.insert(
                    id.child("ipConfigurations", (*nic)->value.six->name).key());
            }
        }
    }
    return {};
}

// New pools get a number, numbers of pools that are gone are released.
Outcome<void> number_pools(Services& services, LoadBalancer& next, const LoadBalancer* previous,
                           Change& change) {
    std::set<std::uint32_t> taken;
    for (BackendPool& pool : next.pools) {
        if (pool.pool_index == 0) {
            auto number = take_number(services, change, Kind::kPool, pool_owner(next, pool), taken);
            if (!number) {
                return refuse(std::move(number.error()));
            }
            pool.pool_index = number->number;
        }
        taken.insert(pool.pool_index);
    }
    if (previous != nullptr) {
        for (const BackendPool& pool : previous->pools) {
            if (!taken.contains(pool.pool_index)) {
                release_number(change, Kind::kPool, pool.pool_index, 0,
                               pool_owner(*previous, pool));
            }
        }
    }
    return {};
}

// An interface that left a pool while a rule of that pool was being written did not see that it had
// a port: it gives it back here. Should this fail, the next write of the balancer does it.
void reclaim_ports(Services& services, const LoadBalancer& written) {
    if (written.nat_rules.empty()) {
        return;
    }
    const auto done = retrying<bool>(written.id, [&]() -> Outcome<std::optional<bool>> {
        auto found = fetch<LoadBalancer>(services.store, written.id);
        if (!found) {
            return refuse(std::move(found.error()));
        }
        Change change;
        auto facts = balancer_facts(services, change, written.id);
        if (!facts) {
            return refuse(std::move(facts.error()));
        }
        LoadBalancer next = found->value;
        if (auto errors = rules::seat(next, *facts); !errors.empty()) {
            return refuse(std::move(errors));
        }
        if (next == found->value) {
            return true;
        }
        auto committed = commit_replaced(services, change, std::move(next), found->revision);
        if (!committed) {
            return std::unexpected(std::move(committed.error()));
        }
        return *committed ? std::optional(true) : std::nullopt;
    });
    if (!done) {
        spdlog::warn("control: ports of '{}' are not given back yet: {}", written.id.str(),
                     done.error().front().message);
    }
}

PutSteps<LoadBalancer> balancer_steps(Services& services, const Call&) {
    PutSteps<LoadBalancer> steps;
    struct Seen {
        rules::BalancerFacts balancer;
        rules::Facts facts;
    };
    const auto seen = std::make_shared<Seen>();
    steps.admit = [&services, seen](const LoadBalancer& next,
                                    const std::optional<Stored<LoadBalancer>>& previous,
                                    rules::Facts facts, Change& change) -> Outcome<void> {
        rules::BalancerFacts all;
        if (previous && (!(previous->value == next) || !next.nat_rules.empty())) {
            auto users = balancer_facts(services, change, next.id);
            if (!users) {
                return refuse(std::move(users.error()));
            }
            all = std::move(*users);
            const auto pools = rules::pools_to_know(next, &previous->value);
            if (auto found = find_six_members(services, change, pools, all); !found) {
                return refuse(std::move(found.error()));
            }
        }
        *seen = {.balancer = all, .facts = facts};
        all.facts = std::move(facts);
        return accepted(rules::admit_put(next, previous ? &previous->value : nullptr, all));
    };
    steps.complete = [&services, seen](LoadBalancer& next,
                                       const std::optional<Stored<LoadBalancer>>& previous,
                                       Change& change) -> Outcome<void> {
        rules::set_six(next, seen->facts);
        if (auto errors = rules::seat(next, seen->balancer); !errors.empty()) {
            return refuse(std::move(errors));
        }
        return number_pools(services, next, previous ? &previous->value : nullptr, change);
    };
    steps.after = [&services](const LoadBalancer& next) { reclaim_ports(services, next); };
    return steps;
}

// Pools or inbound NAT rules of a balancer.
template <typename T>
using List = std::vector<T> LoadBalancer::*;

// A change of one of a list is a PUT of its balancer with that one changed; the balancer's ETag
// guards it.
template <typename T>
Outcome<Written<LoadBalancer>> edit_balancer(Services& services, const Call& call, List<T> list,
                                             const std::function<void(LoadBalancer&)>& edit) {
    const model::ResourceId id = call.id.parent();
    return retrying<Written<LoadBalancer>>(
        id, [&]() -> Outcome<std::optional<Written<LoadBalancer>>> {
            auto found = fetch<LoadBalancer>(services.store, id);
            if (!found) {
                return refuse(std::move(found.error()));
            }
            const bool existed = has_named(found->value.*list, call.id.name());
            if (auto wanted = check_preconditions(
                    call.request, existed ? std::optional(found->revision) : std::nullopt);
                !wanted) {
                return refuse(std::move(wanted.error()));
            }
            LoadBalancer next = found->value;
            edit(next);
            // what was read must still be there when the PUT below reads again
            http::Request guard;
            guard.headers.emplace_back("If-Match", wire::etag(found->revision));
            auto written = put_linked(services, call, &guard, next, balancer_steps(services, call));
            if (!written && written.error().front().code == Code::kPreconditionFailed) {
                return std::optional<Written<LoadBalancer>>();
            }
            if (!written) {
                return std::unexpected(std::move(written.error()));
            }
            written->created = !existed;
            return std::move(*written);
        });
}

template <typename T>
void put_part(Services& services, const Call& call, List<T> list, ReplyFn reply) {
    auto body = wire::read<T>(call.body, call.id);
    if (!body) {
        reply(errors_reply(body.error()));
        return;
    }
    // what is the server's comes back from what exists
    answer_child(services, call, std::move(reply),
                 edit_balancer(services, call, list,
                               [&](LoadBalancer& balancer) { put_named(balancer.*list, *body); }));
}

template <typename T>
void delete_part(Services& services, const Call& call, List<T> list, ReplyFn reply) {
    auto balancer = load<LoadBalancer>(services.store, call.id.parent());
    if (!balancer) {
        reply(error_reply(balancer.error()));
        return;
    }
    if (!*balancer || !has_named((*balancer)->value.*list, call.id.name())) {
        answer_delete(services, call, std::move(reply), Removed{});
        return;
    }
    auto outcome = edit_balancer(services, call, list, [&](LoadBalancer& next) {
        std::erase_if(next.*list,
                      [&](const T& each) { return model::same_name(each.name, call.id.name()); });
    });
    if (!outcome) {
        reply(errors_reply(outcome.error()));
        return;
    }
    answer_delete(services, call, std::move(reply), Removed{true, outcome->revision});
}

template <typename T>
void add_part_handlers(Registry& registry, Services& services, std::string_view part,
                       List<T> list) {
    const std::string type(part);
    registry.add(type, "PUT", type + "/write", [&services, list](const Call& call, ReplyFn reply) {
        put_part(services, call, list, std::move(reply));
    });
    registry.add(type, "DELETE", type + "/delete",
                 [&services, list](const Call& call, ReplyFn reply) {
                     delete_part(services, call, list, std::move(reply));
                 });
}

// The interface that a query is about; by an address it is looked for in the balancer's network.
Result<model::ResourceId> asked_about(store::Store& store, const LoadBalancer& balancer,
                                      const wire::PortQuery& query) {
    if (!query.address) {
        return query.configuration.parent();
    }
    for (const model::Frontend& frontend : balancer.frontends) {
        if (frontend.subnet.empty()) {
            continue;
        }
        const std::string vnet = frontend.subnet.parent().key();
        auto row = store.get(keys::address(vnet, query.address->str()));
        if (!row) {
            return std::unexpected(std::move(row.error()));
        }
        if (*row) {
            auto held = Reservation::parse((*row)->value);
            return held ? model::ResourceId::parse(held->owner)
                        : Result<model::ResourceId>(std::unexpected(std::move(held.error())));
        }
    }
    return model::ResourceId{};
}

// Which ports lead to one interface of a pool: az network lb list-mapping.
void query_ports(Services& services, const Call& call, const ReplyFn& reply) {
    auto query = wire::read_port_query(call.body);
    if (!query) {
        reply(errors_reply(query.error()));
        return;
    }
    auto balancer = fetch<LoadBalancer>(services.store, call.id.parent());
    if (!balancer) {
        reply(error_reply(balancer.error()));
        return;
    }
    if (!has_named(balancer->value.pools, call.id.name())) {
        reply(error_reply(not_found(call.id)));
        return;
    }
    auto nic = asked_about(services.store, balancer->value, *query);
    reply(nic ? Reply{.status = 200,
                      .body = wire::show_ports(balancer->value, call.id, *nic),
                      .headers = {}}
              : error_reply(nic.error()));
}

}  // namespace

Outcome<Removed> remove_balancer(Services& services, const http::Request* request,
                                 const model::ResourceId& id) {
    return remove_document<LoadBalancer>(
        services, request, id,
        [&](const Stored<LoadBalancer>& stored, Change& change) -> Outcome<void> {
            auto facts = balancer_facts(services, change, id);
            if (!facts) {
                return refuse(std::move(facts.error()));
            }
            if (auto errors = rules::admit_delete(stored.value, *facts); !errors.empty()) {
                return refuse(std::move(errors));
            }
            for (const BackendPool& pool : stored.value.pools) {
                release_number(change, Kind::kPool, pool.pool_index, 0,
                               pool_owner(stored.value, pool));
            }
            return {};
        });
}

void add_balancer_handlers(Registry& registry, Services& services) {
    add_document_handlers<LoadBalancer>(registry, services, types::kLoadBalancer, balancer_steps,
                                        remove_balancer);
    for (const auto child : {types::kFrontend, types::kBackendPool, types::kLbRule, types::kProbe,
                             types::kInboundNatRule}) {
        add_child_handlers<LoadBalancer>(registry, services, child);
    }
    add_part_handlers(registry, services, types::kBackendPool, &LoadBalancer::pools);
    add_part_handlers(registry, services, types::kInboundNatRule, &LoadBalancer::nat_rules);
    const std::string pool(types::kBackendPool);
    constexpr std::string_view kQuery = "queryInboundNatRulePortMapping";
    registry.add(pool, fmt::format("POST:{}", kQuery), fmt::format("{}/{}/action", pool, kQuery),
                 with(services, query_ports));
}

}  // namespace culvert::control
