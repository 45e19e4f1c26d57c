// SPDX-License-Identifier: Apache-2.0
// Load balancers, and their children out of the same document.
#include "control/document_handlers.hpp"
#include "model/types.hpp"

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

PutSteps<LoadBalancer> balancer_steps(Services& services, const Call&) {
    PutSteps<LoadBalancer> steps;
    const auto seen = std::make_shared<rules::Facts>();
    steps.admit = [&services, seen](const LoadBalancer& next,
                                    const std::optional<Stored<LoadBalancer>>& previous,
                                    rules::Facts facts, Change& change) -> Outcome<void> {
        *seen = facts;
        rules::BalancerFacts all;
        if (previous && !(previous->value == next)) {
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
        all.facts = std::move(facts);
        return accepted(rules::admit_put(next, previous ? &previous->value : nullptr, all));
    };
    steps.complete = [&services, seen](LoadBalancer& next,
                                       const std::optional<Stored<LoadBalancer>>& previous,
                                       Change& change) {
        rules::set_six(next, *seen);
        return number_pools(services, next, previous ? &previous->value : nullptr, change);
    };
    return steps;
}

bool has_pool(const LoadBalancer& balancer, std::string_view name) {
    return find_named(balancer.pools, name) != balancer.pools.end();
}

// A change of one pool is a PUT of its balancer with that pool changed; the balancer's ETag guards
// it.
Outcome<Written<LoadBalancer>> edit_balancer(Services& services, const Call& call,
                                             const std::function<void(LoadBalancer&)>& edit) {
    const model::ResourceId id = call.id.parent();
    return retrying<Written<LoadBalancer>>(
        id, [&]() -> Outcome<std::optional<Written<LoadBalancer>>> {
            auto found = fetch<LoadBalancer>(services.store, id);
            if (!found) {
                return refuse(std::move(found.error()));
            }
            const bool existed = has_pool(found->value, call.id.name());
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

void put_pool(Services& services, const Call& call, ReplyFn reply) {
    auto body = wire::read<BackendPool>(call.body, call.id);
    if (!body) {
        reply(errors_reply(body.error()));
        return;
    }
    // its number comes back from what exists
    answer_child(services, call, std::move(reply),
                 edit_balancer(services, call,
                               [&](LoadBalancer& balancer) { put_named(balancer.pools, *body); }));
}

void delete_pool(Services& services, const Call& call, ReplyFn reply) {
    auto balancer = load<LoadBalancer>(services.store, call.id.parent());
    if (!balancer) {
        reply(error_reply(balancer.error()));
        return;
    }
    if (!*balancer || !has_pool((*balancer)->value, call.id.name())) {
        answer_delete(services, call, std::move(reply), Removed{});
        return;
    }
    auto outcome = edit_balancer(services, call, [&](LoadBalancer& next) {
        std::erase_if(next.pools, [&](const BackendPool& pool) {
            return model::same_name(pool.name, call.id.name());
        });
    });
    if (!outcome) {
        reply(errors_reply(outcome.error()));
        return;
    }
    answer_delete(services, call, std::move(reply), Removed{true, outcome->revision});
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
    for (const auto child :
         {types::kFrontend, types::kBackendPool, types::kLbRule, types::kProbe}) {
        add_child_handlers<LoadBalancer>(registry, services, child);
    }
    const std::string pool(types::kBackendPool);
    registry.add(pool, "PUT", pool + "/write", with(services, put_pool));
    registry.add(pool, "DELETE", pool + "/delete", with(services, delete_pool));
}

}  // namespace culvert::control
