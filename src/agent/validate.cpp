// SPDX-License-Identifier: Apache-2.0
#include "agent/validate.hpp"

#include "abi/dhcp.h"
#include "abi/limits.h"
#include "abi/six.h"
#include "abi/wire.h"
#include "agent/state.hpp"
#include "base/probe_limits.hpp"
#include "datapath/outer.hpp"
#include "runtime/digest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

namespace culvert::agent {
namespace {

constexpr std::size_t kNameChars = 255;
constexpr std::size_t kPathChars = 3 * limits::kProbePathChars + 1;  // escaped
constexpr std::size_t kTextChars = 64;  // addresses and ids of attachments

struct Bounds {
    std::uint32_t nics;
    std::uint32_t links;
};

Status require(bool holds, std::string_view what) {
    if (!holds) {
        return fail(Code::kInvalidArgument, std::string(what));
    }
    return {};
}

bool is_vnet(std::uint32_t id) { return id != 0 && id <= CV_VNI_ID_MASK; }
bool is_port(std::uint32_t port) { return port != 0 && port <= 65535; }

// An address that an interface or an endpoint may have, or none.
bool is_six(const std::string& bytes) {
    constexpr std::size_t kBytes = 16;
    const auto first = bytes.empty() ? 0 : static_cast<unsigned char>(bytes.front());
    return bytes.empty() || (bytes.size() == kBytes && first != 0 && first < 0xfe);
}

// No address that stands for IPv6 inside.
bool is_plain(std::uint32_t address) {
    return address != 0 && (address & CV_SIX_PREFIX) != CV_SIX_PREFIX;
}

bool is_prefix(const api::Prefix& prefix) {
    if (prefix.length() > 32) {
        return false;
    }
    const std::uint64_t host_bits = (std::uint64_t{1} << (32 - prefix.length())) - 1;
    return (prefix.base() & host_bits) == 0;
}

Status check(const api::NodeConfig& config) {
    CULVERT_TRY_STATUS(
        require(config.node() != 0 && config.node() < CV_NODES_MAX, "node index out of range"));
    CULVERT_TRY_STATUS(require(is_port(config.udp_port()), "udp_port out of range"));
    CULVERT_TRY_STATUS(require(config.nic_limit() > 1 && config.nic_limit() <= CV_VNI_ID_MASK,
                               "nic_limit out of range"));
    return require(config.link_limit() > 1 && config.link_limit() <= CV_VNI_ID_MASK,
                   "link_limit out of range");
}

Status check(const api::Peer& peer) {
    CULVERT_TRY_STATUS(
        require(peer.node() != 0 && peer.node() < CV_NODES_MAX, "node index out of range"));
    CULVERT_TRY_STATUS(require(peer.name().size() <= kNameChars, "name too long"));
    return require(peer.outer().size() <= kTextChars &&
                       datapath::OuterAddress::parse(peer.outer()).has_value(),
                   "not a backbone address");
}

Status check(const api::Network& network) {
    CULVERT_TRY_STATUS(require(is_vnet(network.vnet()), "VNet id out of range"));
    const auto count = static_cast<std::size_t>(network.prefixes_size());
    CULVERT_TRY_STATUS(require(count <= limits::kPrefixesPerVirtualNetwork, "too many prefixes"));
    for (const auto& prefix : network.prefixes()) {
        CULVERT_TRY_STATUS(require(is_prefix(prefix), "not an address prefix"));
    }
    return {};
}

Status check(const api::Nic& nic, const Bounds& bounds) {
    CULVERT_TRY_STATUS(
        require(nic.index() != 0 && nic.index() < bounds.nics, "NIC index out of range"));
    CULVERT_TRY_STATUS(
        require(!nic.id().empty() && nic.id().size() <= limits::kResourceIdChars, "id too long"));
    CULVERT_TRY_STATUS(require(is_vnet(nic.vnet()), "VNet id out of range"));
    CULVERT_TRY_STATUS(require(is_plain(nic.address()), "no address, or one inside"));
    CULVERT_TRY_STATUS(require(is_prefix(nic.subnet()), "not an address prefix"));
    CULVERT_TRY_STATUS(require(is_six(nic.six()), "not an IPv6 address"));
    CULVERT_TRY_STATUS(require(nic.node() < CV_NODES_MAX && nic.other_node() < CV_NODES_MAX,
                               "node index out of range"));
    CULVERT_TRY_STATUS(require(nic.dns_size() <= CV_LEASE_DNS_MAX, "too many name servers"));
    return require(nic.attachment().size() <= kTextChars, "attachment id too long");
}

Status check(const api::Address& address, const Bounds& bounds) {
    CULVERT_TRY_STATUS(require(is_vnet(address.vnet()), "VNet id out of range"));
    CULVERT_TRY_STATUS(require(is_plain(address.address()), "no address, or one inside"));
    const std::uint32_t id = address.id();
    const bool has_six = !address.six().empty();
    CULVERT_TRY_STATUS(
        require(is_six(address.six()) && !(has_six && address.kind() == api::ADDRESS_NIC),
                "not an IPv6 address of an endpoint, a NAT address or a frontend"));
    CULVERT_TRY_STATUS(
        require(!address.six_only() || (has_six && address.kind() == api::ADDRESS_ENDPOINT),
                "IPv6 alone is for an endpoint that has it"));
    switch (address.kind()) {
        case api::ADDRESS_NIC:
            return require(id != 0 && id < bounds.nics, "NIC index out of range");
        case api::ADDRESS_ENDPOINT:
            return require(id != 0 && id < bounds.links, "link id out of range");
        case api::ADDRESS_NAT: return require(id != 0, "no service");
        case api::ADDRESS_FRONTEND: return {};
        default: return require(false, "unknown kind of address");
    }
}

Status check(const api::Rule& rule) {
    // 0: every protocol, every port (HA ports)
    CULVERT_TRY_STATUS(require(rule.protocol() <= 255, "protocol out of range"));
    CULVERT_TRY_STATUS(
        require(rule.port() <= 65535 && rule.backend_port() <= 65535, "port out of range"));
    CULVERT_TRY_STATUS(require(rule.pool() != 0, "no pool"));
    CULVERT_TRY_STATUS(require(rule.probe() <= limits::kProbesPerPool, "no such probe"));
    return require(rule.affinity() == 5 || rule.affinity() == 3 || rule.affinity() == 2,
                   "affinity is 5, 3 or 2");
}

Status check(const api::Service& service) {
    CULVERT_TRY_STATUS(require(service.id() != 0, "no id"));
    CULVERT_TRY_STATUS(
        require(service.resource_id().size() <= limits::kResourceIdChars, "resource id too long"));
    CULVERT_TRY_STATUS(require(is_vnet(service.provider_vnet()), "VNet id out of range"));
    CULVERT_TRY_STATUS(
        require(service.nat_size() >= 1 && service.nat_size() <= CV_NAT_ADDRESSES_MAX,
                "1 to 8 NAT addresses"));
    CULVERT_TRY_STATUS(require(std::ranges::all_of(service.nat(), is_plain),
                               "a NAT address that is none, or one inside"));
    const auto rules = static_cast<std::size_t>(service.rules_size());
    CULVERT_TRY_STATUS(require(rules <= limits::kRulesPerLoadBalancer, "too many rules"));
    for (const auto& rule : service.rules()) {
        CULVERT_TRY_STATUS(check(rule));
    }
    return {};
}

Status check(const api::Probe& probe) {
    CULVERT_TRY_STATUS(require(probe.id() != 0, "probe without an id"));
    CULVERT_TRY_STATUS(require(probe.name().size() <= kNameChars, "name of a probe too long"));
    CULVERT_TRY_STATUS(
        require(probe.protocol() >= api::PROBE_TCP && probe.protocol() <= api::PROBE_HTTPS,
                "unknown protocol of a probe"));
    CULVERT_TRY_STATUS(require(is_port(probe.port()), "port of a probe out of range"));
    const bool http = probe.protocol() != api::PROBE_TCP;
    const std::string& path = probe.path();
    const bool plain = std::ranges::all_of(path, [](char letter) {
        return letter > ' ' && letter < 0x7f;  // it becomes a line of a request
    });
    CULVERT_TRY_STATUS(require(path.size() <= kPathChars && plain && http != path.empty(),
                               "not a path of a probe"));
    CULVERT_TRY_STATUS(require(probe.interval_ms() >= limits::kShortestProbeInterval.count() &&
                                   probe.interval_ms() <= limits::kLongestProbeInterval.count(),
                               "interval of a probe out of range"));
    return require(probe.threshold() >= 1 && probe.threshold() <= limits::kProbeThreshold,
                   "threshold of a probe out of range");
}

Status check(const api::Pool& pool, const Bounds& bounds) {
    CULVERT_TRY_STATUS(require(pool.id() != 0, "no id"));
    CULVERT_TRY_STATUS(require(pool.members_size() <= CV_MAGLEV_SIZE, "too many members"));
    std::uint32_t last = 0;
    for (const std::uint32_t nic : pool.members()) {
        CULVERT_TRY_STATUS(require(nic > last, "members not ascending"));
        CULVERT_TRY_STATUS(require(nic < bounds.nics, "NIC index out of range"));
        last = nic;
    }
    CULVERT_TRY_STATUS(
        require(pool.resource_id().size() <= limits::kResourceIdChars, "resource id too long"));
    const auto probes = static_cast<std::size_t>(pool.probes_size());
    CULVERT_TRY_STATUS(require(probes <= limits::kProbesPerPool, "too many probes"));
    CULVERT_TRY_STATUS(require(probes == 0 || pool.id() < limits::kProbedPools,
                               "no room for its probes beside its id"));
    std::unordered_set<std::uint32_t> ids;
    for (const auto& probe : pool.probes()) {
        CULVERT_TRY_STATUS(check(probe));
        CULVERT_TRY_STATUS(require(ids.insert(probe.id()).second, "two probes of one id"));
    }
    return {};
}

Status check(const api::Link& link, const Bounds& bounds) {
    CULVERT_TRY_STATUS(require(link.id() != 0 && link.id() < bounds.links, "link id out of range"));
    CULVERT_TRY_STATUS(require(
        link.state() == api::LINK_APPROVED || link.state() == api::LINK_REFUSED, "unknown state"));
    CULVERT_TRY_STATUS(require(is_vnet(link.consumer_vnet()), "VNet id out of range"));
    return require(link.endpoint_id().size() <= limits::kResourceIdChars, "endpoint id too long");
}

Status check(const api::Move& move, const Bounds& bounds) {
    CULVERT_TRY_STATUS(
        require(move.nic() != 0 && move.nic() < bounds.nics, "NIC index out of range"));
    const auto is_node = [](std::uint32_t node) { return node != 0 && node < CV_NODES_MAX; };
    CULVERT_TRY_STATUS(
        require(is_node(move.from()) && is_node(move.to()), "node index out of range"));
    CULVERT_TRY_STATUS(require(move.from() != move.to(), "leads to where it comes from"));
    CULVERT_TRY_STATUS(require(!move.attachment().empty(), "no attachment id"));
    CULVERT_TRY_STATUS(require(move.attachment().size() <= kTextChars, "attachment id too long"));
    return require(move.stage() >= api::MOVE_PREPARING && move.stage() <= api::MOVE_SETTLING,
                   "unknown stage");
}

Status check(const api::Object& object, const Bounds& bounds) {
    switch (object.kind_case()) {
        case api::Object::kConfig: return check(object.config());
        case api::Object::kPeer: return check(object.peer());
        case api::Object::kNetwork: return check(object.network());
        case api::Object::kNic: return check(object.nic(), bounds);
        case api::Object::kAddress: return check(object.address(), bounds);
        case api::Object::kService: return check(object.service());
        case api::Object::kPool: return check(object.pool(), bounds);
        case api::Object::kLink: return check(object.link(), bounds);
        case api::Object::kMove: return check(object.move(), bounds);
        case api::Object::KIND_NOT_SET: break;
    }
    return require(false, "unknown kind of object");
}

}  // namespace

Status validate(const api::Delta& delta, const api::NodeConfig* held) {
    Bounds bounds{.nics = CV_NICS_DEFAULT, .links = CV_LINKS_DEFAULT};
    const auto* config = delta.snapshot() ? nullptr : held;
    for (const auto& object : delta.upsert()) {
        if (object.has_config()) {
            config = &object.config();
        }
    }
    if (config == nullptr) {
        return fail(Code::kInvalidArgument, "delta: no configuration of the node", "config");
    }
    bounds = {.nics = config->nic_limit(), .links = config->link_limit()};
    std::unordered_set<ObjectKey, ObjectKeyHash> named;
    for (const auto& object : delta.upsert()) {
        const ObjectKey key = key_of(object);
        auto valid = check(object, bounds);
        if (valid && !named.insert(key).second) {
            valid = fail(Code::kInvalidArgument, "named twice");
        }
        if (!valid) {
            const auto name = to_string(key);
            valid.error().target = name;
            return std::unexpected(prefixed(std::move(valid.error()), "delta: " + name));
        }
    }
    const bool one_way = !delta.resume() || (!delta.snapshot() && delta.remove().empty());
    if (!one_way || (!delta.resume() && !delta.part().empty())) {
        return fail(Code::kInvalidArgument, "delta: resumes and does something else", "resume");
    }
    if (std::ranges::any_of(delta.part(),
                            [](auto at) { return at >= runtime::SetDigest::kParts; })) {
        return fail(Code::kInvalidArgument, "delta: there is no such part", "part");
    }
    for (const auto& removed : delta.remove()) {
        const ObjectKey key{removed.kind(), removed.id(), removed.address()};
        const bool possible = !delta.snapshot() && key.kind > api::Object::kConfig &&
                              (key.kind <= api::Object::kLink || key.kind == api::Object::kMove) &&
                              !named.contains(key);
        if (!possible) {
            return fail(Code::kInvalidArgument,
                        fmt::format("delta: {}: cannot be removed", to_string(key)),
                        to_string(key));
        }
    }
    return {};
}

}  // namespace culvert::agent
