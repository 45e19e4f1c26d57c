// SPDX-License-Identifier: Apache-2.0
#include "rules/common.hpp"

#include "base/limits.hpp"
#include "model/types.hpp"

#include <algorithm>

namespace culvert::rules {
namespace {

bool alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

}  // namespace

void Findings::add(std::string_view arm_code, std::string_view field, std::string_view what,
                   Code code) {
    if (errors_.size() < limits::kErrorsPerBody) {
        errors_.push_back(Error{code,
                                fmt::format("{}: {}", field, what),
                                std::string(field),
                                std::string(arm_code),
                                {}});
    }
}

void check_name(Findings& findings, std::string_view field, std::string_view name,
                std::size_t max_chars) {
    if (name.empty() || name.size() > max_chars) {
        findings.add("InvalidResourceName", field,
                     fmt::format("a name of {} characters is not allowed, use 1 to {}", name.size(),
                                 max_chars));
        return;
    }
    const bool good =
        std::ranges::all_of(
            name, [](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; }) &&
        alphanumeric(name.front()) && (alphanumeric(name.back()) || name.back() == '_');
    if (!good) {
        findings.add("InvalidResourceName", field,
                     "use letters, digits, '-', '_' and '.' only, start with a letter or digit, "
                     "end with a letter, digit or '_'");
    }
}

void NameSet::add(std::string_view name) {
    const std::string field = fmt::format("{}[{}].name", list_, index_++);
    check_name(findings_, field, name, limits::kResourceNameChars);
    if (!seen_.insert(model::lower(name)).second) {
        findings_.add(kContent, field,
                      fmt::format("'{}' is used twice in this list, names must differ", name));
    }
}

void check_type(Findings& findings, std::string_view field, const model::ResourceId& id,
                std::string_view type) {
    if (!id.is_type(type)) {
        findings.add(kReference, field,
                     id.empty() ? fmt::format("is missing, give the id of a {}", type)
                                : fmt::format("'{}' is not the id of a {}", id.str(), type));
    }
}

void check_local(Findings& findings, std::string_view field, const model::ResourceId& id,
                 std::string_view type, const model::ResourceId& self) {
    check_type(findings, field, id, type);
    if (id.is_type(type) && !model::same_name(id.subscription, self.subscription)) {
        findings.add(kReference, field,
                     fmt::format("is of subscription '{}', use one of '{}'", id.subscription,
                                 self.subscription));
    }
}

std::string_view join_permission(const model::ResourceId& id) {
    if (id.is_type(model::types::kSubnet)) {
        return "Microsoft.Network/virtualNetworks/subnets/join/action";
    }
    if (id.is_type(model::types::kBackendPool)) {
        return "Microsoft.Network/loadBalancers/backendAddressPools/join/action";
    }
    if (id.is_type(model::types::kFrontend)) {
        return "Microsoft.Network/loadBalancers/frontendIPConfigurations/join/action";
    }
    if (id.is_type(model::types::kPublicAddress)) {
        return "Microsoft.Network/publicIPAddresses/join/action";
    }
    return {};
}

void check_location_kept(Findings& findings, const model::Resource& next,
                         const model::Resource* previous) {
    if (previous != nullptr && !same_location(next.location, previous->location)) {
        findings.add("InvalidResourceLocation", "location",
                     fmt::format("the resource exists in '{}' and cannot move to '{}'; delete it "
                                 "first or use another name",
                                 previous->location, next.location),
                     Code::kConflict);
    }
}

bool same_location(std::string_view a, std::string_view b) {
    const auto plain = [](std::string_view text) {
        std::string out = model::lower(text);
        std::erase(out, ' ');
        return out;
    };
    return plain(a) == plain(b);
}

Place find_place(const Facts& facts, const model::ResourceId& subnet) {
    Place place;
    const auto found = facts.networks.find(model::document_of(subnet).key());
    if (found == facts.networks.end()) {
        return place;
    }
    place.network = &found->second;
    for (const auto& candidate : place.network->subnets) {
        if (model::same_name(candidate.name, subnet.name())) {
            place.subnet = &candidate;
        }
    }
    return place;
}

Place require_place(Findings& findings, const Facts& facts, std::string_view field,
                    const model::ResourceId& subnet) {
    const Place place = find_place(facts, subnet);
    if (place.network == nullptr) {
        findings.add(kReference, field,
                     fmt::format("virtual network '{}' does not exist; create it first",
                                 model::document_of(subnet).str()));
    } else if (place.subnet == nullptr) {
        findings.add(
            kReference, field,
            fmt::format("subnet '{}' does not exist in virtual network '{}'; create it first",
                        subnet.name(), place.network->id.name()));
    }
    return place;
}

void check_region(Findings& findings, const model::Resource& value,
                  const model::VirtualNetwork& network) {
    if (!same_location(value.location, network.location)) {
        findings.add(kReference, "location",
                     fmt::format("'{}' is not the location of virtual network '{}'; use '{}'",
                                 value.location, network.id.name(), network.location));
    }
}

void check_addresses(Findings& findings, const model::ResourceId& self,
                     const std::vector<AddressSlot>& slots, const Facts& facts) {
    std::set<std::pair<std::string, net::Ipv4>> own;
    for (const AddressSlot& slot : slots) {
        const Place place = find_place(facts, slot.subnet);
        if (!slot.address || place.subnet == nullptr) {
            continue;
        }
        const auto inside = std::ranges::find_if(
            place.subnet->prefixes,
            [&slot](const net::Ipv4Prefix& prefix) { return prefix.contains(*slot.address); });
        const std::pair key{place.network->id.key(), *slot.address};
        const auto holder = facts.holders.find(key);
        if (inside == place.subnet->prefixes.end()) {
            std::vector<std::string> prefixes;
            prefixes.reserve(place.subnet->prefixes.size());
            for (const auto& prefix : place.subnet->prefixes) {
                prefixes.push_back(prefix.str());
            }
            findings.add(
                "PrivateIPAddressNotInSubnet", slot.field,
                fmt::format("{} is not in subnet '{}' ({}); choose an address of it or "
                            "set privateIPAllocationMethod to Dynamic",
                            slot.address->str(), place.subnet->name, fmt::join(prefixes, ", ")));
        } else if (!usable(*place.subnet, *slot.address)) {
            findings.add("PrivateIPAddressInReservedRange", slot.field,
                         fmt::format("{} is reserved: the first four and the last address of {} "
                                     "cannot be used; choose another",
                                     slot.address->str(), inside->str()));
        } else if (!own.insert(key).second) {
            findings.add("PrivateIPAddressInUse", slot.field,
                         fmt::format("{} is used twice in this resource; choose another address",
                                     slot.address->str()));
        } else if (facts.released.contains(key)) {
            findings.add("PrivateIPAddressInUse", slot.field,
                         fmt::format("{} was given up and is not free yet: nodes may not know, or "
                                     "connections that began with it go on; choose another "
                                     "address or try again later",
                                     slot.address->str()));
        } else if (holder != facts.holders.end() && !(holder->second == self)) {
            findings.add("PrivateIPAddressInUse", slot.field,
                         fmt::format("{} is in use by '{}'; choose another address or set "
                                     "privateIPAllocationMethod to Dynamic",
                                     slot.address->str(), holder->second.str()));
        }
    }
}

namespace {

template <typename T>
const T* find_named(const std::vector<T>& list, std::string_view name) {
    const auto at = std::ranges::find_if(
        list, [&](const T& each) { return model::same_name(each.name, name); });
    return at == list.end() ? nullptr : &*at;
}

}  // namespace

const model::Frontend* find_frontend(const model::LoadBalancer& balancer, std::string_view name) {
    return find_named(balancer.frontends, name);
}

const model::BackendPool* find_pool(const model::LoadBalancer& balancer, std::string_view name) {
    return find_named(balancer.pools, name);
}

const model::InboundNatRule* find_nat_rule(const model::LoadBalancer& balancer,
                                           std::string_view name) {
    return find_named(balancer.nat_rules, name);
}

void check_own(Findings& findings, const std::string& field, const model::LoadBalancer& value,
               const model::ResourceId& id, std::string_view type, bool known) {
    if (!id.is_type(type) || !(id.parent() == value.id)) {
        findings.add(kReference, field,
                     fmt::format("'{}' is not one of this load balancer's own; use '{}/...'",
                                 id.str(), value.id.str()));
    } else if (!known) {
        findings.add(kReference, field,
                     fmt::format("'{}' is not in this body; add it or name another", id.name()));
    }
}

void check_idle(Findings& findings, const std::string& base, std::uint32_t minutes) {
    constexpr std::uint32_t kMin = 4;
    constexpr std::uint32_t kMax = 100;
    if (minutes < kMin || minutes > kMax) {
        findings.add(kContent, base + ".idleTimeoutInMinutes",
                     fmt::format("{} is not from {} to {}", minutes, kMin, kMax));
    }
}

std::string some_of(const std::vector<model::ResourceId>& ids) {
    constexpr std::size_t kShown = 3;
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < std::min(ids.size(), kShown); ++i) {
        shown.push_back("'" + ids[i].str() + "'");
    }
    const std::string more =
        ids.size() > kShown ? fmt::format(" and {} more", ids.size() - kShown) : "";
    return fmt::format("{}{}", fmt::join(shown, ", "), more);
}

std::vector<model::ResourceId> others_than(const std::vector<model::ResourceId>& ids,
                                           const model::ResourceId& self) {
    std::vector<model::ResourceId> out;
    for (const auto& id : ids) {
        if (!(id == self)) {
            out.push_back(id);
        }
    }
    return out;
}

}  // namespace culvert::rules
