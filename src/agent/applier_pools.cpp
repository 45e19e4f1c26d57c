// SPDX-License-Identifier: Apache-2.0
// Pools: who of their members serves, by liveness, draining and health, and what ends with that.
#include "agent/applier.hpp"

#include "abi/echo.h"

#include <netinet/in.h>

#include <algorithm>

namespace culvert::agent {
namespace {

using Kind = api::Object;
using What = EndedService::What;

std::span<const std::uint32_t> members_of(const api::Pool& pool) {
    return {pool.members().data(), static_cast<std::size_t>(pool.members_size())};
}

std::vector<std::uint32_t> without(std::span<const std::uint32_t> these,
                                   std::span<const std::uint32_t> others) {
    std::vector<std::uint32_t> out;
    std::ranges::set_difference(these, others, std::back_inserter(out));
    return out;
}

// Which tables a pool has, as api::Rule.probe counts.
std::vector<std::uint32_t> tables_of(const api::Pool& pool) {
    std::vector<std::uint32_t> out;
    if (pool.probes().empty() || pool.unprobed()) {
        out.push_back(0);
    }
    for (int at = 0; at < pool.probes_size(); ++at) {
        out.push_back(static_cast<std::uint32_t>(at) + 1);
    }
    return out;
}

bool has_rule(const api::Service& service, const api::Rule& rule) {
    return std::ranges::any_of(service.rules(), [&](const api::Rule& each) {
        return each.protocol() == rule.protocol() && each.port() == rule.port() &&
               each.pool() == rule.pool() && each.backend_port() == rule.backend_port();
    });
}

}  // namespace

bool Applier::is_open(std::uint32_t node) const {
    return node == node_ ? !draining_ : state_of(node) == CV_NODE_OPEN;
}

// A node that hears nobody keeps to its own backends where a pool has some; where it has none the
// table stays: silence says nothing about others then.
std::vector<std::uint32_t> Applier::serving(const api::Pool& pool, std::uint32_t probe) const {
    const auto count = static_cast<std::uint32_t>(pool.probes_size());
    const api::Probe* probed =
        probe == 0 || probe > count ? nullptr : &pool.probes(static_cast<int>(probe) - 1);
    std::vector<std::uint32_t> out;
    std::vector<std::uint32_t> here;
    std::vector<std::uint32_t> reachable;
    for (const std::uint32_t nic : pool.members()) {
        const auto found = homes_.find(nic);
        const Home home = found == homes_.end() ? Home{} : found->second;
        const auto up = [&](std::uint32_t id) {
            return health_.is_up(nic, home.generation, pool.id(), id, home.node);
        };
        if (!is_open(home.node) || (home.node == node_ && !home.plumbed) || !up(0)) {
            continue;
        }
        reachable.push_back(nic);
        if (probed != nullptr && !up(probed->id())) {
            continue;
        }
        out.push_back(nic);
        if (home.node == node_) {
            here.push_back(nic);
        }
    }
    if (out.empty() && probed != nullptr && probed->all_up()) {
        return reachable;
    }
    return reach_.isolated && !here.empty() ? here : out;
}

// Members that serve no more though their node does: what has no connection goes elsewhere.
void Applier::note_ended(const Table& table, std::span<const std::uint32_t> serving) {
    if (!datagram_tables_.contains(table_number(table.pool, table.probe))) {
        return;  // no datagram can have found it
    }
    for (const std::uint32_t nic : without(table.serving, serving)) {
        const auto home = homes_.find(nic);
        if (home != homes_.end() && is_open(home->second.node)) {
            ended_.push_back(
                {.nic = nic, .what = What::kDatagrams, .pool = table.pool, .probe = table.probe});
        }
    }
}

Status Applier::refresh_table(std::uint32_t number, Table& table, const api::Pool& pool) {
    auto now = serving(pool, table.probe);
    if (now == table.serving) {
        return {};
    }
    CULVERT_TRY_STATUS(maps_.set_table(number, now));
    note_ended(table, now);
    table.serving = std::move(now);
    return {};
}

Status Applier::refresh_pools(const State& state) {
    for (auto& [number, table] : tables_) {
        const auto* object = state.find({Kind::kPool, table.pool, 0});
        if (object != nullptr) {
            CULVERT_TRY_STATUS(refresh_table(number, table, object->pool()));
        }
    }
    for (const auto& [number, table] : retired_) {
        CULVERT_TRY_STATUS(maps_.clear_pool(number, table.members));
    }
    retired_.clear();
    pools_stale_ = false;
    return {};
}

void Applier::retire(const Table& table, std::uint32_t number) {
    retired_.insert_or_assign(number, table);
    pools_stale_ = true;
}

Status Applier::apply_pool(const Change& change) {
    std::map<std::uint32_t, std::uint32_t> wanted;  // number -> probe
    if (change.after) {
        for (const std::uint32_t probe : tables_of(change.after->pool())) {
            wanted[table_number(change.key.id, probe)] = probe;
        }
    }
    if (change.before) {
        for (const std::uint32_t probe : tables_of(change.before->pool())) {
            const std::uint32_t number = table_number(change.key.id, probe);
            const auto held = tables_.find(number);
            if (!wanted.contains(number) && held != tables_.end()) {
                // rules that lead there change after this
                retire(held->second, number);
                tables_.erase(held);
            }
        }
    }
    for (const auto& [number, probe] : wanted) {
        const api::Pool& pool = change.after->pool();
        auto left = retired_.extract(number);
        const auto held = tables_.find(number);
        Table before = held != tables_.end() ? held->second : left ? left.mapped() : Table{};
        Table now{.pool = pool.id(),
                  .probe = probe,
                  .members = {pool.members().begin(), pool.members().end()},
                  .serving = serving(pool, probe)};
        tables_[number] = now;  // what is half made is taken back by it
        CULVERT_TRY_STATUS(maps_.set_pool(number, before.members, now.members, now.serving));
        note_ended(before, now.serving);
    }
    if (change.before) {
        const auto after =
            change.after ? members_of(change.after->pool()) : std::span<const std::uint32_t>();
        for (const std::uint32_t nic : without(members_of(change.before->pool()), after)) {
            ended_.push_back({.nic = nic, .what = What::kUnruled});
        }
    }
    return {};
}

void Applier::count_datagram_rules(std::uint32_t service, const api::Service* now) {
    for (const std::uint32_t table : std::exchange(datagram_rules_[service], {})) {
        if (--datagram_tables_.at(table) == 0) {
            datagram_tables_.erase(table);
        }
    }
    if (now == nullptr) {
        datagram_rules_.erase(service);
        return;
    }
    for (const api::Rule& rule : now->rules()) {
        if (rule.protocol() == 0 || rule.protocol() == IPPROTO_UDP) {
            const std::uint32_t table = table_number(rule.pool(), rule.probe());
            datagram_rules_[service].push_back(table);
            ++datagram_tables_[table];
        }
    }
}

// Connections by rules that are gone end; those of a service that is gone end with its links.
void Applier::note_rules(const api::Service& before, const api::Service* after) {
    for (const api::Rule& rule : before.rules()) {
        if (after == nullptr || has_rule(*after, rule)) {
            continue;
        }
        const auto table = tables_.find(table_number(rule.pool(), rule.probe()));
        const auto retired = retired_.find(table_number(rule.pool(), rule.probe()));
        const Table* from = table != tables_.end()      ? &table->second
                            : retired != retired_.end() ? &retired->second
                                                        : nullptr;
        for (const std::uint32_t nic :
             from == nullptr ? std::vector<std::uint32_t>{} : from->members) {
            ended_.push_back({.nic = nic, .what = What::kUnruled});
        }
    }
}

bool Applier::set_health(const HealthKey& key, bool up) {
    const bool changed = health_.set(key, up);
    pools_stale_ = pools_stale_ || changed;
    return changed;
}

bool Applier::hear_of(std::uint32_t node) {
    const bool fresh = health_.speaks(node);
    pools_stale_ = pools_stale_ || fresh;
    return fresh;
}

void Applier::forget_health(const std::function<bool(const HealthKey&)>& known) {
    health_.retain(known);
}

}  // namespace culvert::agent
