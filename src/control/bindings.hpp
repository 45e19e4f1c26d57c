// SPDX-License-Identifier: Apache-2.0
// What ties a resource to others in the store: reference keys and addresses, written and taken back
// in the resource's own transaction; and the facts that admission needs about the resources it
// refers to.
#pragma once

#include "control/allocate.hpp"
#include "control/resources.hpp"

#include <map>
#include <set>
#include <string>

namespace culvert::control {

// Reference key -> source id as given. A configuration inside a resource is a source of its own, so
// that back-references (subnet.ipConfigurations, pool.backendIPConfigurations) can be shown from
// the keys alone.
using Bindings = std::map<std::string, std::string>;
Bindings bindings(const model::VirtualNetwork& value);
Bindings bindings(const model::NetworkInterface& value);
Bindings bindings(const model::LoadBalancer& value);
Bindings bindings(const model::PrivateLinkService& value);
Bindings bindings(const model::PrivateEndpoint& value);

// The load balancers whose pools and inbound NAT rules an interface is in, by key.
std::map<std::string, model::ResourceId> balancers_of(const model::NetworkInterface& value);

// Writes the references that `next` has and `previous` had not, erases those it no longer has.
// Either may be null.
void rebind(Change& change, const Bindings* previous, const Bindings* next);

// {virtual network's key, address}
using AddressKeys = std::set<std::string>;
template <typename T>
AddressKeys address_keys(const T& value) {
    AddressKeys out;
    for (const rules::AddressSlot& slot : rules::address_slots(value)) {
        if (slot.address) {
            out.insert(keys::address(slot.subnet.parent().key(), slot.address->str()));
        }
    }
    return out;
}
// Releases the addresses that are gone.
void release_addresses(Change& change, const model::ResourceId& owner, const AddressKeys& previous,
                       const AddressKeys& next);
// And takes those that are new: each must be absent. Errors: those of may_allocate().
Status hold_addresses(const Services& services, Change& change, const model::ResourceId& owner,
                      const AddressKeys& previous, const AddressKeys& next);

// May the caller join everything the value refers to? (LinkedAuthorizationFailed)
Status check_references(const Services& services, const Caller& caller,
                        const std::vector<rules::Reference>& references);

// Loads what the references name and who holds the addresses of the slots; the change requires that
// it stays so.
Result<rules::Facts> gather(Services& services, Change& change,
                            const std::vector<rules::Reference>& references,
                            const std::vector<rules::AddressSlot>& slots);

// A free address of the subnet. `chosen`: keys that this change has already picked.
Result<net::Ipv4> pick_address(Services& services, const model::VirtualNetwork& network,
                               const rules::AddressSlot& slot, const AddressKeys& chosen);

// Gives every slot without an address one. The networks are in the facts, admission has seen to
// that.
template <typename T>
Status choose_addresses(Services& services, const rules::Facts& facts, T& value) {
    for (const rules::AddressSlot& slot : rules::address_slots(value)) {
        if (slot.address) {
            continue;
        }
        const auto network = facts.networks.find(slot.subnet.parent().key());
        if (network == facts.networks.end()) {
            return std::unexpected(not_found(slot.subnet));
        }
        auto address = pick_address(services, network->second, slot, address_keys(value));
        if (!address) {
            return std::unexpected(std::move(address.error()));
        }
        rules::set_address(value, slot.index, *address);
    }
    return {};
}

}  // namespace culvert::control
