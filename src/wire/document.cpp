// SPDX-License-Identifier: Apache-2.0
// The stored document. Each type is described once (visit) and the description is walked by a
// Writer and by a Loader, so that what is written is what is read. A document is never trusted:
// every field must be there with its type, and nothing else.
#include "wire/names.hpp"
#include "wire/nat_rule.hpp"
#include "wire/wire.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <concepts>
#include <type_traits>

namespace culvert::wire {
namespace json = boost::json;
namespace {

constexpr std::int64_t kVersion = 1;

// --- what is stored: V is T or const T -----------------------------------------------------------

template <typename V, typename T>
concept Is = std::same_as<std::remove_const_t<V>, T>;

template <typename A, typename V>
void visit_resource(A& archive, V& v) {
    archive("id", v.id);
    archive("location", v.location);
    archive("tags", v.tags);
    archive("provisioning", v.provisioning, kProvisioningNames);
    archive("guid", v.resource_guid);
}

// A named configuration that has an address in a subnet.
template <typename A, typename V>
void visit_addressed(A& archive, V& v) {
    archive("name", v.name);
    archive("subnet", v.subnet);
    archive("allocation", v.allocation, kAllocationNames);
    archive("address", v.address);
    archive.optional("six", v.six);
}

template <typename A, Is<model::ResourceGroup> V>
void visit(A& archive, V& v) {
    visit_resource(archive, v);
}

template <typename A, Is<model::Subnet> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("prefixes", v.prefixes);
    archive("asList", v.prefixes_as_list);
    archive("endpointPolicies", v.endpoint_policies, kEndpointPolicyNames);
    archive("servicePolicies", v.service_policies);
    archive("serviceEndpoints", v.service_endpoints_json);
    archive("delegations", v.delegations_json);
    archive.optional("prefixes6", v.prefixes6);
}

template <typename A, Is<model::VirtualNetwork> V>
void visit(A& archive, V& v) {
    visit_resource(archive, v);
    archive("prefixes", v.prefixes);
    archive("subnets", v.subnets);
    archive("dnsServers", v.dns_servers);
    archive("index", v.vnet_index);
    archive.optional("prefixes6", v.prefixes6);
}

template <typename A, Is<model::NicIpConfiguration> V>
void visit(A& archive, V& v) {
    visit_addressed(archive, v);
    archive("primary", v.primary);
    archive("pools", v.pools);
    archive.optional("natRules", v.nat_rules);
}

template <typename A, Is<model::SixConfiguration> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("subnet", v.subnet);
    archive("address", v.address);
    archive.optional("pools", v.pools);
}

template <typename A, Is<model::NetworkInterface> V>
void visit(A& archive, V& v) {
    visit_resource(archive, v);
    archive("ipConfigurations", v.ip_configurations);
    archive("forwarding", v.ip_forwarding);
    archive("index", v.nic_index);
    archive("generation", v.nic_generation);
    archive("endpoint", v.private_endpoint);
    archive("service", v.private_link_service);
    archive.optional("six", v.six);
}

template <typename A, Is<model::Frontend> V>
void visit(A& archive, V& v) {
    visit_addressed(archive, v);
    archive("publicIp", v.public_ip);
    archive("zones", v.zones);
}

template <typename A, Is<model::BackendPool> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("index", v.pool_index);
    archive("addresses", v.addresses_json);
}

template <typename A, Is<model::LbRule> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("frontend", v.frontend);
    archive("pool", v.pool);
    archive("probe", v.probe);
    archive("protocol", v.protocol, kProtocolNames);
    archive("frontendPort", v.frontend_port);
    archive("backendPort", v.backend_port);
    archive("idleMinutes", v.idle_minutes);
    archive("floatingIp", v.floating_ip);
    archive("tcpReset", v.tcp_reset);
    archive("noOutboundSnat", v.disable_outbound_snat);
    archive("affinity", v.affinity, kAffinityNames);
}

template <typename A, Is<model::Probe> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("protocol", v.protocol);
    archive("port", v.port);
    archive("interval", v.interval_s);
    archive("count", v.count);
    archive("threshold", v.threshold);
    archive("path", v.request_path);
    archive.optional("allUp", v.all_up);
}

template <typename A, Is<model::NatTarget> V>
void visit(A& archive, V& v) {
    archive("configuration", v.configuration);
    archive("port", v.port);
}

template <typename A, Is<model::InboundNatRule> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("frontend", v.frontend);
    archive("protocol", v.protocol, kProtocolNames);
    archive("frontendPort", v.frontend_port);
    archive("pool", v.pool);
    archive("rangeFirst", v.range_first);
    archive("rangeLast", v.range_last);
    archive("backendPort", v.backend_port);
    archive("idleMinutes", v.idle_minutes);
    archive("floatingIp", v.floating_ip);
    archive("tcpReset", v.tcp_reset);
    archive("targets", v.targets);
}

template <typename A, Is<model::LoadBalancer> V>
void visit(A& archive, V& v) {
    visit_resource(archive, v);
    archive("sku", v.sku);
    archive("tier", v.tier);
    archive("frontends", v.frontends);
    archive("pools", v.pools);
    archive("rules", v.rules);
    archive("probes", v.probes);
    std::string kept;  // what earlier versions wrote of inbound NAT rules
    archive("inboundNatRules", kept);
    archive("outboundRules", v.outbound_rules_json);
    archive("inboundNatPools", v.inbound_nat_pools_json);
    archive.optional("natRules", v.nat_rules);
    if constexpr (!std::is_const_v<V>) {
        if (v.nat_rules.empty()) {
            v.nat_rules = nat_rules_kept(kept);
        }
    }
}

template <typename A, Is<model::NatConfiguration> V>
void visit(A& archive, V& v) {
    visit_addressed(archive, v);
    archive("primary", v.primary);
}

template <typename A, Is<model::PrivateLinkService> V>
void visit(A& archive, V& v) {
    visit_resource(archive, v);
    archive("frontends", v.frontends);
    archive("nat", v.nat);
    archive("visibility", v.visibility);
    archive("autoApproval", v.auto_approval);
    archive("fqdns", v.fqdns);
    archive("proxyProtocol", v.proxy_protocol);
    archive("alias", v.alias);
    archive("index", v.service_index);
    archive("nic", v.nic);
    archive.later("natPerConnection", v.nat_per_connection);
}

template <typename A, Is<model::ConnectionState> V>
void visit(A& archive, V& v) {
    archive("status", v.status, kStatusNames);
    archive("description", v.description);
    archive("actionsRequired", v.actions_required);
}

template <typename A, Is<model::PrivateEndpointConnection> V>
void visit(A& archive, V& v) {
    archive("id", v.id);
    archive("endpoint", v.private_endpoint);
    archive("endpointLocation", v.endpoint_location);
    archive("requestMessage", v.request_message);
    archive("state", v.state);
    archive("linkId", v.link_id);
    archive("linkGeneration", v.link_generation);
    archive("provisioning", v.provisioning, kProvisioningNames);
    archive.later("nat", v.nat);
    archive.later("natSix", v.nat_six);
}

template <typename A, Is<model::LinkRequest> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("target", v.target);
    archive("groupIds", v.group_ids);
    archive("requestMessage", v.request_message);
    archive("manual", v.manual);
}

template <typename A, Is<model::EndpointIpConfiguration> V>
void visit(A& archive, V& v) {
    archive("name", v.name);
    archive("groupId", v.group_id);
    archive("memberName", v.member_name);
    archive("address", v.address);
}

template <typename A, Is<model::PrivateEndpoint> V>
void visit(A& archive, V& v) {
    visit_resource(archive, v);
    archive("subnet", v.subnet);
    archive("requests", v.requests);
    archive("ipConfigurations", v.ip_configurations);
    archive("securityGroups", v.security_groups);
    archive("customNicName", v.custom_nic_name);
    archive("nic", v.nic);
    archive("address", v.address);
    archive("connection", v.connection);
    archive("disconnectedDescription", v.disconnected_description);
    archive.optional("ipVersion", v.ip_version, kIpVersionNames);
    archive.optional("six", v.six);
}

// --- writing -------------------------------------------------------------------------------------

class Writer {
  public:
    template <typename V>
    void operator()(std::string_view name, const V& value) {
        object_[name] = write(value);
    }
    template <typename E, std::size_t N>
    void operator()(std::string_view name, const E& value, const Names<E, N>& names) {
        object_[name] = write(std::string(name_of(names, value)));
    }
    // A field that documents of before do not have: there when it is not what it is by default.
    template <typename V>
    void optional(std::string_view name, const V& value) {
        if (value != V{}) {
            object_[name] = write(value);
        }
    }
    template <typename E, std::size_t N>
    void optional(std::string_view name, const E& value, const Names<E, N>& names) {
        if (value != E{}) {
            (*this)(name, value, names);
        }
    }
    // A field that documents of earlier versions do not have.
    template <typename T>
    void later(std::string_view name, const std::optional<T>& value) {
        if (value) {
            object_[name] = write(*value);
        }
    }
    json::object take() { return std::move(object_); }

  private:
    static json::value write(const std::string& value) { return json::value(value); }
    static json::value write(bool value) { return value; }
    template <std::unsigned_integral U>
        requires(!std::same_as<U, bool>)
    static json::value write(U value) {
        return std::uint64_t{value};
    }
    static json::value write(const model::ResourceId& id) {
        return id.empty() ? json::value() : json::value(id.str());
    }
    static json::value write(net::Ipv4 value) { return json::value(value.str()); }
    static json::value write(const net::Ipv4Prefix& value) { return json::value(value.str()); }
    static json::value write(const net::Ipv6& value) { return json::value(value.str()); }
    static json::value write(const net::Ipv6Prefix& value) { return json::value(value.str()); }
    static json::value write(const std::map<std::string, std::string>& map) {
        json::object out;
        for (const auto& [name, value] : map) {
            out[name] = value;
        }
        return out;
    }
    template <typename T>
    static json::value write(const std::optional<T>& value) {
        return value ? write(*value) : json::value();
    }
    template <typename T>
    static json::value write(const std::vector<T>& values) {
        json::array out;
        out.reserve(values.size());
        for (const auto& value : values) {
            out.push_back(write(value));
        }
        return out;
    }
    template <typename T>
        requires std::is_aggregate_v<T>
    static json::value write(const T& value) {
        Writer inner;
        visit(inner, value);
        return inner.take();
    }

    json::object object_;
};

// --- reading -------------------------------------------------------------------------------------

class Loader {
  public:
    Loader(const json::value& value, std::string path)
        : object_(value.if_object()), path_(std::move(path)) {
        if (object_ == nullptr) {
            damage(path_, "is not an object");
        }
    }

    template <typename V>
    void operator()(std::string_view name, V& value) {
        if (const json::value* found = take(name)) {
            load(*found, value, at(name));
        }
    }
    template <typename E, std::size_t N>
    void operator()(std::string_view name, E& value, const Names<E, N>& names) {
        std::string word;
        (*this)(name, word);
        for (const auto& [known, known_word] : names) {
            if (known_word == word) {
                value = known;
                return;
            }
        }
        damage(at(name), "has an unknown word");
    }
    template <typename V, typename... Names>
    void optional(std::string_view name, V& value, const Names&... names) {
        if (object_ != nullptr && object_->contains(name)) {
            (*this)(name, value, names...);
        }
    }
    template <typename T>
    void later(std::string_view name, std::optional<T>& value) {
        if (object_ != nullptr && object_->contains(name)) {
            (*this)(name, value.emplace());
        }
    }
    // After the last field: the error, if any. A field that nobody asked for is damage too.
    std::string finish() {
        if (object_ != nullptr && damage_.empty() && object_->size() != taken_) {
            damage(path_, "has unknown fields");
        }
        return damage_;
    }
    void skip_version() { taken_ += 1; }

  private:
    std::string at(std::string_view name) const { return fmt::format("{}.{}", path_, name); }
    void damage(const std::string& path, std::string_view what) {
        if (damage_.empty()) {
            damage_ = fmt::format("{} {}", path, what);
        }
    }
    const json::value* take(std::string_view name) {
        const json::value* found =
            object_ == nullptr || !damage_.empty() ? nullptr : object_->if_contains(name);
        if (found == nullptr) {
            damage(at(name), "is missing");
        } else {
            taken_ += 1;
        }
        return found;
    }
    // A text that `parse` accepts.
    template <typename T>
    void load_parsed(const json::value& from, T& to, const std::string& path) {
        std::string word;
        load(from, word, path);
        auto parsed = T::parse(word);
        if (parsed) {
            to = std::move(*parsed);
        } else {
            damage(path, "does not parse");
        }
    }
    void load(const json::value& from, std::string& to, const std::string& path) {
        if (const auto* text = from.if_string()) {
            to.assign(text->data(), text->size());
        } else {
            damage(path, "is not a string");
        }
    }
    void load(const json::value& from, bool& to, const std::string& path) {
        if (const auto* flag = from.if_bool()) {
            to = *flag;
        } else {
            damage(path, "is not a boolean");
        }
    }
    template <std::unsigned_integral U>
        requires(!std::same_as<U, bool>)
    void load(const json::value& from, U& to, const std::string& path) {
        boost::system::error_code error;
        const auto number = from.to_number<U>(error);
        if (error || from.is_double()) {
            damage(path, "is not a number of its range");
        } else {
            to = number;
        }
    }
    void load(const json::value& from, model::ResourceId& to, const std::string& path) {
        if (from.is_null()) {
            return;
        }
        load_parsed(from, to, path);
        if (to.empty()) {  // written as null
            damage(path, "names no subscription");
        }
    }
    void load(const json::value& from, net::Ipv4& to, const std::string& path) {
        load_parsed(from, to, path);
    }
    void load(const json::value& from, net::Ipv4Prefix& to, const std::string& path) {
        load_parsed(from, to, path);
    }
    void load(const json::value& from, net::Ipv6& to, const std::string& path) {
        load_parsed(from, to, path);
    }
    void load(const json::value& from, net::Ipv6Prefix& to, const std::string& path) {
        load_parsed(from, to, path);
    }
    void load(const json::value& from, std::map<std::string, std::string>& to,
              const std::string& path) {
        const auto* object = from.if_object();
        if (object == nullptr) {
            damage(path, "is not an object");
            return;
        }
        for (const auto& member : *object) {
            load(member.value(), to[std::string(member.key())], path);
        }
    }
    template <typename T>
    void load(const json::value& from, std::optional<T>& to, const std::string& path) {
        if (!from.is_null()) {
            load(from, to.emplace(), path);
        }
    }
    template <typename T>
    void load(const json::value& from, std::vector<T>& to, const std::string& path) {
        const auto* array = from.if_array();
        if (array == nullptr) {
            damage(path, "is not an array");
            return;
        }
        for (std::size_t i = 0; i < array->size(); ++i) {
            load((*array)[i], to.emplace_back(), fmt::format("{}[{}]", path, i));
        }
    }
    template <typename T>
        requires std::is_aggregate_v<T>
    void load(const json::value& from, T& to, const std::string& path) {
        Loader inner(from, path);
        visit(inner, to);
        if (const std::string wrong = inner.finish(); !wrong.empty() && damage_.empty()) {
            damage_ = wrong;
        }
    }

    const json::object* object_;
    std::string path_;
    std::size_t taken_ = 0;
    std::string damage_;
};

}  // namespace

template <typename T>
std::string encode(const T& value) {
    Writer writer;
    writer("v", std::uint64_t{kVersion});
    visit(writer, value);
    return json::serialize(writer.take());
}

template <typename T>
Result<T> decode(std::string_view document) {
    boost::system::error_code error;
    const json::value parsed = json::parse({document.data(), document.size()}, error);
    if (error) {
        return fail(Code::kCorrupt, fmt::format("read document: {}", error.message()));
    }
    const json::object* object = parsed.if_object();
    const json::value* version = object == nullptr ? nullptr : object->if_contains("v");
    if (version == nullptr || !version->is_int64()) {
        return fail(Code::kCorrupt, "read document: it has no version");
    }
    if (version->get_int64() != kVersion) {
        return fail(Code::kCorrupt,
                    fmt::format("read document: version {} is not {}: written by another version "
                                "of culvertd",
                                version->get_int64(), kVersion));
    }
    T value;
    Loader loader(parsed, "document");
    loader.skip_version();
    visit(loader, value);
    if (const std::string damage = loader.finish(); !damage.empty()) {
        return fail(Code::kCorrupt, fmt::format("read document: {}", damage));
    }
    return value;
}

#define CULVERT_DOCUMENT(T)                \
    template std::string encode(const T&); \
    template Result<T> decode(std::string_view)
CULVERT_DOCUMENT(model::ResourceGroup);
CULVERT_DOCUMENT(model::VirtualNetwork);
CULVERT_DOCUMENT(model::NetworkInterface);
CULVERT_DOCUMENT(model::LoadBalancer);
CULVERT_DOCUMENT(model::PrivateLinkService);
CULVERT_DOCUMENT(model::PrivateEndpointConnection);
CULVERT_DOCUMENT(model::PrivateEndpoint);
#undef CULVERT_DOCUMENT

}  // namespace culvert::wire
