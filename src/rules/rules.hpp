// SPDX-License-Identifier: Apache-2.0
// rules decides; it does nothing. validate() judges a body alone, admit_*() judges it against facts
// that the handler prefetched (with compares on what it read, so that the decision still holds when
// the transaction commits). Each returns every error it finds, empty: allowed. Messages name the
// field and the remedy; `target` is the field path or the resource id; codes are arm-contract 12.
// Pure: no store, no clock, no randomness.
//
// A PUT or DELETE of a subnet is a change of its virtual network's document: put the subnet into a
// copy of the network, then validate and admit the network.
//
// The order of a PUT: read, keep_server_fields, validate, [prefetch], admit_put, choose addresses.
#pragma once

#include "model/resources.hpp"
#include "rules/facts.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::rules {

using Errors = std::vector<Error>;

// admit_*() rely on a value that validate() found nothing wrong with.
//
// The body alone: names, prefixes, counts, ports, combinations (arm-contract 11, 12).
Errors validate(const model::ResourceGroup& value);
Errors validate(const model::VirtualNetwork& value);  // its subnets too
Errors validate(const model::NetworkInterface& value);
Errors validate(const model::LoadBalancer& value);
Errors validate(const model::PrivateLinkService& value);
Errors validate(const model::PrivateEndpoint& value);

// Copies what the server owns from the existing resource into the one read from a PUT, matched by
// name inside lists: guid, indices, alias, NIC, connection, ports of inbound NAT rules, and the
// address of each dynamic configuration whose subnet is unchanged. Call it whenever the resource
// exists.
void keep_server_fields(model::ResourceGroup& next, const model::ResourceGroup& previous);
void keep_server_fields(model::VirtualNetwork& next, const model::VirtualNetwork& previous);
void keep_server_fields(model::NetworkInterface& next, const model::NetworkInterface& previous);
void keep_server_fields(model::LoadBalancer& next, const model::LoadBalancer& previous);
void keep_server_fields(model::PrivateLinkService& next, const model::PrivateLinkService& previous);
void keep_server_fields(model::PrivateEndpoint& next, const model::PrivateEndpoint& previous);

// Every resource a value refers to, with the field that says so: what to prefetch into
// Facts::networks/balancers (by document_of(id)) or Facts::others, and what to write as reference
// keys. Endpoint targets are not among them: they are resolved by the handler (id or alias).
struct Reference {
    model::ResourceId id;
    std::string field;
};
std::vector<Reference> references(const model::NetworkInterface& value);
std::vector<Reference> references(const model::LoadBalancer& value);
std::vector<Reference> references(const model::PrivateLinkService& value);
std::vector<Reference> references(const model::PrivateEndpoint& value);

// The linked permission a caller needs on a referenced resource ("" for types without one), to be
// asked of Services::authorize at the reference's id.
std::string_view join_permission(const model::ResourceId& id);

// Every address a value has or wants in a virtual network. `address` empty: dynamic and not chosen
// yet; the handler picks one of candidates() and calls set_address(value, slot.index, address).
struct AddressSlot {
    std::size_t index = 0;
    model::ResourceId subnet;
    std::optional<net::Ipv4> address;
    std::string field;
};
std::vector<AddressSlot> address_slots(const model::NetworkInterface& value);
std::vector<AddressSlot> address_slots(const model::LoadBalancer& value);
std::vector<AddressSlot> address_slots(const model::PrivateLinkService& value);
std::vector<AddressSlot> address_slots(const model::PrivateEndpoint& value);
void set_address(model::NetworkInterface& value, std::size_t index, net::Ipv4 address);
void set_address(model::LoadBalancer& value, std::size_t index, net::Ipv4 address);
void set_address(model::PrivateLinkService& value, std::size_t index, net::Ipv4 address);
void set_address(model::PrivateEndpoint& value, std::size_t index, net::Ipv4 address);

// IPv6 (docs/decisions/0016): whether an endpoint asks for an address, and the addresses themselves
// once those of IPv4 are chosen.
bool has_six(const model::PrivateEndpoint& value);
void set_six(model::NetworkInterface& value, const Facts& facts);
void set_six(model::LoadBalancer& value, const Facts& facts);
void set_six(model::PrivateLinkService& value, const Facts& facts);
void set_six(model::PrivateEndpoint& value, const Facts& facts);

// Whether backends of a pool are reached by IPv6: as the frontend of its rules; nothing: it has
// none. And the pools for which this was not so before, while the balancer has to do with IPv6:
// their members must be known (BalancerFacts::six_members).
std::optional<bool> reached_by_six(const model::LoadBalancer& balancer, std::string_view pool);
std::vector<std::string> pools_to_know(const model::LoadBalancer& next,
                                       const model::LoadBalancer* previous);

// Usable: in the subnet and neither among its first four addresses nor its last one (Azure's five
// reserved addresses), for each of its prefixes.
bool usable(const model::Subnet& subnet, net::Ipv4 address);
std::uint64_t usable_count(const model::Subnet& subnet);

// Every usable address of a subnet once: from a place in its upper half that `start` says (any
// number, from Random), then from its beginning. People give static addresses from the beginning of
// a subnet, so what is dynamic stays out of their way while there is room.
class Candidates {
  public:
    Candidates(const model::Subnet& subnet, std::uint64_t start);
    std::optional<net::Ipv4> next();  // nullopt: all seen; answer subnet_full()

  private:
    std::vector<net::Ipv4Prefix> prefixes_;
    std::uint64_t total_ = 0;
    std::uint64_t at_ = 0;
    std::uint64_t seen_ = 0;
};
Error subnet_full(const model::ResourceId& subnet, std::string_view field);

// Gives out the ports of the balancer's inbound NAT rules (decision 0019). Who has a port keeps it
// while it leads there; who is new gets the lowest that is free.
//
// `nic` comes into pools or rules, or leaves them (without configurations: it goes).
Errors seat(model::LoadBalancer& balancer, const model::NetworkInterface& nic);
// The rules have changed.
Errors seat(model::LoadBalancer& balancer, const BalancerFacts& facts);

// PUT against the world. `previous`: the existing resource, nullptr when it is new.
Errors admit_put(const model::ResourceGroup& next, const model::ResourceGroup* previous);
Errors admit_put(const model::VirtualNetwork& next, const model::VirtualNetwork* previous,
                 const NetworkFacts& facts);
Errors admit_put(const model::NetworkInterface& next, const model::NetworkInterface* previous,
                 const NicFacts& facts);
Errors admit_put(const model::LoadBalancer& next, const model::LoadBalancer* previous,
                 const BalancerFacts& facts);
Errors admit_put(const model::PrivateLinkService& next, const model::PrivateLinkService* previous,
                 const ServiceFacts& facts);
// Also decides nothing about approval: see initial_state() for a new endpoint.
Errors admit_put(const model::PrivateEndpoint& next, const model::PrivateEndpoint* previous,
                 const EndpointFacts& facts);

// Do the addresses of the network matter for this PUT (a prefix in use may go)? If not,
// NetworkFacts::taken may stay empty.
bool needs_taken_addresses(const model::VirtualNetwork& next,
                           const model::VirtualNetwork* previous);

Errors admit_delete(const model::VirtualNetwork& value, const NetworkFacts& facts);
Errors admit_delete_subnet(const model::VirtualNetwork& value, std::string_view subnet,
                           const NetworkFacts& facts);
Errors admit_delete(const model::NetworkInterface& value, const NicFacts& facts);
Errors admit_delete(const model::LoadBalancer& value, const BalancerFacts& facts);
Errors admit_delete(const model::PrivateLinkService& value, const ServiceFacts& facts);
// Groups, endpoints and connections may always be deleted.

// The state a new endpoint's connection starts in (privatelink-semantics 1.2): Approved, Pending,
// or an error: InvalidResourceReference when the target does not exist or is not visible to the
// consumer (the two cannot be told apart), LinkedAuthorizationFailed (kPermissionDenied) when an
// automatic request lacks the right to approve.
Result<model::ConnectionState> initial_state(const model::LinkRequest& request,
                                             const TargetFacts& target);

// Is `service` visible to `subscription`: by alias the list alone decides, by id the list or the
// caller's right to read it. And is the subscription on its auto-approval list?
bool visible(const model::PrivateLinkService& service, std::string_view subscription, bool by_alias,
             bool caller_may_read);
bool auto_approved(const model::PrivateLinkService& service, std::string_view subscription);

// (A connection that starts Approved starts with a generation of its own.)
// The owner's PUT on a connection: the new value, its link_generation one more for every entry into
// Approved from another state (privatelink-semantics 1.2; approving a rejected connection is
// allowed, it starts a new generation). Disconnected is terminal and cannot be asked for.
Result<model::PrivateEndpointConnection> update_connection(
    const model::PrivateEndpointConnection& current, const model::ConnectionState& asked);

// Sets which NAT address each connection has for its own, where the service wants that; none
// elsewhere. Who has one keeps it while it is the service's; the others get free ones in the order
// of their links. Error: kConflict, more approved connections than NAT addresses.
Status share_nat(const model::PrivateLinkService& service,
                 std::vector<model::PrivateEndpointConnection>& connections);

// Is the target of a request an alias (not a resource id)?
bool is_alias(std::string_view target);
// "West Europe" and "westeurope" are one location.
bool same_location(std::string_view a, std::string_view b);

}  // namespace culvert::rules
