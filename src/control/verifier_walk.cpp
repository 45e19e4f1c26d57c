// SPDX-License-Identifier: Apache-2.0
#include "control/verifier_walk.hpp"

#include "control/identity.hpp"
#include "control/node_documents.hpp"
#include "model/types.hpp"
#include "wire/wire.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::control {

namespace types = model::types;

namespace {

constexpr std::string_view kResources = "/r/";

// The part of `key` after `prefix`, nullopt when it does not begin so.
std::optional<std::string_view> after(std::string_view key, std::string_view prefix) {
    return key.starts_with(prefix) ? std::optional(key.substr(prefix.size())) : std::nullopt;
}

}  // namespace

StoreWalk::StoreWalk(const std::vector<store::KeyValue>& rows) {
    for (const store::KeyValue& row : rows) {
        rows_.emplace(row.key, row.value);
    }
}

void StoreWalk::find(const std::string& key, std::string message) {
    findings_.push_back(Finding{key, std::move(message)});
}

void StoreWalk::claim(std::string key, Claim claim) {
    const auto [there, added] = claims_.emplace(std::move(key), claim);
    if (!added) {
        find(there->first,
             fmt::format("allocated twice: to {} and to {}", there->second.by, claim.by));
    }
}

void StoreWalk::claim_number(Kind kind, std::uint32_t number, const model::ResourceId& owner,
                             std::optional<std::uint32_t> generation) {
    claim(keys::index(name_of(kind), number), Claim{.kind = Claim::Kind::kReservation,
                                                    .by = owner.str(),
                                                    .value = owner.key(),
                                                    .generation = generation,
                                                    .least_generation = {}});
}

void StoreWalk::claim_bindings(const Bindings& bindings, const model::ResourceId& by) {
    for (const auto& [key, source] : bindings) {
        claim(key,
              Claim{.by = by.str(), .value = source, .generation = {}, .least_generation = {}});
    }
}

template <typename T>
void StoreWalk::claim_addresses(const T& value) {
    for (const std::string& key : address_keys(value)) {
        claim(key, Claim{.kind = Claim::Kind::kReservation,
                         .by = value.id.str(),
                         .value = value.id.str(),
                         .generation = {},
                         .least_generation = {}});
    }
}

// --- documents -----------------------------------------------------------------------------------

template <typename T>
const T* StoreWalk::decode(const std::string& key, std::string_view text, Documents<T>& into) {
    auto value = wire::decode<T>(text);
    if (!value) {
        find(key, value.error().message);
        return nullptr;
    }
    if (keys::resource(value->id.key()) != key) {
        find(key, fmt::format("holds the document of {}", value->id.str()));
        return nullptr;
    }
    targets_.insert(value->id.key());
    return &into.emplace(value->id.key(), std::move(*value)).first->second;
}

void StoreWalk::check_group(const std::string& key, const model::ResourceId& id) {
    if (!id.segments.empty() && !has(keys::resource(id.group().key()))) {
        find(key, fmt::format("orphan: its resource group '{}' does not exist", id.resource_group));
    }
}

void StoreWalk::read_document(const std::string& key, std::string_view text) {
    const auto id = model::ResourceId::parse(std::string_view(key).substr(2));
    if (!id) {
        find(key, fmt::format("is no resource's key: {}", id.error().message));
        return;
    }
    ++resources_;
    check_group(key, *id);
    if (id->is_type(types::kResourceGroup)) {
        decode(key, text, groups_);
    } else if (id->is_type(types::kVirtualNetwork)) {
        if (const auto* value = decode(key, text, networks_)) {
            for (const model::Subnet& subnet : value->subnets) {
                targets_.insert(value->id.child("subnets", subnet.name).key());
            }
        }
    } else if (id->is_type(types::kNetworkInterface)) {
        decode(key, text, interfaces_);
    } else if (id->is_type(types::kLoadBalancer)) {
        if (const auto* value = decode(key, text, balancers_)) {
            for (const model::Frontend& frontend : value->frontends) {
                targets_.insert(value->id.child("frontendIPConfigurations", frontend.name).key());
            }
            for (const model::BackendPool& pool : value->pools) {
                targets_.insert(value->id.child("backendAddressPools", pool.name).key());
            }
            for (const model::Probe& probe : value->probes) {
                targets_.insert(value->id.child("probes", probe.name).key());
            }
            for (const model::InboundNatRule& rule : value->nat_rules) {
                targets_.insert(value->id.child("inboundNatRules", rule.name).key());
            }
        }
    } else if (id->is_type(types::kPrivateLinkService)) {
        decode(key, text, services_);
    } else if (id->is_type(types::kConnection)) {
        decode(key, text, connections_);
    } else if (id->is_type(types::kPrivateEndpoint)) {
        decode(key, text, endpoints_);
    } else {
        find(key, fmt::format("is of a type that this build does not know: {}", id->type()));
    }
}

void StoreWalk::read_documents() {
    for (const auto& [key, text] : rows_) {
        if (key.starts_with(kResources)) {
            read_document(key, text);
        }
    }
    const auto check_all = [this](const auto& documents) {
        for (const auto& [id, value] : documents) {
            check(value);
        }
    };
    check_all(networks_);
    check_all(interfaces_);
    check_all(balancers_);
    check_all(services_);
    check_all(endpoints_);
    check_all(connections_);
    check_targets();
}

void StoreWalk::check(const model::VirtualNetwork& value) {
    claim_number(Kind::kVni, value.vnet_index, value.id);
}

void StoreWalk::check(const model::NetworkInterface& value) {
    const std::string key = keys::resource(value.id.key());
    if (!value.private_link_service.empty()) {
        const auto service = services_.find(value.private_link_service.key());
        if (service == services_.end() || !(service->second.nic == value.id)) {
            find(key, fmt::format("orphan: it belongs to {}, which does not have it",
                                  value.private_link_service.str()));
        }
        return;
    }
    claim_bindings(bindings(value), value.id);
    if (!value.private_endpoint.empty()) {
        const auto endpoint = endpoints_.find(value.private_endpoint.key());
        if (endpoint == endpoints_.end() || !(endpoint->second.nic == value.id)) {
            find(key, fmt::format("orphan: it belongs to {}, which does not have it",
                                  value.private_endpoint.str()));
        } else if (value.ip_configurations.empty() ||
                   value.ip_configurations.front().address != endpoint->second.address) {
            find(key, fmt::format("its address is not that of {}", value.private_endpoint.str()));
        }
        return;
    }
    claim_number(Kind::kNic, value.nic_index, value.id, value.nic_generation);
    claim_addresses(value);
    check_nat_rules(value);
}

void StoreWalk::check(const model::LoadBalancer& value) {
    claim_bindings(bindings(value), value.id);
    claim_addresses(value);
    for (const model::BackendPool& pool : value.pools) {
        claim_number(Kind::kPool, pool.pool_index,
                     value.id.child("backendAddressPools", pool.name));
    }
    for (const model::LbRule& rule : value.rules) {
        for (const model::ResourceId* part : {&rule.frontend, &rule.pool, &rule.probe}) {
            if (!part->empty() && !targets_.contains(part->key())) {
                find(keys::resource(value.id.key()),
                     fmt::format("rule '{}' refers to {}, which does not exist", rule.name,
                                 part->str()));
            }
        }
    }
    check_nat_rules(value);
}

// Who has the port of a rule names it, and the other way round. Of a rule of a pool nothing
// follows: those of earlier versions have given no ports, and a crash may leave one given to who
// has left.
void StoreWalk::check_nat_rules(const model::LoadBalancer& value) {
    for (const model::InboundNatRule& rule : value.nat_rules) {
        if (!rule.pool.empty()) {
            continue;
        }
        for (const model::NatTarget& target : rule.targets) {
            const model::ResourceId nic = target.configuration.parent();
            const auto there = interfaces_.find(nic.key());
            const auto* by =
                there == interfaces_.end() ? nullptr : model::target_of(value, rule, there->second);
            if (by == nullptr ||
                !(nic.child("ipConfigurations", by->name) == target.configuration)) {
                find(keys::resource(value.id.key()),
                     fmt::format("port {} of inbound NAT rule '{}' leads to {}, which does not say "
                                 "so",
                                 target.port, rule.name, target.configuration.str()));
            }
        }
    }
}

void StoreWalk::check_nat_rules(const model::NetworkInterface& value) {
    for (const model::NicIpConfiguration& configuration : value.ip_configurations) {
        for (const model::ResourceId& id : configuration.nat_rules) {
            const auto balancer = balancers_.find(id.parent().key());
            const bool leads =
                balancer != balancers_.end() &&
                std::ranges::any_of(balancer->second.nat_rules, [&](const auto& rule) {
                    return model::same_name(rule.name, id.name()) && rule.pool.empty() &&
                           std::ranges::any_of(rule.targets, [&](const auto& target) {
                               return target.configuration.parent() == value.id;
                           });
                });
            if (!leads) {
                find(keys::resource(value.id.key()),
                     fmt::format("inbound NAT rule {} does not lead to it", id.str()));
            }
        }
    }
}

void StoreWalk::check(const model::PrivateLinkService& value) {
    claim_bindings(bindings(value), value.id);
    claim_addresses(value);
    claim_number(Kind::kService, value.service_index, value.id);
    claim(keys::alias(model::lower(value.alias)), Claim{.by = value.id.str(),
                                                        .value = value.id.str(),
                                                        .generation = {},
                                                        .least_generation = {}});
    const auto nic = interfaces_.find(value.nic.key());
    if (nic == interfaces_.end() || !(nic->second.private_link_service == value.id)) {
        find(keys::resource(value.id.key()),
             fmt::format("its interface {} is missing or another's", value.nic.str()));
    }
}

void StoreWalk::check(const model::PrivateEndpoint& value) {
    const std::string key = keys::resource(value.id.key());
    claim_bindings(bindings(value), value.id);
    claim_addresses(value);
    const auto nic = interfaces_.find(value.nic.key());
    if (nic == interfaces_.end() || !(nic->second.private_endpoint == value.id)) {
        find(key, fmt::format("its interface {} is missing or another's", value.nic.str()));
    }
    // without its connection it is Disconnected, which is no fault
    const auto connection = connections_.find(value.connection.key());
    if (connection != connections_.end() && !(connection->second.private_endpoint == value.id)) {
        find(key, fmt::format("its connection {} is that of {}", value.connection.str(),
                              connection->second.private_endpoint.str()));
    }
}

void StoreWalk::check(const model::PrivateEndpointConnection& value) {
    const std::string key = keys::resource(value.id.key());
    claim(keys::index(name_of(Kind::kLink), value.link_id),
          Claim{.kind = Claim::Kind::kReservation,
                .by = value.id.str(),
                .value = value.id.key(),
                .generation = {},
                .least_generation = value.link_generation});
    if (!services_.contains(value.id.parent().key())) {
        find(key, "orphan: its service does not exist");
    }
    const auto endpoint = endpoints_.find(value.private_endpoint.key());
    if (endpoint == endpoints_.end()) {
        find(key,
             fmt::format("orphan: its endpoint {} does not exist", value.private_endpoint.str()));
    } else if (!(endpoint->second.connection == value.id)) {
        find(key,
             fmt::format("its endpoint {} names another connection", value.private_endpoint.str()));
    }
}

// Every reference must lead to something.
void StoreWalk::check_targets() {
    for (const auto& [key, claim] : claims_) {
        const auto rest = after(key, "/ref");
        if (!rest) {
            continue;
        }
        const std::string target(rest->substr(0, rest->find('|')));
        if (!targets_.contains(target)) {
            find(key, fmt::format("{} refers to {}, which does not exist", claim.by, target));
        }
    }
}

// --- the rest ------------------------------------------------------------------------------------

void StoreWalk::read_platform() {
    struct Reader {
        std::string_view prefix;
        void (StoreWalk::*read)(const std::string& key, std::string_view text);
    };
    static constexpr Reader kReaders[] = {{"/node/", &StoreWalk::read_node},
                                          {"/attach/", &StoreWalk::read_attachment},
                                          {"/join/", &StoreWalk::read_join_token},
                                          {keys::kPrincipals, &StoreWalk::read_principal},
                                          {keys::kSubscriptions, &StoreWalk::read_subscription},
                                          {keys::kAssignments, &StoreWalk::read_assignment},
                                          {"/released/", &StoreWalk::read_release}};
    for (const auto& [key, text] : rows_) {
        for (const Reader& reader : kReaders) {
            if (key.starts_with(reader.prefix)) {
                (this->*reader.read)(key, text);
            }
        }
    }
}

void StoreWalk::read_node(const std::string& key, std::string_view text) {
    const auto node = decode_node(text);
    if (!node) {
        find(key, node.error().message);
        return;
    }
    if (keys::node(node->name) != key) {
        find(key, fmt::format("holds the document of node {}", node->name));
    }
    const Claim mine{.kind = Claim::Kind::kReservation,
                     .by = "node " + node->name,
                     .value = node->name,
                     .generation = {},
                     .least_generation = {}};
    claim(keys::index("node", node->index), mine);
    if (const auto outer = net::Ipv4::parse(node->outer)) {
        claim(keys::index("outer", outer->value), mine);
    } else {
        find(key, fmt::format("its backbone address '{}' is none", node->outer));
    }
}

void StoreWalk::read_attachment(const std::string& key, std::string_view text) {
    const auto attachment = decode_attachment(text);
    if (!attachment) {
        find(key, attachment.error().message);
        return;
    }
    const std::string nic = attachment->nic.key();
    if (keys::attachment(nic) != key) {
        find(key, fmt::format("holds the attachment of {}", attachment->nic.str()));
    }
    if (!interfaces_.contains(nic)) {
        find(key, "orphan: its interface does not exist");
    }
    if (!has(keys::node(attachment->node))) {
        find(key, fmt::format("orphan: its node '{}' does not exist", attachment->node));
    }
    claim(
        keys::ref(keys::node(attachment->node), nic),
        Claim{.by = key, .value = attachment->nic.str(), .generation = {}, .least_generation = {}});
}

void StoreWalk::read_join_token(const std::string& key, std::string_view text) {
    if (const auto token = decode_join_token(text); !token) {
        find(key, token.error().message);
    }
}

void StoreWalk::read_principal(const std::string& key, std::string_view text) {
    const auto principal = decode_principal(text);
    if (!principal) {
        find(key, principal.error().message);
        return;
    }
    if (keys::principal(principal->id) != key) {
        find(key, fmt::format("holds the document of principal {}", principal->id));
    }
    if (!has(keys::tenant(principal->tenant))) {
        find(key, fmt::format("orphan: its tenant {} does not exist", principal->tenant));
    }
    claim(Identity::documents_of(*principal).back().first,
          Claim{.by = key, .value = principal->id, .generation = {}, .least_generation = {}});
}

void StoreWalk::read_subscription(const std::string& key, std::string_view text) {
    const auto subscription = decode_subscription(text);
    if (!subscription) {
        find(key, subscription.error().message);
    } else if (!has(keys::tenant(subscription->tenant))) {
        find(key, fmt::format("orphan: its tenant {} does not exist", subscription->tenant));
    }
}

void StoreWalk::read_assignment(const std::string& key, std::string_view text) {
    const auto assignment = decode_role_assignment(text);
    if (!assignment) {
        find(key, assignment.error().message);
        return;
    }
    if (keys::assignment(assignment->what.scope, assignment->what.id) != key) {
        find(key, fmt::format("holds the role assignment {}", assignment->what.id));
    }
    if (!has(keys::principal(assignment->what.principal))) {
        find(key,
             fmt::format("orphan: its principal {} does not exist", assignment->what.principal));
    }
}

void StoreWalk::read_release(const std::string& key, std::string_view text) {
    std::vector<std::string>& keys = releases_[key];
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        keys.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

}  // namespace culvert::control
