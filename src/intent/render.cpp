// SPDX-License-Identifier: Apache-2.0
// The objects of api/intent.proto, each made from the resources that it shows. An object whose
// resources are not all there does not exist (yet).
#include "api/intent.pb.h"
#include "base/probe_limits.hpp"
#include "intent/state.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <ranges>
#include <set>
#include <vector>

namespace culvert::intent {
namespace {

constexpr std::uint32_t kTcp = 6;  // IANA protocol numbers
constexpr std::uint32_t kUdp = 17;
constexpr std::uint32_t kSecondsPerMinute = 60;
// what a node takes: longer and more than anybody means
constexpr int kDnsServers = 3;
constexpr auto kLongestProbeSeconds = static_cast<std::uint32_t>(
    std::chrono::floor<std::chrono::seconds>(limits::kLongestProbeInterval).count());

std::uint32_t protocol_number(model::Protocol protocol) {
    switch (protocol) {
        case model::Protocol::kTcp: return kTcp;
        case model::Protocol::kUdp: return kUdp;
        case model::Protocol::kAll: return 0;
    }
    return 0;
}

std::uint32_t hashed_fields(model::Affinity affinity) {
    switch (affinity) {
        case model::Affinity::kDefault: return 5;
        case model::Affinity::kSourceIpProtocol: return 3;
        case model::Affinity::kSourceIp: return 2;
    }
    return 5;
}

std::string bytes_of(const net::Ipv6& address) {
    return {address.bytes.begin(), address.bytes.end()};
}

void set_prefix(api::Prefix* out, const net::Ipv4Prefix& prefix) {
    out->set_base(prefix.base.value);
    out->set_length(prefix.length);
}

Content content(const api::Object& object, WireKey key) {
    return Content{key, object.SerializeAsString(), {}, {}};
}

WireKey wire_key(const api::Object& object, std::uint32_t id, std::uint32_t address = 0) {
    return WireKey{static_cast<std::uint32_t>(object.kind_case()), id, address};
}

class Renderer {
  public:
    explicit Renderer(const World::State& state) : state_(state) {}

    Content config(const std::string& name) const {
        const model::Node* node = find(state_.nodes, name);
        if (node == nullptr) {
            return {};
        }
        api::Object object;
        auto* config = object.mutable_config();
        config->set_node(node->index);
        config->set_udp_port(state_.options.udp_port);
        config->set_nic_limit(state_.options.nic_limit);
        config->set_link_limit(state_.options.link_limit);
        config->set_draining(node->draining);
        return content(object, wire_key(object, node->index));
    }

    Content peer(const std::string& name) const {
        const model::Node* node = find(state_.nodes, name);
        if (node == nullptr) {
            return {};
        }
        api::Object object;
        auto* peer = object.mutable_peer();
        peer->set_node(node->index);
        peer->set_name(node->name);
        peer->set_outer(node->outer);
        peer->set_draining(node->draining);
        Content made = content(object, wire_key(object, node->index));
        made.owner = name;  // a node is not its own peer
        return made;
    }

    Content network(const std::string& key) const {
        const model::VirtualNetwork* vnet = find(state_.vnets, key);
        if (vnet == nullptr || vnet->vnet_index == 0) {
            return {};
        }
        api::Object object;
        object.mutable_network()->set_vnet(vnet->vnet_index);
        for (const net::Ipv4Prefix& prefix : vnet->prefixes) {
            set_prefix(object.mutable_network()->add_prefixes(), prefix);
        }
        return content(object, wire_key(object, vnet->vnet_index));
    }

    Content nic(const std::string& key) const {
        const model::NetworkInterface* nic = find(state_.nics, key);
        const model::Attachment* attachment = find(state_.attachments, key);
        const model::NicIpConfiguration* main = nic == nullptr ? nullptr : primary(*nic);
        if (main == nullptr || !main->address || attachment == nullptr) {
            return {};
        }
        const model::Node* node = find(state_.nodes, attachment->node);
        const model::VirtualNetwork* vnet = find(state_.vnets, vnet_of(main->subnet));
        if (node == nullptr || vnet == nullptr || vnet->vnet_index == 0) {
            return {};
        }
        const auto subnet = std::ranges::find_if(vnet->subnets, [&](const model::Subnet& one) {
            return model::same_name(one.name, main->subnet.name());
        });
        if (subnet == vnet->subnets.end()) {
            return {};
        }
        const auto prefix = std::ranges::find_if(subnet->prefixes, [&](const net::Ipv4Prefix& one) {
            return one.contains(*main->address);
        });
        if (prefix == subnet->prefixes.end()) {
            return {};
        }
        api::Object object;
        auto* out = object.mutable_nic();
        out->set_index(nic->nic_index);
        out->set_generation(nic->nic_generation);
        out->set_id(nic->id.str());
        out->set_vnet(vnet->vnet_index);
        out->set_address(main->address->value);
        set_prefix(out->mutable_subnet(), *prefix);
        out->set_gateway(prefix->base.value + 1);
        out->set_node(node->index);
        out->set_other_node(node_index(attachment->other));
        if (nic->six) {
            out->set_six(bytes_of(nic->six->address));
        }
        Content made = content(object, wire_key(object, nic->nic_index));
        out->set_attachment(attachment->id);
        for (const std::string& server : vnet->dns_servers) {
            const auto address = net::Ipv4::parse(server);
            if (address && out->dns_size() < kDnsServers) {
                out->add_dns(address->value);
            }
        }
        made.owner = attachment->node;
        made.owner_bytes = object.SerializeAsString();
        return made;
    }

    Content move(const std::string& key) const {
        const model::NetworkInterface* nic = find(state_.nics, key);
        const model::Attachment* at = find(state_.attachments, key);
        const std::uint32_t node = at == nullptr ? 0 : node_index(at->node);
        const std::uint32_t other = at == nullptr ? 0 : node_index(at->other);
        if (nic == nullptr || node == 0 || other == 0) {
            return {};
        }
        const bool settling = at->stage == model::MoveStage::kSettling;
        api::Object object;
        auto* out = object.mutable_move();
        out->set_nic(nic->nic_index);
        out->set_from(settling ? other : node);
        out->set_to(settling ? node : other);
        out->set_attachment(settling ? at->id : at->other_id);
        switch (at->stage) {
            case model::MoveStage::kPreparing: out->set_stage(api::MOVE_PREPARING); break;
            case model::MoveStage::kMoving: out->set_stage(api::MOVE_MOVING); break;
            case model::MoveStage::kSettling: out->set_stage(api::MOVE_SETTLING); break;
            case model::MoveStage::kNone: return {};
        }
        return content(object, wire_key(object, nic->nic_index));
    }

    Content nic_address(const std::string& key) const {
        const model::NetworkInterface* nic = find(state_.nics, key);
        const model::NicIpConfiguration* main = nic == nullptr ? nullptr : primary(*nic);
        if (main == nullptr || !main->address) {
            return {};
        }
        return address(vnet_of(main->subnet), *main->address, api::ADDRESS_NIC, nic->nic_index);
    }

    Content endpoint_address(const std::string& connection) const {
        const model::PrivateEndpointConnection* link = find(state_.connections, connection);
        const model::PrivateEndpoint* endpoint =
            link == nullptr ? nullptr : find(state_.endpoints, link->private_endpoint.key());
        if (endpoint == nullptr) {
            return {};
        }
        return address(vnet_of(endpoint->subnet), endpoint->address, api::ADDRESS_ENDPOINT,
                       link->link_id, endpoint->six,
                       endpoint->ip_version == model::IpVersion::kIpv6);
    }

    Content nat_address(const std::string& name) const {
        const std::size_t mark = name.rfind('#');
        const model::PrivateLinkService* service = find(state_.services, name.substr(0, mark));
        const std::size_t position = std::stoul(name.substr(mark + 1));
        if (service == nullptr || position >= service->nat.size() ||
            !service->nat[position].address) {
            return {};
        }
        const model::NatConfiguration& nat = service->nat[position];
        return address(vnet_of(nat.subnet), *nat.address, api::ADDRESS_NAT, service->service_index,
                       nat.six);
    }

    Content frontend_address(const std::string& key) const {
        const std::size_t slash = key.rfind('/');
        const model::LoadBalancer* balancer =
            find(state_.balancers, key.substr(0, key.rfind('/', slash - 1)));
        if (balancer == nullptr) {
            return {};
        }
        for (const model::Frontend& frontend : balancer->frontends) {
            if (model::lower(frontend.name) == key.substr(slash + 1) && frontend.address) {
                return address(vnet_of(frontend.subnet), *frontend.address, api::ADDRESS_FRONTEND,
                               0, frontend.six);
            }
        }
        return {};
    }

    Content service(const std::string& key) const {
        const model::PrivateLinkService* service = find(state_.services, key);
        if (service == nullptr || service->nat.empty() || service->service_index == 0) {
            return {};
        }
        api::Object object;
        auto* out = object.mutable_service();
        out->set_id(service->service_index);
        out->set_resource_id(service->id.str());
        out->set_provider_vnet(state_.vnet_index(vnet_of(service->nat.front().subnet)));
        for (const model::NatConfiguration& nat : service->nat) {
            if (nat.address) {
                out->add_nat(nat.address->value);
            }
        }
        out->set_six(service->nat.front().six.has_value());
        add_rules(*service, out);
        if (out->provider_vnet() == 0) {
            return {};
        }
        return content(object, wire_key(object, service->service_index));
    }

    Content pool(const std::string& key) const {
        const model::NetworkInterface* nic = find(state_.nics, key);
        const bool own = nic != nullptr && nic->nic_index != 0;
        const std::uint32_t index = own ? model::kNicPools + nic->nic_index : pool_index(key);
        if (index == 0) {
            return {};
        }
        api::Object object;
        object.mutable_pool()->set_id(index);
        if (own) {
            object.mutable_pool()->set_resource_id(nic->id.str());
        } else {
            add_probes(key, object.mutable_pool());
        }
        if (const auto* members = find(state_.members, key)) {
            object.mutable_pool()->mutable_members()->Add(members->begin(), members->end());
        }
        return content(object, wire_key(object, index));
    }

    Content link(const std::string& key) const {
        const model::PrivateEndpointConnection* link = find(state_.connections, key);
        if (link == nullptr) {
            return {};
        }
        const model::PrivateEndpoint* endpoint =
            find(state_.endpoints, link->private_endpoint.key());
        const model::PrivateLinkService* service = find(state_.services, link->id.parent().key());
        if (endpoint == nullptr || service == nullptr || service->nat.empty()) {
            return {};
        }
        api::Object object;
        auto* out = object.mutable_link();
        out->set_id(link->link_id);
        out->set_generation(link->link_generation);
        out->set_state(link->state.status == model::ConnectionStatus::kApproved
                           ? api::LINK_APPROVED
                           : api::LINK_REFUSED);
        out->set_service(service->service_index);
        out->set_consumer_vnet(state_.vnet_index(vnet_of(endpoint->subnet)));
        out->set_provider_vnet(state_.vnet_index(vnet_of(service->nat.front().subnet)));
        out->set_endpoint(endpoint->address.value);
        out->set_endpoint_id(endpoint->id.str());
        if (link->nat) {
            out->set_nat(link->nat->value);
        }
        if (out->consumer_vnet() == 0 || out->provider_vnet() == 0 || out->service() == 0) {
            return {};
        }
        return content(object, wire_key(object, link->link_id));
    }

  private:
    using Probes = std::map<std::string, std::vector<const model::Probe*>>;

    // A name as nodes say it to each other: FNV-1a.
    static std::uint32_t number_of(const std::string& name) {
        std::uint32_t out = 2166136261u;
        for (const char letter : model::lower(name)) {
            out = (out ^ static_cast<unsigned char>(letter)) * 16777619u;
        }
        return out == 0 ? 1 : out;
    }

    // The probes that rules lead to each of the balancer's pools by, in order of their names; by
    // the pools' keys. One pass: balancers have hundreds of probes and more rules.
    static Probes probes_of(const model::LoadBalancer& balancer) {
        std::map<std::string, const model::Probe*> by_name;
        for (const model::Probe& probe : balancer.probes) {
            by_name.emplace(model::lower(probe.name), &probe);
        }
        std::map<std::string, std::set<std::string>> used;
        for (const model::LbRule& rule : balancer.rules) {
            const std::string name = model::lower(rule.probe.name());
            if (!rule.probe.empty() && by_name.contains(name)) {
                used[rule.pool.key()].insert(name);
            }
        }
        Probes out;
        for (const auto& [pool, names] : used) {
            for (const std::string& name : names | std::views::take(limits::kProbesPerPool)) {
                out[pool].push_back(by_name.at(name));
            }
        }
        return out;
    }

    // As it may stand in the first line of a request; documents of before may have anything.
    static std::string target_of(const std::string& path) {
        std::string out = path.empty() || path.front() == '/' ? "" : "/";
        for (const char letter : path) {
            if (letter > ' ' && letter < 0x7f) {
                out += letter;
            } else {
                constexpr std::string_view kDigits = "0123456789ABCDEF";
                const auto byte = static_cast<unsigned char>(letter);
                out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
            }
        }
        return out;
    }

    static void fill(const model::Probe& probe, api::Probe* out) {
        const bool tcp = model::same_name(probe.protocol, "Tcp");
        const bool http = model::same_name(probe.protocol, "Http");
        out->set_name(probe.name);
        out->set_protocol(tcp ? api::PROBE_TCP : http ? api::PROBE_HTTP : api::PROBE_HTTPS);
        out->set_port(probe.port);
        out->set_path(target_of(probe.request_path));
        out->set_interval_ms(std::min(probe.interval_s, kLongestProbeSeconds) * 1000);
        out->set_threshold(std::min(probe.threshold, limits::kProbeThreshold));
        out->set_all_up(probe.all_up);
    }

    void add_probes(const std::string& key, api::Pool* out) const {
        const model::LoadBalancer* balancer = balancer_of(key);
        out->set_resource_id(pool_id(*balancer, key));
        std::set<std::uint32_t> taken;
        Probes probes = probes_of(*balancer);
        for (const model::Probe* probe : probes[key]) {
            api::Probe* made = out->add_probes();
            fill(*probe, made);
            std::uint32_t id = number_of(probe->name);
            while (id == 0 || !taken.insert(id).second) {
                ++id;
            }
            made->set_id(id);
        }
        out->set_unprobed(std::ranges::any_of(balancer->rules, [&](const model::LbRule& rule) {
            return rule.pool.key() == key && rule.probe.empty();
        }));
    }

    static std::string pool_id(const model::LoadBalancer& balancer, const std::string& key) {
        for (const model::BackendPool& pool : balancer.pools) {
            const auto id = balancer.id.child("backendAddressPools", pool.name);
            if (id.key() == key) {
                return id.str();
            }
        }
        return {};
    }

    // The rule's probe in the list of its pool, counted from 1; 0: it has none.
    static std::uint32_t probe_number(const model::LbRule& rule, Probes& known) {
        if (rule.probe.empty()) {
            return 0;
        }
        const auto& probes = known[rule.pool.key()];
        const auto at = std::ranges::find_if(probes, [&](const model::Probe* probe) {
            return model::same_name(probe->name, rule.probe.name());
        });
        return at == probes.end() ? 0 : static_cast<std::uint32_t>(at - probes.begin()) + 1;
    }

    // 0: no such node.
    std::uint32_t node_index(const std::string& name) const {
        const model::Node* node = find(state_.nodes, name);
        return node == nullptr ? 0 : node->index;
    }

    Content address(const std::string& vnet, net::Ipv4 at, api::AddressKind kind, std::uint32_t id,
                    const std::optional<net::Ipv6>& six = {}, bool six_only = false) const {
        const std::uint32_t index = state_.vnet_index(vnet);
        if (index == 0) {
            return {};
        }
        api::Object object;
        auto* out = object.mutable_address();
        out->set_vnet(index);
        out->set_address(at.value);
        out->set_kind(kind);
        out->set_id(id);
        if (six) {
            out->set_six(bytes_of(*six));
            out->set_six_only(six_only);
        }
        return content(object, wire_key(object, index, at.value));
    }

    // `key` is .../loadbalancers/{name}/backendaddresspools/{name}; 0: no such pool.
    std::uint32_t pool_index(const std::string& key) const {
        const model::LoadBalancer* balancer = balancer_of(key);
        if (balancer == nullptr) {
            return 0;
        }
        for (const model::BackendPool& pool : balancer->pools) {
            if (model::lower(pool.name) == key.substr(key.rfind('/') + 1)) {
                return pool.pool_index;
            }
        }
        return 0;
    }

    // Of a pool's key; null: there is none.
    const model::LoadBalancer* balancer_of(const std::string& key) const {
        const std::size_t slash = key.rfind('/');
        const std::size_t type =
            slash == 0 || slash == std::string::npos ? slash : key.rfind('/', slash - 1);
        return type == std::string::npos ? nullptr : find(state_.balancers, key.substr(0, type));
    }

    void add_rules(const model::PrivateLinkService& service, api::Service* out) const {
        std::set<std::pair<std::uint32_t, std::uint32_t>> taken;  // the first frontend wins a port
        std::map<const model::LoadBalancer*, Probes> probes;
        for (const model::LbRule* rule : state_.rules_of(service)) {
            const std::uint32_t protocol = protocol_number(rule->protocol);
            const std::uint32_t port =
                rule->protocol == model::Protocol::kAll ? 0 : rule->frontend_port;
            const std::uint32_t pool = pool_index(rule->pool.key());
            if (pool == 0 || !taken.emplace(protocol, port).second) {
                continue;
            }
            api::Rule* made = out->add_rules();
            made->set_protocol(protocol);
            made->set_port(port);
            made->set_pool(pool);
            made->set_backend_port(rule->protocol == model::Protocol::kAll ? 0
                                                                           : rule->backend_port);
            made->set_affinity(hashed_fields(rule->affinity));
            made->set_idle_s(rule->idle_minutes * kSecondsPerMinute);
            const model::LoadBalancer* balancer = balancer_of(rule->pool.key());
            const auto [known, fresh] = probes.try_emplace(balancer);
            if (fresh) {
                known->second = probes_of(*balancer);
            }
            made->set_probe(probe_number(*rule, known->second));
            made->set_reset(rule->tcp_reset);
        }
        add_nat_ports(service, taken, out);
    }

    void add_nat_ports(const model::PrivateLinkService& service,
                       std::set<std::pair<std::uint32_t, std::uint32_t>>& taken,
                       api::Service* out) const {
        for (const NatPort& port : state_.nat_ports_of(service)) {
            const model::InboundNatRule& rule = *port.rule;
            const std::uint32_t protocol = protocol_number(rule.protocol);
            if (static_cast<std::size_t>(out->rules_size()) >= limits::kRulesPerLoadBalancer ||
                protocol == 0 || !taken.emplace(protocol, port.port).second) {
                continue;
            }
            api::Rule* made = out->add_rules();
            made->set_protocol(protocol);
            made->set_port(port.port);
            made->set_pool(port.pool);
            made->set_backend_port(rule.backend_port);
            made->set_affinity(hashed_fields(model::Affinity::kDefault));
            made->set_idle_s(rule.idle_minutes * kSecondsPerMinute);
            made->set_reset(rule.tcp_reset);
        }
    }

    const World::State& state_;
};

}  // namespace

Content World::State::render(Kind kind, const std::string& name) const {
    const Renderer renderer(*this);
    switch (kind) {
        case Kind::kConfig: return renderer.config(name);
        case Kind::kPeer: return renderer.peer(name);
        case Kind::kNetwork: return renderer.network(name);
        case Kind::kNic: return renderer.nic(name);
        case Kind::kNicAddress: return renderer.nic_address(name);
        case Kind::kEndpointAddress: return renderer.endpoint_address(name);
        case Kind::kNatAddress: return renderer.nat_address(name);
        case Kind::kFrontendAddress: return renderer.frontend_address(name);
        case Kind::kService: return renderer.service(name);
        case Kind::kPool: return renderer.pool(name);
        case Kind::kLink: return renderer.link(name);
        case Kind::kMove: return renderer.move(name);
        case Kind::kMember:
        case Kind::kNics:
        case Kind::kProvider:
        case Kind::kPoolHost: break;
    }
    return {};
}

void World::State::flush() {
    graph.flush([this](Kind kind, const std::string& name) { return render(kind, name); });
}

api::Delta World::State::delta(const Graph::Change& change) const {
    api::Delta delta;
    for (const Graph::Upsert& upsert : change.upserts) {
        delta.add_upsert()->ParseFromString(upsert.bytes);
    }
    for (const WireKey& key : change.removes) {
        api::Key* out = delta.add_remove();
        out->set_kind(key.kind);
        out->set_id(key.id);
        out->set_address(key.address);
    }
    return delta;
}

}  // namespace culvert::intent
