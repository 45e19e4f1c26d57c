// SPDX-License-Identifier: Apache-2.0
// Every key of the store, in one place. Ids are lower case (ResourceId::key()).
//
//   /r/<id>                      a resource's document (wire::encode); connections below their
//                                service, subnets in their VNet
//   /ref/<target id>|<source id> the source refers to the target ("in use" is a prefix look-up);
//                                value: the source's id as given. A configuration inside a resource
//                                is a source of its own
//   /addr/<vnet id>|<ip>         an address of a VNet is taken; value: allocate.hpp, Reservation
//   /idx/<kind>/<number>         a number is taken (nic, vni (VNets), link, service, pool, node);
//                                value: Reservation
//   /released/<guid>             keys of reservations that one transaction gave up, one a line,
//                                until they are freed (hub_releases.hpp)
//   /holds/<node>                digest of what a node that is away holds (hub_core_holdings.cpp)
//   /alias/<alias, lower case>   value: the service's id
//   /node/<name>                 model::Node
//   /attach/<nic id>             model::Attachment
//   /tenant/<guid>  /sub/<guid>  /principal/<object id>  /app/<client id>  /user/<tenant>|<name>
//   /assign/<scope>|<guid>       role assignments
//   /join/<hash>                 one-time join tokens
//   /revoked/<serial number>     a node's certificate that is good no more
//   (certificate_records.hpp) /meta/epoch                  the last restore of the store:
//   "<number>-<random>" (backup.hpp,
//                                Epoch; absent: 0)
//   /meta/epoch-settled          the restore after which no node holds what was forgotten
//   /audit/<tenant>/<time>-<random>  who changed what (audit.hpp)
//   /meta/...                    schema, signing keys, CA
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace culvert::control::keys {

inline std::string resource(std::string_view id_key) { return "/r" + std::string(id_key); }
inline std::string ref(std::string_view target, std::string_view source) {
    return "/ref" + std::string(target) + "|" + std::string(source);
}
// every reference to `target`
inline std::string refs_to(std::string_view target) { return "/ref" + std::string(target) + "|"; }
// every reference to `target` or to anything below it
inline std::string refs_below(std::string_view target) {
    return "/ref" + std::string(target) + "/";
}
inline std::string address(std::string_view vnet, std::string_view ip) {
    return "/addr" + std::string(vnet) + "|" + std::string(ip);
}
// The VNet's id and the address of such a key; nothing of another one.
inline std::optional<std::pair<std::string_view, std::string_view>> parse_address(
    std::string_view key) {
    constexpr std::string_view kPrefix = "/addr/";
    const std::size_t bar = key.rfind('|');
    if (!key.starts_with(kPrefix) || bar == std::string_view::npos) {
        return std::nullopt;
    }
    const std::size_t id = kPrefix.size() - 1;
    return std::pair(key.substr(id, bar - id), key.substr(bar + 1));
}
inline std::string addresses(std::string_view vnet) { return "/addr" + std::string(vnet) + "|"; }
inline std::string index(std::string_view kind, std::uint32_t number) {
    return "/idx/" + std::string(kind) + "/" + std::to_string(number);
}
inline std::string alias(std::string_view lower_alias) {
    return "/alias/" + std::string(lower_alias);
}
inline std::string node(std::string_view name) { return "/node/" + std::string(name); }
// every NIC attached on a node
inline std::string attached_on(std::string_view node_name) { return refs_to(node(node_name)); }
inline std::string attachment(std::string_view nic_id) { return "/attach" + std::string(nic_id); }

inline constexpr std::string_view kReleased = "/released/";
inline bool is_release(std::string_view key) { return key.starts_with(kReleased); }

inline constexpr std::string_view kHolds = "/holds/";
inline std::string holds(std::string_view node) { return std::string(kHolds) + std::string(node); }

inline constexpr std::string_view kRevoked = "/revoked/";
inline bool is_revocation(std::string_view key) { return key.starts_with(kRevoked); }
inline std::string revocation(std::string_view serial) {
    return std::string(kRevoked) + std::string(serial);
}

inline constexpr std::string_view kEpoch = "/meta/epoch";
inline constexpr std::string_view kEpochSettled = "/meta/epoch-settled";
inline constexpr std::string_view kTenants = "/tenant/";
inline constexpr std::string_view kSubscriptions = "/sub/";
inline constexpr std::string_view kPrincipals = "/principal/";
inline constexpr std::string_view kAssignments = "/assign/";
inline constexpr std::string_view kSigningKeys = "/meta/signing-keys";
inline constexpr std::string_view kAudit = "/audit/";
inline constexpr std::string_view kHomeTenant = "/meta/home-tenant";
inline std::string tenant(std::string_view id) { return std::string(kTenants) + std::string(id); }
inline std::string subscription(std::string_view id) {
    return std::string(kSubscriptions) + std::string(id);
}
inline std::string principal(std::string_view id) {
    return std::string(kPrincipals) + std::string(id);
}
inline std::string app(std::string_view client) { return "/app/" + std::string(client); }
inline std::string user(std::string_view user_key) { return "/user/" + std::string(user_key); }
// `scope` normalized: starts with a slash
inline std::string assignment(std::string_view scope, std::string_view id) {
    return "/assign" + std::string(scope) + "|" + std::string(id);
}

}  // namespace culvert::control::keys
