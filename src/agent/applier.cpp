// SPDX-License-Identifier: Apache-2.0
#include "agent/applier.hpp"

#include "abi/echo.h"
#include "abi/six.h"
#include "abi/wire.h"
#include "agent/six.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "datapath/transfer.hpp"

#include <algorithm>
#include <utility>

namespace culvert::agent {
namespace {

using Kind = api::Object;

constexpr std::uint32_t kEveryProtocol = 0;
constexpr std::uint8_t kIcmp = 1;
constexpr std::uint32_t kTcp = 6;
constexpr std::uint32_t kUdp = 17;
// without a backbone nothing is wrapped; workloads get the MTU they would get on Ethernet
constexpr std::uint32_t kEthernetMtu = 1500;

net::Ipv4Prefix prefix_of(const api::Prefix& prefix) {
    return {net::Ipv4{prefix.base()}, static_cast<std::uint8_t>(prefix.length())};
}

std::vector<net::Ipv4Prefix> prefixes_of(const std::optional<api::Object>& object) {
    std::vector<net::Ipv4Prefix> out;
    if (object) {
        for (const auto& prefix : object->network().prefixes()) {
            out.push_back(prefix_of(prefix));
        }
    }
    return out;
}

// Rules of ICMP name the service's pools by number, for those who ask whether it has a backend.
void add_ping_rules(datapath::ServiceImage& service) {
    std::vector<std::uint32_t> pools;
    for (const auto& rule : service.rules) {
        if (pools.size() < CV_PING_POOLS_MAX &&
            std::find(pools.begin(), pools.end(), rule.pool) == pools.end()) {
            pools.push_back(rule.pool);
        }
    }
    for (std::size_t number = 0; number < pools.size(); ++number) {
        service.rules.push_back({.protocol = kIcmp,
                                 .port = static_cast<std::uint16_t>(number),
                                 .pool = pools[number],
                                 .affinity = 2});
    }
}

datapath::ServiceImage service_of(const api::Service& service) {
    datapath::ServiceImage out{.id = service.id(), .provider_vnet = service.provider_vnet()};
    for (const std::uint32_t address : service.nat()) {
        out.nat.push_back(net::Ipv4{address});
    }
    for (const auto& rule : service.rules()) {
        for (const std::uint32_t protocol : {kTcp, kUdp}) {
            if (rule.protocol() != kEveryProtocol && rule.protocol() != protocol) {
                continue;
            }
            out.rules.push_back({.protocol = static_cast<std::uint8_t>(protocol),
                                 .port = static_cast<std::uint16_t>(rule.port()),
                                 .pool = table_number(rule.pool(), rule.probe()),
                                 .backend_port = static_cast<std::uint16_t>(rule.backend_port()),
                                 .affinity = static_cast<std::uint8_t>(rule.affinity()),
                                 .idle_s = rule.idle_s(),
                                 .reset = rule.reset(),
                                 .six = service.six()});
        }
    }
    add_ping_rules(out);
    return out;
}

// CV_PORT_*
std::uint32_t port_flags(const api::Nic& nic, bool tap) {
    if (nic.six().empty()) {
        return tap ? 0 : CV_PORT_PEER_OK;
    }
    return tap ? CV_PORT_SIX : CV_PORT_SIX | CV_PORT_PEER_SIX;
}

}  // namespace

std::uint32_t Backbone::workload_mtu() const {
    const std::uint32_t whole = mtu == 0 ? kEthernetMtu : mtu;
    return whole - (outer.family == 6 ? CV_ENCAP_IPV6 : CV_ENCAP_IPV4);
}

bool attached_on(const api::Nic& nic, std::uint32_t node) {
    return node != 0 && nic.node() == node && !nic.attachment().empty();
}

const api::Move* Applier::move_of(const api::Nic& nic) const {
    const auto found = moves_.find(nic.index());
    return found == moves_.end() ? nullptr : &found->second;
}

std::string Applier::attachment_here(const api::Nic& nic) const {
    if (attached_on(nic, node_)) {
        return nic.attachment();
    }
    const auto* move = move_of(nic);
    return move != nullptr && move->to() == node_ && nic.node() == move->from() ? move->attachment()
                                                                                : std::string();
}

// While it moves, the node it comes from has let go and the one it goes to has taken over when its
// interface stands in.
const Binding* Applier::carrying(const api::Nic& nic) const {
    const auto found = bindings_.find(nic.index());
    if (found == bindings_.end() || found->second.ifindex == 0 || !found->second.waiting.empty() ||
        found->second.attachment != attachment_here(nic)) {
        return nullptr;
    }
    const auto* move = move_of(nic);
    const bool moving = move != nullptr && move->stage() == api::MOVE_MOVING;
    if (attached_on(nic, node_) ? moving : !moving) {
        return nullptr;
    }
    return &found->second;
}

std::uint32_t Applier::node_of(const api::Nic& nic) const {
    const auto* move = move_of(nic);
    if (move == nullptr || move->stage() != api::MOVE_MOVING) {
        return nic.node();
    }
    return move->from() == node_ || carrying(nic) != nullptr ? move->to() : nic.node();
}

std::uint32_t Applier::until(const api::Nic& nic) {
    if (nic.other_node() == 0) {
        deadlines_.erase(nic.index());
        return 0;
    }
    Deadline& deadline = deadlines_[nic.index()];
    if (deadline.node != nic.node() || deadline.other != nic.other_node()) {
        const auto now = std::chrono::floor<std::chrono::seconds>(datapath::kernel_now());
        const auto end = now + std::chrono::seconds(limits::kMoveOtherNode);
        deadline = {nic.node(), nic.other_node(), static_cast<std::uint32_t>(end.count())};
    }
    return deadline.until_s;
}

Status Applier::apply(const Change& change) {
    switch (change.key.kind) {
        case Kind::kConfig: return change.after ? apply_config(change.after->config()) : Status();
        case Kind::kPeer: return apply_peer(change);
        case Kind::kNic: return change.after ? apply_nic(change.after->nic()) : clear_nic(change);
        case Kind::kPool: return apply_pool(change);
        case Kind::kService: return apply_service(change);
        case Kind::kLink: return apply_link(change);
        case Kind::kNetwork: return apply_network(change);
        case Kind::kAddress: return apply_address(change);
        case Kind::kMove:
            moves_.erase(change.key.id);
            if (change.after) {
                moves_.emplace(change.key.id, change.after->move());
            }
            return {};
        default: return fail(Code::kInternal, "apply " + to_string(change.key));
    }
}

Status Applier::apply_config(const api::NodeConfig& config) {
    node_ = config.node();
    health_.speaks(node_);
    pools_stale_ = pools_stale_ || draining_ != config.draining();
    drains_ += config.draining() && !draining_ ? 1 : 0;
    draining_ = config.draining();
    const auto port = udp_port_ != 0 ? udp_port_ : static_cast<std::uint16_t>(config.udp_port());
    return maps_.set_config({.node = config.node(),
                             .backbone_ifindex = backbone_.ifindex,
                             .outer = backbone_.outer,
                             .udp_port = port,
                             .backbone_mtu = backbone_.mtu == 0 ? kEthernetMtu : backbone_.mtu,
                             .fenced = fenced_});
}

Status Applier::clear_nic(const Change& change) {
    CULVERT_TRY_STATUS(silence(change.key.id));
    ended_.push_back({.nic = change.key.id, .what = EndedService::What::kGone});
    homes_.erase(change.key.id);
    deadlines_.erase(change.key.id);
    CULVERT_TRY_STATUS(clear_lease(change.key.id));
    CULVERT_TRY_STATUS(maps_.clear_nic(change.key.id));
    return apply_six(change.key.id, std::nullopt);
}

Status Applier::silence(std::uint32_t index) {
    const auto found = bindings_.find(index);
    if (found == bindings_.end() || found->second.ifindex == 0) {
        return {};
    }
    return maps_.clear_port(found->second.ifindex);
}

Status Applier::apply_nic(const api::Nic& nic) {
    const Binding* binding = carrying(nic);
    if (binding == nullptr) {
        CULVERT_TRY_STATUS(silence(nic.index()));
    }
    // one that moves is on its way to an interface
    const Home home{
        .node = nic.node(),
        .generation = nic.generation(),
        .plumbed = binding != nullptr || move_of(nic) != nullptr || !attached_on(nic, node_)};
    const auto [known, fresh] = homes_.try_emplace(nic.index(), home);
    if (!fresh && std::exchange(known->second, home) != home) {
        pools_stale_ = true;
    }
    const std::uint32_t ifindex = binding == nullptr ? 0 : binding->ifindex;
    CULVERT_TRY_STATUS(apply_six(nic.index(), binding == nullptr ? std::nullopt : six_image(nic)));
    const std::uint32_t flags = binding == nullptr ? 0 : port_flags(nic, binding->is_tap());
    CULVERT_TRY_STATUS(maps_.set_nic({.index = nic.index(),
                                      .address = net::Ipv4{nic.address()},
                                      .vnet = nic.vnet(),
                                      .node = node_of(nic),
                                      .ifindex = ifindex,
                                      .port_flags = flags,
                                      .generation = nic.generation(),
                                      .other = nic.other_node() == 0        ? 0
                                               : node_of(nic) == nic.node() ? nic.other_node()
                                                                            : nic.node(),
                                      .until_s = until(nic)}));
    if (binding == nullptr) {
        return clear_lease(nic.index());
    }
    CULVERT_TRY_STATUS(apply_lease(nic));
    return maps_.set_port({.ifindex = ifindex, .nic = nic.index(), .flags = flags});
}

Status Applier::apply_peer(const Change& change) {
    if (!change.after) {
        peers_.erase(change.key.id);
        drained_.erase(change.key.id);
        return maps_.clear_node(change.key.id);
    }
    const auto outer = datapath::OuterAddress::parse(change.after->peer().outer());
    if (!outer) {
        return std::unexpected(prefixed(outer.error(), to_string(change.key)));
    }
    const bool drained = change.after->peer().draining();
    if (drained ? drained_.insert(change.key.id).second : drained_.erase(change.key.id) != 0) {
        pools_stale_ = true;
    }
    datapath::NodeImage image{.index = change.key.id,
                              .outer = *outer,
                              .next_hop = next_hop_(*outer),
                              .state = state_of(change.key.id)};
    CULVERT_TRY_STATUS(maps_.set_node(image));
    peers_[change.key.id] = image;
    return {};
}

std::uint8_t Applier::state_of(std::uint32_t node) const {
    const auto found = reach_.closed.find(node);
    if (found != reach_.closed.end()) {
        return found->second;
    }
    return drained_.contains(node) ? CV_NODE_CLOSED : CV_NODE_OPEN;
}

Status Applier::set_reach(const Reach& reach) {
    reach_ = reach;
    pools_stale_ = true;
    for (auto& [index, image] : peers_) {
        const std::uint8_t state = state_of(index);
        if (state == image.state) {
            continue;
        }
        image.state = state;
        CULVERT_TRY_STATUS(maps_.set_node(image));
    }
    return {};
}

Status Applier::refresh_peers() {
    for (auto& [index, image] : peers_) {
        const auto next_hop = next_hop_(image.outer);
        if (next_hop == image.next_hop) {
            continue;
        }
        image.next_hop = next_hop;
        CULVERT_TRY_STATUS(maps_.set_node(image));
        spdlog::info("agent: route changed node={} next_hop={}", index, next_hop.str());
    }
    return {};
}

Status Applier::apply_address(const Change& change) {
    const net::Ipv4 address{change.key.address};
    const auto* before = change.before ? &change.before->address() : nullptr;
    const auto* wish = change.after ? &change.after->address() : nullptr;
    CULVERT_TRY_STATUS(apply_six(before, wish));
    if (wish == nullptr || wish->six_only()) {
        return maps_.clear_address(change.key.id, address);
    }
    return maps_.set_address({.vnet = wish->vnet(),
                              .address = address,
                              .kind = static_cast<std::uint32_t>(wish->kind()),
                              .id = wish->id()});
}

Status Applier::apply_network(const Change& change) {
    return maps_.set_prefixes(change.key.id, prefixes_of(change.before), prefixes_of(change.after));
}

Status Applier::apply_service(const Change& change) {
    std::optional<datapath::ServiceImage> before;
    if (change.before) {
        before = service_of(change.before->service());
    }
    const api::Service* now = change.after ? &change.after->service() : nullptr;
    if (before) {
        note_rules(change.before->service(), now);
    }
    count_datagram_rules(change.key.id, now);
    if (!change.after) {
        return maps_.clear_service(*before);
    }
    return maps_.set_service(before ? &*before : nullptr, service_of(change.after->service()));
}

std::uint64_t owner_of(const api::Link& link) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (const char letter : lower(link.endpoint_id())) {
        hash = (hash ^ static_cast<std::uint8_t>(letter)) * 0x100000001b3;
    }
    return hash;
}

Status Applier::apply_link(const Change& change) {
    if (!change.after) {
        return maps_.clear_link(change.key.id);
    }
    const auto& link = change.after->link();
    return maps_.set_link({.id = link.id(),
                           .generation = link.generation(),
                           .state = static_cast<std::uint32_t>(link.state()),
                           .service = link.service(),
                           .consumer_vnet = link.consumer_vnet(),
                           .provider_vnet = link.provider_vnet(),
                           .endpoint = net::Ipv4{link.endpoint()},
                           .owner = owner_of(link),
                           .nat = net::Ipv4{link.nat()}});
}

Status Applier::retain(const State& state) {
    const auto has = [&](std::uint32_t kind) {
        return [&state, kind](std::uint32_t id) { return state.find({kind, id, 0}) != nullptr; };
    };
    datapath::Retained keep;
    keep.nic = has(Kind::kNic);
    keep.node = has(Kind::kPeer);
    keep.link = has(Kind::kLink);
    keep.service = has(Kind::kService);
    keep.pool = [&](std::uint32_t number) { return tables_.contains(number); };
    keep.member = [&](std::uint32_t number, std::uint32_t nic) {
        const auto table = tables_.find(number);
        return table != tables_.end() && std::ranges::binary_search(table->second.members, nic);
    };
    const SixNames six(state, sixes_);
    keep.address = [&](std::uint32_t vnet, net::Ipv4 address) {
        return six.is_endpoint(vnet, address) ||
               state.find({Kind::kAddress, vnet, address.value}) != nullptr;
    };
    keep.six = [&](std::uint32_t vnet, const net::Ipv6& address) { return six.has(vnet, address); };
    keep.six_name = [&](std::uint32_t vnet, net::Ipv4 name) { return six.has(vnet, name); };
    keep.prefix = [&](std::uint32_t vnet, net::Ipv4Prefix prefix) {
        const auto* object = state.find({Kind::kNetwork, vnet, 0});
        return object != nullptr &&
               std::any_of(object->network().prefixes().begin(), object->network().prefixes().end(),
                           [&](const auto& each) { return prefix_of(each) == prefix; });
    };
    keep.rule = [&](std::uint32_t service, std::uint8_t protocol, std::uint16_t port) {
        const auto* object = state.find({Kind::kService, service, 0});
        if (object == nullptr) {
            return false;
        }
        const auto rules = service_of(object->service()).rules;
        return std::any_of(rules.begin(), rules.end(), [&](const auto& rule) {
            return rule.protocol == protocol && rule.port == port;
        });
    };
    keep.port = [&](std::uint32_t ifindex) {
        return std::any_of(bindings_.begin(), bindings_.end(), [&](const auto& each) {
            const auto* nic = state.nic(each.first);
            return each.second.ifindex == ifindex && nic != nullptr && carrying(*nic) != nullptr;
        });
    };
    keep.lease = [&](std::uint32_t nic) { return leased_.contains(nic); };
    return maps_.retain(keep);
}

}  // namespace culvert::agent
