// SPDX-License-Identifier: Apache-2.0
#include "agent/flow_ender.hpp"

#include "agent/migrate_check.hpp"
#include "base/log.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <chrono>
#include <ranges>
#include <utility>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Kind = api::Object;
using What = EndedService::What;

constexpr auto kGoOnFor = 2ms;
// After a walk that took long nothing is walked for so many times as long.
constexpr int kRest = 4;
constexpr auto kBrief = 10ms;  // what takes no longer needs no rest
constexpr std::size_t kNicsAtOnce = 4096;

// Whether the interface has come back since, and with it the link that this is a connection of.
bool came_back(const State& state, const Connection& connection, std::uint32_t nic) {
    const auto* interface = state.nic(nic);
    const auto* link = state.find({Kind::kLink, connection.link, 0});
    const End& end = connection.consumer.nic == nic ? connection.consumer : connection.backend;
    return interface != nullptr && interface->generation() == end.generation && link != nullptr &&
           link->link().generation() == connection.link_generation;
}

bool serves_again(const Applier::Tables& tables, const EndedService& one) {
    const auto table = tables.find(table_number(one.pool, one.probe));
    return table != tables.end() && std::ranges::binary_search(table->second.serving, one.nic);
}

bool is_over(const State& state, const Applier::Tables& tables, const Connection& connection,
             const EndedService& one) {
    if (one.what == What::kGone) {
        return !came_back(state, connection, one.nic);
    }
    if (connection.backend.nic != one.nic) {
        return false;
    }
    const api::Rule* rule = rule_of(state, connection);
    if (one.what == What::kUnruled) {
        return rule == nullptr;
    }
    return connection.protocol == IPPROTO_UDP && rule != nullptr && rule->pool() == one.pool &&
           rule->probe() == one.probe && !serves_again(tables, one);
}

}  // namespace

bool must_end(const State& state, const Applier::Tables& tables, const Connection& connection,
              const EndedServices& why) {
    const auto ends = [&](std::uint32_t nic) {
        const auto found = why.find(nic);
        return found != why.end() && std::ranges::any_of(found->second, [&](const auto& one) {
                   return is_over(state, tables, connection, one);
               });
    };
    return ends(connection.backend.nic) || ends(connection.consumer.nic);
}

void FlowEnder::note(const std::vector<EndedService>& ended) {
    for (const EndedService& one : ended) {
        auto& why = noted_[one.nic];
        if (std::ranges::find(why, one) == why.end()) {
            why.push_back(one);
        }
    }
}

bool FlowEnder::go_on(const State& state, const Applier::Tables& tables) {
    const auto start = Clock::now();
    if (!idle() && maps_.flows().value_or(1) == 0) {
        noted_.clear();
        ending_.clear();
    }
    while (!idle() && Clock::now() - start < kGoOnFor) {
        if (ending_.empty()) {
            if (Clock::now() < rest_until_) {
                return true;
            }
            for (auto next = noted_.begin();
                 next != noted_.end() && ending_.size() < kNicsAtOnce;) {
                ending_.insert(noted_.extract(next++));
            }
            walk_ = {};
            took_ = {};
            entries_ = 0;
            ++walks_;
        }
        const auto before = Clock::now();
        const auto done = step(state, tables);
        took_ += Clock::now() - before;
        if (!done) {
            spdlog::error("agent: end connections: {}", done.error().message);
        }
        if (!done || walk_.over) {
            conclude();
        }
    }
    return idle();
}

void FlowEnder::conclude() {
    if (entries_ != 0) {
        spdlog::info("agent: ended connections interfaces={} entries={}", ending_.size(), entries_);
    }
    ending_.clear();
    rest_until_ = took_ < kBrief ? SteadyTime{} : Clock::now() + kRest * took_;
}

// The kernel's entries are removed: what comes on such a connection is refused like any that nobody
// knows, so that both ends are told at their next packet.
Status FlowEnder::step(const State& state, const Applier::Tables& tables) {
    const auto nics = ending_ | std::views::keys;
    const auto copies = transfer_.step(walk_, std::vector(nics.begin(), nics.end()));
    if (!copies) {
        return std::unexpected(copies.error());
    }
    const auto now = datapath::kernel_now();
    datapath::FlowWrites writes;
    for (const auto& copy : *copies) {
        const auto connection = read_connection(copy, now);
        if (!connection || !must_end(state, tables, *connection, ending_)) {
            continue;
        }
        writes.remove.push_back(copy.key);
        if (copy.paired) {
            writes.remove.push_back(copy.flow.other);
        }
    }
    entries_ += writes.remove.size();
    return transfer_.write(writes);
}

}  // namespace culvert::agent
