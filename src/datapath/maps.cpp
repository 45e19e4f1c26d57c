// SPDX-License-Identifier: Apache-2.0
#include "datapath/maps.hpp"

#include "abi/ended.h"
#include "abi/names.h"
#include "abi/six.h"
#include "abi/totals.h"
#include "abi/wire.h"
#include "base/assert.hpp"
#include "datapath/kernel_map.hpp"
#include "datapath/layout.hpp"
#include "datapath/maglev.hpp"
#include "runtime/fd.hpp"

#include <arpa/inet.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

namespace culvert::datapath {
namespace {

cv_prefix_key prefix_key(std::uint32_t vnet, net::Ipv4Prefix prefix) {
    return {.length = 32u + prefix.length, .vnet = htonl(vnet), .address = prefix.base.to_be()};
}

cv_rule_key rule_key(std::uint32_t service, const RuleImage& rule) {
    return {.service = service, .port = htons(rule.port), .proto = rule.protocol, .pad = 0};
}

cv_six six_of(const net::Ipv6& address) {
    cv_six out{};
    std::memcpy(&out, address.bytes.data(), sizeof(out));
    return out;
}

net::Ipv6 address_of(const cv_six& six) {
    net::Ipv6 out;
    std::memcpy(out.bytes.data(), &six, sizeof(six));
    return out;
}

bool same_port(const RuleImage& left, const RuleImage& right) {
    return left.protocol == right.protocol && left.port == right.port;
}

void copy_outer(const OuterAddress& from, std::uint8_t (&to)[16]) {
    std::memcpy(to, from.bytes.data(), sizeof(to));
}

class KernelMaps final : public Maps {
  public:
    explicit KernelMaps(const Datapath& datapath) : datapath_(datapath) {}

    Status find() {
        CULVERT_TRY_STATUS(first_error(
            {open(config_, "cv_config"), open(ports_, "cv_ports"), open(nics_, "cv_nics"),
             open(leases_, "cv_leases"), open(nodes_, "cv_nodes"), open(addresses_, "cv_addresses"),
             open(sixes_, "cv_sixes"), open(six_addresses_, "cv_six_addresses"),
             open(prefixes_, "cv_prefixes"), open(links_, "cv_links"),
             open(services_, "cv_services"), open(rules_, "cv_rules"), open(pools_, "cv_pools"),
             open(members_, "cv_members"), open(drops_, "cv_drops"), open(counters_, "cv_counters"),
             open(nic_held_, "cv_nic_held"), open(totals_, "cv_totals")}));
        const auto balance = made_less_ended();
        const auto own = count_entries(datapath_.map("cv_flows"));
        if (!balance || !own) {
            return std::unexpected(balance ? own.error() : balance.error());
        }
        const auto other = datapath_.draining();
        unaccounted_ = *own + (other ? other->flows : 0) - *balance;
        return {};
    }

    Status set_config(const ConfigImage& image) override {
        cv_config value{};
        value.abi_version = CV_ABI_VERSION;
        value.node = image.node;
        value.backbone_ifindex = image.backbone_ifindex;
        value.outer_family = image.outer.family;
        value.fenced = image.fenced ? 1 : 0;
        value.udp_port = htons(image.udp_port);
        copy_outer(image.outer, value.outer);
        value.backbone_mtu = image.backbone_mtu;
        value.charged = 1;
        return config_.put(0, value);
    }

    Status set_port(const PortImage& port) override {
        return ports_.put(port.ifindex, cv_port{.nic = port.nic, .flags = port.flags});
    }
    Status clear_port(std::uint32_t ifindex) override { return ports_.remove(ifindex); }

    Status set_nic(const NicImage& nic) override {
        CULVERT_ASSERT(nic.index < datapath_.sizes().nics);
        if (nic.ifindex != 0) {
            CULVERT_TRY_STATUS(keep_totals({.link = 0, .nic = nic.index}, nic.generation, 0));
        }
        cv_nic value{};
        value.address = nic.address.to_be();
        value.vnet = nic.vnet;
        value.node = nic.node;
        value.ifindex = nic.ifindex;
        value.port_flags = nic.port_flags;
        value.generation = nic.generation;
        value.other = nic.other;
        value.until_s = nic.until_s;
        return nics_.put(nic.index, value);
    }
    Status clear_nic(std::uint32_t index) override { return nics_.put(index, cv_nic{}); }

    Status set_lease(const LeaseImage& lease) override {
        CULVERT_ASSERT(lease.dns.size() <= CV_LEASE_DNS_MAX);
        cv_lease value{};
        value.gateway = lease.gateway.to_be();
        value.mask = net::Ipv4{lease.length == 0 ? 0 : ~0u << (32 - lease.length)}.to_be();
        value.mtu = htons(static_cast<std::uint16_t>(lease.mtu));
        value.dns_count = static_cast<std::uint8_t>(lease.dns.size());
        for (std::size_t at = 0; at < lease.dns.size(); ++at) {
            value.dns[at] = lease.dns[at].to_be();
        }
        return leases_.put(lease.nic, value);
    }
    Status clear_lease(std::uint32_t nic) override { return leases_.remove(nic); }

    Status set_node(const NodeImage& node) override {
        cv_node value{};
        copy_outer(node.outer, value.outer);
        copy_outer(node.next_hop, value.next_hop);
        value.family = node.outer.family;
        value.state = node.state;
        return nodes_.put(node.index, value);
    }
    Status clear_node(std::uint32_t index) override { return nodes_.put(index, cv_node{}); }

    Status set_address(const AddressImage& image) override {
        return addresses_.put({.vnet = image.vnet, .address = image.address.to_be()},
                              cv_address{.kind = image.kind, .id = image.id});
    }
    Status clear_address(std::uint32_t vnet, net::Ipv4 address) override {
        return addresses_.remove({.vnet = vnet, .address = address.to_be()});
    }
    Result<std::vector<AddressImage>> nat_addresses() const override {
        std::vector<AddressImage> out;
        const auto see = [&](std::span<const std::uint8_t> key,
                             std::span<const std::uint8_t> value) {
            cv_address_key name{};
            cv_address address{};
            std::memcpy(&name, key.data(), std::min(sizeof(name), key.size()));
            std::memcpy(&address, value.data(), std::min(sizeof(address), value.size()));
            if (address.kind == CV_ADDRESS_NAT) {
                out.push_back({.vnet = name.vnet,
                               .address = net::Ipv4::from_be(name.address),
                               .kind = address.kind,
                               .id = address.id});
            }
            return true;
        };
        CULVERT_TRY_STATUS(visit_entries(addresses_.fd(), see));
        return out;
    }

    // An answer finds its way back before a question finds its way there.
    Status set_six(const SixImage& six) override {
        CULVERT_TRY_STATUS(six_addresses_.put({.vnet = six.vnet, .address = six.name.to_be()},
                                              six_of(six.address)));
        if (!six.reached) {
            return {};
        }
        return sixes_.put({.vnet = six.vnet, .address = six_of(six.address)}, six.name.to_be());
    }
    Status clear_six(const SixImage& six) override {
        if (six.reached) {
            CULVERT_TRY_STATUS(sixes_.remove({.vnet = six.vnet, .address = six_of(six.address)}));
        }
        return six_addresses_.remove({.vnet = six.vnet, .address = six.name.to_be()});
    }

    Status set_prefixes(std::uint32_t vnet, std::span<const net::Ipv4Prefix> before,
                        std::span<const net::Ipv4Prefix> after) override {
        for (const auto& prefix : after) {
            CULVERT_TRY_STATUS(prefixes_.put(prefix_key(vnet, prefix), 1));
        }
        for (const auto& prefix : before) {
            if (std::find(after.begin(), after.end(), prefix) == after.end()) {
                CULVERT_TRY_STATUS(prefixes_.remove(prefix_key(vnet, prefix)));
            }
        }
        return {};
    }

    Status set_link(const LinkImage& link) override {
        CULVERT_ASSERT(link.id < datapath_.sizes().links);
        CULVERT_TRY_STATUS(keep_totals({.link = link.id, .nic = 0}, link.owner, link.generation));
        cv_link value{};
        value.generation = link.generation;
        value.state = link.state;
        value.service = link.service;
        value.consumer_vnet = link.consumer_vnet;
        value.provider_vnet = link.provider_vnet;
        value.endpoint = link.endpoint.to_be();
        value.nat = link.nat.to_be();
        return links_.put(link.id, value);
    }
    Status clear_link(std::uint32_t id) override { return links_.put(id, cv_link{}); }

    Status set_service(const ServiceImage* before, const ServiceImage& after) override {
        CULVERT_ASSERT(after.nat.size() <= CV_NAT_ADDRESSES_MAX);
        for (const RuleImage& rule : after.rules) {
            const std::uint32_t flags =
                (rule.reset ? CV_RULE_RESET : 0) | (rule.six ? CV_RULE_SIX : 0);
            const cv_rule value{.pool = rule.pool,
                                .backend_port = htons(rule.backend_port),
                                .affinity = rule.affinity,
                                .flags = static_cast<std::uint8_t>(flags),
                                .idle_s = rule.idle_s};
            CULVERT_TRY_STATUS(rules_.put(rule_key(after.id, rule), value));
        }
        cv_service value{};
        value.provider_vnet = after.provider_vnet;
        value.nat_count = static_cast<std::uint32_t>(after.nat.size());
        for (std::size_t at = 0; at < after.nat.size(); ++at) {
            value.nat[at] = after.nat[at].to_be();
        }
        CULVERT_TRY_STATUS(services_.put(after.id, value));
        if (before == nullptr) {
            return {};
        }
        for (const RuleImage& rule : before->rules) {
            const bool stays = std::any_of(after.rules.begin(), after.rules.end(),
                                           [&](const auto& kept) { return same_port(kept, rule); });
            if (!stays) {
                CULVERT_TRY_STATUS(rules_.remove(rule_key(after.id, rule)));
            }
        }
        return {};
    }

    Status clear_service(const ServiceImage& before) override {
        CULVERT_TRY_STATUS(services_.remove(before.id));
        for (const RuleImage& rule : before.rules) {
            CULVERT_TRY_STATUS(rules_.remove(rule_key(before.id, rule)));
        }
        return {};
    }

    Status set_table(std::uint32_t pool, std::span<const std::uint32_t> serving) override {
        auto table = make_table(serving);
        if (!table) {
            return std::unexpected(std::move(table.error()));
        }
        return pools_.put(pool, static_cast<std::uint32_t>(table->get()));
    }

    Status set_pool(std::uint32_t pool, std::span<const std::uint32_t> before,
                    std::span<const std::uint32_t> after,
                    std::span<const std::uint32_t> serving) override {
        for (const std::uint32_t nic : after) {
            CULVERT_TRY_STATUS(members_.put({.pool = pool, .nic = nic}, 1));
        }
        CULVERT_TRY_STATUS(set_table(pool, serving));
        for (const std::uint32_t nic : before) {
            if (std::find(after.begin(), after.end(), nic) == after.end()) {
                CULVERT_TRY_STATUS(members_.remove({.pool = pool, .nic = nic}));
            }
        }
        return {};
    }

    Status clear_pool(std::uint32_t pool, std::span<const std::uint32_t> before) override {
        CULVERT_TRY_STATUS(pools_.remove(pool));
        for (const std::uint32_t nic : before) {
            CULVERT_TRY_STATUS(members_.remove({.pool = pool, .nic = nic}));
        }
        return {};
    }

    Status retain(const Retained& keep) override;

    Result<std::vector<std::uint64_t>> drops() const override { return sums(drops_, CV_DROP_MAX); }
    Result<std::vector<std::uint64_t>> counters() const override {
        return sums(counters_, CV_COUNTER_MAX);
    }
    Result<std::uint64_t> flows() const override {
        const auto balance = made_less_ended();
        if (!balance) {
            return std::unexpected(balance.error());
        }
        const auto flows = static_cast<std::int64_t>(*balance + unaccounted_);
        return flows > 0 ? static_cast<std::uint64_t>(flows) : 0;
    }
    Result<std::uint64_t> delivered_flows(const std::stop_token& stop) const override;

  private:
    // By the counters, modulo 2^64: what they missed is in `unaccounted_`.
    Result<std::uint64_t> made_less_ended() const {
        auto values = counters();
        if (!values) {
            return std::unexpected(std::move(values.error()));
        }
        return (*values)[CV_COUNTER_FLOW_CREATED] - (*values)[CV_COUNTER_FLOW_EXPIRED] -
               (*values)[CV_COUNTER_FLOW_REMOVED];
    }
    Result<cv_held> held(std::uint32_t nic) const override {
        cv_held out{};
        if (bpf_map_lookup_elem(nic_held_.fd(), &nic, &out) != 0) {
            return std::unexpected(error_from_errno(errno, "read quotas"));
        }
        return out;
    }

    // Counting goes on where the same owner had counted; whoever had the id before has no more
    // part in it.
    Status keep_totals(const cv_totals_key& key, std::uint64_t owner, std::uint32_t generation) {
        cv_totals now{};
        if (bpf_map_lookup_elem(totals_.fd(), &key, &now) == 0 && now.owner == owner) {
            return {};
        }
        cv_totals fresh{};
        fresh.owner = owner;
        fresh.generation = generation;
        fresh.begun_ns =
            static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
        return totals_.put(key, fresh);
    }

    template <typename Key, typename Value>
    Status open(KernelMap<Key, Value>& map, const char* name) {
        const int fd = datapath_.map(name);
        if (fd < 0) {
            return fail(Code::kInternal, fmt::format("map {}: not in the programs", name));
        }
        map = KernelMap<Key, Value>(fd, name);
        return {};
    }
    static Status first_error(std::initializer_list<Status> all) {
        for (const Status& each : all) {
            CULVERT_TRY_STATUS(Status(each));
        }
        return {};
    }

    // A fresh inner map of cv_pools, filled in one call.
    Result<runtime::Fd> make_table(std::span<const std::uint32_t> members) const {
        bpf_map_create_opts options{};
        options.sz = sizeof(options);
        runtime::Fd table(bpf_map_create(BPF_MAP_TYPE_ARRAY, "cv_pool_table", sizeof(std::uint32_t),
                                         sizeof(std::uint32_t), CV_MAGLEV_SIZE, &options));
        if (!table) {
            return std::unexpected(error_from_errno(errno, "make pool table"));
        }
        const auto values = maglev_table(members);
        std::vector<std::uint32_t> keys(values.size());
        std::iota(keys.begin(), keys.end(), 0u);
        auto count = static_cast<std::uint32_t>(values.size());
        if (bpf_map_update_batch(table.get(), keys.data(), values.data(), &count, nullptr) != 0) {
            return std::unexpected(error_from_errno(errno, "fill pool table"));
        }
        return table;
    }

    static Result<std::vector<std::uint64_t>> sums(
        const KernelMap<std::uint32_t, std::uint64_t>& map, std::uint32_t count) {
        const int cpus = libbpf_num_possible_cpus();
        if (cpus <= 0) {
            return fail(Code::kInternal, "count the possible CPUs");
        }
        std::vector<std::uint64_t> each(static_cast<std::size_t>(cpus));
        std::vector<std::uint64_t> out(count);
        for (std::uint32_t at = 0; at < count; ++at) {
            if (bpf_map_lookup_elem(map.fd(), &at, each.data()) != 0) {
                return std::unexpected(error_from_errno(errno, "read counters"));
            }
            out[at] = std::accumulate(each.begin(), each.end(), std::uint64_t{0});
        }
        return out;
    }

    // Removes the keys of a hash that `keep` denies.
    template <typename Key, typename Value, typename Keep>
    static Status prune(const KernelMap<Key, Value>& map, Keep&& keep) {
        const auto keys = map.keys();
        if (!keys) {
            return std::unexpected(keys.error());
        }
        for (const Key& key : *keys) {
            if (!keep(key)) {
                CULVERT_TRY_STATUS(map.remove(key));
            }
        }
        return {};
    }

    // Zeroes the entries of an array that are set (by `used`) and that `keep` denies.
    template <typename Value, typename Used, typename Keep>
    static Status prune_array(const KernelMap<std::uint32_t, Value>& map, std::uint32_t count,
                              Used&& used, Keep&& keep) {
        const auto values = map.array(count);
        if (!values) {
            return std::unexpected(values.error());
        }
        for (std::uint32_t at = 0; at < count; ++at) {
            if (used((*values)[at]) && !keep(at)) {
                CULVERT_TRY_STATUS(map.put(at, Value{}));
            }
        }
        return {};
    }

    const Datapath& datapath_;
    std::uint64_t unaccounted_ = 0;
    KernelMap<std::uint32_t, cv_config> config_;
    KernelMap<std::uint32_t, cv_port> ports_;
    KernelMap<std::uint32_t, cv_nic> nics_;
    KernelMap<std::uint32_t, cv_lease> leases_;
    KernelMap<std::uint32_t, cv_node> nodes_;
    KernelMap<cv_address_key, cv_address> addresses_;
    KernelMap<cv_six_key, std::uint32_t> sixes_;
    KernelMap<cv_address_key, cv_six> six_addresses_;
    KernelMap<cv_prefix_key, std::uint32_t> prefixes_;
    KernelMap<std::uint32_t, cv_link> links_;
    KernelMap<std::uint32_t, cv_service> services_;
    KernelMap<cv_rule_key, cv_rule> rules_;
    KernelMap<std::uint32_t, std::uint32_t> pools_;  // value: descriptor of the inner map
    KernelMap<cv_member_key, std::uint32_t> members_;
    KernelMap<std::uint32_t, std::uint64_t> drops_;
    KernelMap<std::uint32_t, std::uint64_t> counters_;
    KernelMap<std::uint32_t, cv_held> nic_held_;
    KernelMap<cv_totals_key, cv_totals> totals_;
};

// The links and NICs of the active layout speak for the flows of both, as in the programs.
Result<std::uint64_t> KernelMaps::delivered_flows(const std::stop_token& stop) const {
    const auto links = links_.array(datapath_.sizes().links);
    const auto nics = nics_.array(datapath_.sizes().nics);
    if (!links || !nics) {
        return std::unexpected(links ? nics.error() : links.error());
    }
    // entries of links and NICs that are gone carry nothing any more
    const auto carries = [&](const cv_flow& flow) {
        return flow.link < links->size() && flow.nic < nics->size() &&
               (*links)[flow.link].state == CV_LINK_APPROVED &&
               (*links)[flow.link].generation == flow.link_generation &&
               (*nics)[flow.nic].ifindex != 0 &&
               (*nics)[flow.nic].generation == flow.nic_generation;
    };
    std::uint64_t out = 0;
    const auto count = [&](std::span<const std::uint8_t> value) {
        const cv_flow flow = flow_of(value);
        const bool primary = (flow.flags & CV_FLOW_PRIMARY) != 0;
        out += primary && flow.action == CV_FLOW_DELIVER && carries(flow) ? 1 : 0;
        return !stop.stop_requested();
    };
    const auto other = datapath_.draining_flows();
    if (!other) {
        return std::unexpected(other.error());
    }
    CULVERT_TRY_STATUS(visit_values(datapath_.map("cv_flows"), count));
    if (*other) {
        CULVERT_TRY_STATUS(visit_values(other->get(), count));
    }
    return out;
}

// Who refers goes before what is referred to.
Status KernelMaps::retain(const Retained& keep) {
    if (datapath_.reused("cv_ports")) {
        CULVERT_TRY_STATUS(prune(ports_, keep.port));
    }
    if (datapath_.reused("cv_leases")) {
        CULVERT_TRY_STATUS(prune(leases_, keep.lease));
    }
    if (datapath_.reused("cv_sixes")) {
        CULVERT_TRY_STATUS(prune(sixes_, [&](const cv_six_key& key) {
            return keep.six(key.vnet, address_of(key.address));
        }));
    }
    if (datapath_.reused("cv_six_addresses")) {
        CULVERT_TRY_STATUS(prune(six_addresses_, [&](const cv_address_key& key) {
            return keep.six_name(key.vnet, net::Ipv4::from_be(key.address));
        }));
    }
    if (datapath_.reused("cv_addresses")) {
        CULVERT_TRY_STATUS(prune(addresses_, [&](const cv_address_key& key) {
            return keep.address(key.vnet, net::Ipv4::from_be(key.address));
        }));
    }
    if (datapath_.reused("cv_prefixes")) {
        CULVERT_TRY_STATUS(prune(prefixes_, [&](const cv_prefix_key& key) {
            const net::Ipv4Prefix prefix{net::Ipv4::from_be(key.address),
                                         static_cast<std::uint8_t>(key.length - 32)};
            return keep.prefix(ntohl(key.vnet), prefix);
        }));
    }
    if (datapath_.reused("cv_links")) {
        CULVERT_TRY_STATUS(prune_array(
            links_, datapath_.sizes().links,
            [](const cv_link& link) { return link.state != 0 || link.generation != 0; },
            keep.link));
    }
    if (datapath_.reused("cv_services")) {
        CULVERT_TRY_STATUS(prune(services_, keep.service));
    }
    if (datapath_.reused("cv_rules")) {
        CULVERT_TRY_STATUS(prune(rules_, [&](const cv_rule_key& key) {
            return keep.rule(key.service, key.proto, ntohs(key.port));
        }));
    }
    if (datapath_.reused("cv_pools")) {
        CULVERT_TRY_STATUS(prune(pools_, keep.pool));
    }
    if (datapath_.reused("cv_members")) {
        CULVERT_TRY_STATUS(prune(
            members_, [&](const cv_member_key& key) { return keep.member(key.pool, key.nic); }));
    }
    if (datapath_.reused("cv_nics")) {
        CULVERT_TRY_STATUS(prune_array(
            nics_, datapath_.sizes().nics, [](const cv_nic& nic) { return nic.vnet != 0; },
            keep.nic));
    }
    if (datapath_.reused("cv_nodes")) {
        CULVERT_TRY_STATUS(prune_array(
            nodes_, CV_NODES_MAX, [](const cv_node& node) { return node.family != 0; }, keep.node));
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Maps>> Maps::open(const Datapath& datapath) {
    auto out = std::make_unique<KernelMaps>(datapath);
    if (auto found = out->find(); !found) {
        return std::unexpected(std::move(found.error()));
    }
    return out;
}

}  // namespace culvert::datapath
