// SPDX-License-Identifier: Apache-2.0
// How connections open: which backend, which NAT address and port.
#include "tests/oracle/oracle.hpp"

#include "abi/limits.h"

#include <algorithm>

namespace culvert::oracle {
namespace {

// What of a tuple decides.
Tuple hashed(const Tuple& at, std::uint8_t fields) {
    Tuple part{at.source, at.destination, 0, 0, 0};
    if (fields == 5) {
        part.sport = at.sport;
        part.dport = at.dport;
    }
    if (fields != 2) {
        part.protocol = at.protocol;
    }
    return part;
}

}  // namespace

// Whether the chosen backend (0: none) is one that may be chosen. Where the data plane found none
// though it had to, the oracle takes the first, and what follows differs.
Node::Reason Node::choose(std::uint32_t link, const Rule& rule, const Tuple& at,
                          const Choice& choice, Fate& fate) {
    const auto& table = intent_.pools.at(rule.pool).table;
    const bool all_open = std::ranges::none_of(
        table, [&](std::uint32_t backend) { return is_closed(intent_.nics.at(backend).node); });
    fate.target = choice.backend;
    if (table.empty() || (choice.backend == 0 && !all_open)) {
        return "NO_BACKEND";
    }
    if (choice.backend == 0) {
        fate.target = table.front();
        return {};
    }
    if (std::ranges::find(table, choice.backend) == table.end()) {
        fate.breach = "a backend that is not in the pool's table";
        fate.target = table.front();
    } else if (is_closed(intent_.nics.at(choice.backend).node)) {
        fate.breach = "a backend on a node that takes no connections";
    } else if (all_open) {
        const auto [before, first] = affine_.try_emplace(
            {link * 8 + rule.affinity, hashed(at, rule.affinity), table}, choice.backend);
        if (!first && before->second != choice.backend) {
            fate.breach = "another backend for the same hashed part of the tuple";
        }
    }
    return {};
}

Node::Reason Node::open(const Key& key, std::uint32_t id, std::uint32_t consumer,
                        const Choice& choice, Fate& fate) {
    const Link& link = intent_.links.at(id);
    const auto rule = intent_.rules.find(RuleKey{link.service, key.at.dport, key.at.protocol});
    if (rule == intent_.rules.end()) {
        return "NO_RULE";
    }
    if (auto refusal = choose(id, rule->second, key.at, choice, fate)) {
        return refusal;
    }
    const Nic& backend = intent_.nics.at(fate.target);
    if (backend.node == index_) {
        return open_pair(key, id, rule->second, consumer, fate.target, choice, fate);
    }
    Flow flow;
    flow.primary = flow.remote = true;
    flow.link = id;
    flow.link_generation = link.generation;
    flow.nic = fate.target;
    flow.nic_generation = backend.generation;
    flow.source = consumer;
    flow.source_generation = intent_.nics.at(consumer).generation;
    flows_[key] = flow;
    return {};
}

Node::Reason Node::open_pair(const Key& key, std::uint32_t id, const Rule& rule,
                             std::uint32_t consumer, std::uint32_t backend, const Choice& choice,
                             Fate& fate) {
    const Link& link = intent_.links.at(id);
    const Nic& to = intent_.nics.at(backend);
    const Nic& from = intent_.nics.at(consumer);
    const auto& nat = intent_.nat.at(link.service);
    const Key reverse{
        false, backend, {to.address, choice.nat, rule.backend_port, choice.port, key.at.protocol}};
    if (std::ranges::find(nat, choice.nat) == nat.end() || choice.nat == to.address) {
        fate.breach = "a NAT address that is not the service's";
    } else if (choice.port < CV_NAT_PORT_MIN) {
        fate.breach = "a NAT port below the range";
    } else if (flows_.contains(reverse)) {
        fate.breach = "a NAT port that is taken";
    }
    Flow flow;
    flow.paired = flow.rewritten = true;
    flow.link = id;
    flow.link_generation = link.generation;
    flow.nic = consumer;
    flow.nic_generation = from.generation;
    flow.source = backend;
    flow.source_generation = to.generation;
    flow.remote = key.link;
    flow.out = key.at.turned();
    flow.other = key;
    flows_[reverse] = flow;

    flow.primary = true;
    flow.remote = false;
    std::swap(flow.nic, flow.source);
    std::swap(flow.nic_generation, flow.source_generation);
    flow.out = reverse.at.turned();
    flow.other = reverse;
    flows_[key] = flow;
    return {};
}

// Whether a connection through the link would find a backend; while nodes are closed the answer is
// the data plane's.
bool Node::is_alive(const Tuple& at, std::uint32_t id, bool answered) {
    const Link& link = intent_.links.at(id);
    bool unsure = false;
    for (std::uint16_t number = 0; number < CV_PING_POOLS_MAX; number++) {
        const auto rule = intent_.rules.find(RuleKey{link.service, number, at.protocol});
        if (rule == intent_.rules.end()) {
            break;
        }
        const auto& table = intent_.pools.at(rule->second.pool).table;
        const auto closed = std::ranges::count_if(
            table, [&](std::uint32_t backend) { return is_closed(intent_.nics.at(backend).node); });
        if (!table.empty() && closed == 0) {
            return true;
        }
        unsure = unsure || static_cast<std::size_t>(closed) < table.size();
    }
    return unsure && answered;
}

}  // namespace culvert::oracle
