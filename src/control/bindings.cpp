// SPDX-License-Identifier: Apache-2.0
#include "control/bindings.hpp"

#include "model/types.hpp"

#include <fmt/format.h>

namespace culvert::control {
namespace {

using model::ResourceId;
namespace types = model::types;

constexpr int kAddressProbes = 12;

void add(Bindings& out, const ResourceId& target, const ResourceId& source) {
    if (!target.empty()) {
        out.emplace(keys::ref(target.key(), source.key()), source.str());
    }
}

struct Holder {
    ResourceId id;
    bool released = false;  // then it is the one who had it
};

Result<std::optional<Holder>> holder_of(store::Store& store, const std::string& key) {
    auto row = store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (!*row) {
        return std::optional<Holder>();
    }
    auto held = Reservation::parse((*row)->value);
    if (!held) {
        return std::unexpected(prefixed(std::move(held.error()), key));
    }
    auto owner = ResourceId::parse(held->owner);
    if (!owner) {
        return std::unexpected(prefixed(std::move(owner.error()), key));
    }
    return Holder{std::move(*owner), held->state == Reservation::State::kReleased};
}

template <typename T>
Status load_into(Services& services, Change& change, const ResourceId& id,
                 std::map<std::string, T>& into) {
    if (into.contains(id.key())) {
        return {};
    }
    auto found = load<T>(services.store, id);
    if (!found) {
        return std::unexpected(std::move(found.error()));
    }
    if (*found) {
        change.require(still(id, *found));
        into.emplace(id.key(), std::move((*found)->value));
    }
    return {};
}

Status load_other(Services& services, Change& change, const ResourceId& id,
                  std::set<std::string>& others) {
    const std::string key = keys::resource(id.key());
    auto row = services.store.get(key);
    if (!row) {
        return std::unexpected(std::move(row.error()));
    }
    if (*row) {
        change.require(store::present(key));
        others.insert(id.key());
    }
    return {};
}

}  // namespace

Bindings bindings(const model::VirtualNetwork&) { return {}; }

Bindings bindings(const model::NetworkInterface& value) {
    Bindings out;
    for (const auto& configuration : value.ip_configurations) {
        const ResourceId source = value.id.child("ipConfigurations", configuration.name);
        add(out, configuration.subnet, source);
        for (const ResourceId& pool : configuration.pools) {
            add(out, pool, source);
        }
        for (const ResourceId& rule : configuration.nat_rules) {
            add(out, rule, source);
        }
    }
    if (value.six) {
        for (const ResourceId& pool : value.six->pools) {
            add(out, pool, value.id.child("ipConfigurations", value.six->name));
        }
    }
    return out;
}

std::map<std::string, ResourceId> balancers_of(const model::NetworkInterface& value) {
    std::map<std::string, ResourceId> out;
    for (const auto& configuration : value.ip_configurations) {
        for (const auto* list : {&configuration.pools, &configuration.nat_rules}) {
            for (const ResourceId& part : *list) {
                ResourceId balancer = model::document_of(part);
                std::string key = balancer.key();
                out.emplace(std::move(key), std::move(balancer));
            }
        }
    }
    return out;
}

Bindings bindings(const model::LoadBalancer& value) {
    Bindings out;
    for (const auto& frontend : value.frontends) {
        const ResourceId source = value.id.child("frontendIPConfigurations", frontend.name);
        add(out, frontend.subnet, source);
        add(out, frontend.public_ip, source);
    }
    return out;
}

Bindings bindings(const model::PrivateLinkService& value) {
    Bindings out;
    for (const auto& nat : value.nat) {
        add(out, nat.subnet, value.id.child("ipConfigurations", nat.name));
    }
    for (const ResourceId& frontend : value.frontends) {
        add(out, frontend, value.id);
    }
    return out;
}

Bindings bindings(const model::PrivateEndpoint& value) {
    Bindings out;
    add(out, value.subnet, value.id);
    // of the network itself only endpoints are referrers: that is how they are counted
    add(out, value.subnet.parent(), value.id);
    // INVARIANT: a reference is bound only to what check_references() has asked about, or strangers
    // could pin each other's resources. Security groups are shown, nothing stands on them.
    return out;
}

void rebind(Change& change, const Bindings* previous, const Bindings* next) {
    if (previous != nullptr) {
        for (const auto& [key, source] : *previous) {
            if (next == nullptr || !next->contains(key)) {
                change.erase(key);
            }
        }
    }
    if (next != nullptr) {
        for (const auto& [key, source] : *next) {
            if (previous == nullptr || !previous->contains(key)) {
                change.put(key, source);
            }
        }
    }
}

void release_addresses(Change& change, const ResourceId& owner, const AddressKeys& previous,
                       const AddressKeys& next) {
    const Reservation held{.generation = 0, .owner = owner.str()};
    for (const std::string& key : previous) {
        if (!next.contains(key)) {
            change.release(key, held);
        }
    }
}

Status hold_addresses(const Services& services, Change& change, const ResourceId& owner,
                      const AddressKeys& previous, const AddressKeys& next) {
    release_addresses(change, owner, previous, next);
    const Reservation held{.generation = 0, .owner = owner.str()};
    for (const std::string& key : next) {
        if (!previous.contains(key)) {
            CULVERT_TRY_STATUS(may_allocate(services));
            change.require(store::absent(key));
            change.put(key, held.str());
        }
    }
    return {};
}

Status check_references(const Services& services, const Caller& caller,
                        const std::vector<rules::Reference>& references) {
    std::set<std::string> seen;
    for (const rules::Reference& reference : references) {
        if (!seen.insert(reference.id.key()).second) {
            continue;
        }
        const std::string action = model::canonical(reference.id).type() + "/join/action";
        CULVERT_TRY_STATUS(check_linked(services, caller, action, reference.id));
    }
    return {};
}

Result<rules::Facts> gather(Services& services, Change& change,
                            const std::vector<rules::Reference>& references,
                            const std::vector<rules::AddressSlot>& slots) {
    rules::Facts facts;
    for (const rules::Reference& reference : references) {
        const ResourceId document = model::document_of(reference.id);
        if (document.is_type(types::kVirtualNetwork)) {
            CULVERT_TRY_STATUS(load_into(services, change, document, facts.networks));
        } else if (document.is_type(types::kLoadBalancer)) {
            CULVERT_TRY_STATUS(load_into(services, change, document, facts.balancers));
        } else {
            CULVERT_TRY_STATUS(load_other(services, change, document, facts.others));
        }
    }
    for (const rules::AddressSlot& slot : slots) {
        if (!slot.address) {
            continue;
        }
        const std::string network = slot.subnet.parent().key();
        auto holder = holder_of(services.store, keys::address(network, slot.address->str()));
        if (!holder) {
            return std::unexpected(std::move(holder.error()));
        }
        if (*holder) {
            if ((*holder)->released) {
                facts.released.emplace(network, *slot.address);
            }
            facts.holders.emplace(std::pair(network, *slot.address), std::move((*holder)->id));
        }
    }
    return facts;
}

Result<net::Ipv4> pick_address(Services& services, const model::VirtualNetwork& network,
                               const rules::AddressSlot& slot, const AddressKeys& chosen) {
    const auto subnet = std::find_if(
        network.subnets.begin(), network.subnets.end(),
        [&](const auto& each) { return model::same_name(each.name, slot.subnet.name()); });
    if (subnet == network.subnets.end()) {
        return std::unexpected(not_found(slot.subnet));
    }
    CULVERT_TRY_STATUS(may_allocate(services));
    const std::string vnet = network.id.key();
    // most subnets have room: ask for single keys first
    for (int probe = 0; probe < kAddressProbes; ++probe) {
        const auto address = rules::Candidates(*subnet, services.random.u64()).next();
        if (!address) {
            break;
        }
        const std::string key = keys::address(vnet, address->str());
        if (chosen.contains(key)) {
            continue;
        }
        auto row = services.store.get(key);
        if (!row) {
            return std::unexpected(std::move(row.error()));
        }
        if (!*row) {
            return *address;
        }
    }
    const std::string prefix = keys::addresses(vnet);
    auto taken = services.store.range(
        store::Range{.key = prefix, .range_end = store::prefix_end(prefix), .keys_only = true});
    if (!taken) {
        return std::unexpected(std::move(taken.error()));
    }
    AddressKeys all = chosen;
    for (store::KeyValue& row : taken->kvs) {
        all.insert(std::move(row.key));
    }
    rules::Candidates candidates(*subnet, services.random.u64());
    for (auto address = candidates.next(); address; address = candidates.next()) {
        if (!all.contains(keys::address(vnet, address->str()))) {
            return *address;
        }
    }
    return std::unexpected(rules::subnet_full(slot.subnet, slot.field));
}

}  // namespace culvert::control
