// SPDX-License-Identifier: Apache-2.0
// The structs of abi/maps.h as the C++ side sees them against the object's BTF, and the maps
// against abi/limits.h.
#include "abi/alias.h"
#include "abi/dhcp.h"
#include "abi/echo.h"
#include "abi/fragment.h"
#include "abi/limits.h"
#include "abi/maps.h"
#include "abi/names.h"
#include "abi/note.h"
#include "abi/quota.h"
#include "abi/six.h"
#include "abi/totals.h"
#include "abi/transfer.h"

#include "bpf/datapath.skel.h"
#include "bpf/stub.skel.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>

namespace culvert::packet {
namespace {

using Offsets = std::map<std::string, std::size_t>;

struct Layout {
    std::size_t size;
    Offsets offsets;
};

#define FIELD(type, field) {#field, offsetof(type, field)}

const std::map<std::string, Layout> kLayouts = {
    {"cv_config",
     {sizeof(cv_config),
      {FIELD(cv_config, abi_version), FIELD(cv_config, node), FIELD(cv_config, backbone_ifindex),
       FIELD(cv_config, outer_family), FIELD(cv_config, fenced), FIELD(cv_config, udp_port),
       FIELD(cv_config, outer), FIELD(cv_config, backbone_mtu), FIELD(cv_config, charged)}}},
    {"cv_port", {sizeof(cv_port), {FIELD(cv_port, nic), FIELD(cv_port, flags)}}},
    {"cv_nic",
     {sizeof(cv_nic),
      {FIELD(cv_nic, address), FIELD(cv_nic, vnet), FIELD(cv_nic, node), FIELD(cv_nic, ifindex),
       FIELD(cv_nic, port_flags), FIELD(cv_nic, generation), FIELD(cv_nic, other),
       FIELD(cv_nic, until_s)}}},
    {"cv_node",
     {sizeof(cv_node),
      {FIELD(cv_node, outer), FIELD(cv_node, next_hop), FIELD(cv_node, family),
       FIELD(cv_node, state), FIELD(cv_node, pad)}}},
    {"cv_echo",
     {sizeof(cv_echo),
      {FIELD(cv_echo, nonce), FIELD(cv_echo, relay_nonce), FIELD(cv_echo, heard_ns),
       FIELD(cv_echo, relay_heard_ns), FIELD(cv_echo, answers), FIELD(cv_echo, window),
       FIELD(cv_echo, spent), FIELD(cv_echo, relay_sequence), FIELD(cv_echo, sequence),
       FIELD(cv_echo, fenced)}}},
    {"cv_lease",
     {sizeof(cv_lease),
      {FIELD(cv_lease, gateway), FIELD(cv_lease, mask), FIELD(cv_lease, dns),
       FIELD(cv_lease, dns_count), FIELD(cv_lease, pad), FIELD(cv_lease, mtu)}}},
    {"cv_alias", {sizeof(cv_alias), {FIELD(cv_alias, ifindex), FIELD(cv_alias, base)}}},
    {"cv_address_key",
     {sizeof(cv_address_key), {FIELD(cv_address_key, vnet), FIELD(cv_address_key, address)}}},
    {"cv_address", {sizeof(cv_address), {FIELD(cv_address, kind), FIELD(cv_address, id)}}},
    {"cv_six", {sizeof(cv_six), {FIELD(cv_six, word)}}},
    {"cv_six_key", {sizeof(cv_six_key), {FIELD(cv_six_key, vnet), FIELD(cv_six_key, address)}}},
    {"cv_prefix_key",
     {sizeof(cv_prefix_key),
      {FIELD(cv_prefix_key, length), FIELD(cv_prefix_key, vnet), FIELD(cv_prefix_key, address)}}},
    {"cv_link",
     {sizeof(cv_link),
      {FIELD(cv_link, generation), FIELD(cv_link, state), FIELD(cv_link, service),
       FIELD(cv_link, consumer_vnet), FIELD(cv_link, provider_vnet), FIELD(cv_link, endpoint),
       FIELD(cv_link, nat), FIELD(cv_link, pad)}}},
    {"cv_service",
     {sizeof(cv_service),
      {FIELD(cv_service, provider_vnet), FIELD(cv_service, nat_count), FIELD(cv_service, nat)}}},
    {"cv_rule_key",
     {sizeof(cv_rule_key),
      {FIELD(cv_rule_key, service), FIELD(cv_rule_key, port), FIELD(cv_rule_key, proto),
       FIELD(cv_rule_key, pad)}}},
    {"cv_rule",
     {sizeof(cv_rule),
      {FIELD(cv_rule, pool), FIELD(cv_rule, backend_port), FIELD(cv_rule, affinity),
       FIELD(cv_rule, flags), FIELD(cv_rule, idle_s)}}},
    {"cv_member_key",
     {sizeof(cv_member_key), {FIELD(cv_member_key, pool), FIELD(cv_member_key, nic)}}},
    {"cv_flow_key",
     {sizeof(cv_flow_key),
      {FIELD(cv_flow_key, scope), FIELD(cv_flow_key, saddr), FIELD(cv_flow_key, daddr),
       FIELD(cv_flow_key, sport), FIELD(cv_flow_key, dport), FIELD(cv_flow_key, proto),
       FIELD(cv_flow_key, kind), FIELD(cv_flow_key, pad)}}},
    {"cv_flow", {sizeof(cv_flow), {FIELD(cv_flow, last_seen_ns),  FIELD(cv_flow, created_ns),
                                   FIELD(cv_flow, packets),       FIELD(cv_flow, bytes),
                                   FIELD(cv_flow, link),          FIELD(cv_flow, link_generation),
                                   FIELD(cv_flow, nic),           FIELD(cv_flow, nic_generation),
                                   FIELD(cv_flow, source_nic),    FIELD(cv_flow, source_generation),
                                   FIELD(cv_flow, saddr),         FIELD(cv_flow, daddr),
                                   FIELD(cv_flow, sport),         FIELD(cv_flow, dport),
                                   FIELD(cv_flow, address_delta), FIELD(cv_flow, port_delta),
                                   FIELD(cv_flow, idle_s),        FIELD(cv_flow, flags),
                                   FIELD(cv_flow, action),        FIELD(cv_flow, pad),
                                   FIELD(cv_flow, other),         FIELD(cv_flow, slot)}}},
    {"cv_charge",
     {sizeof(cv_charge),
      {FIELD(cv_charge, link), FIELD(cv_charge, consumer), FIELD(cv_charge, backend),
       FIELD(cv_charge, flags)}}},
    {"cv_held", {sizeof(cv_held), {FIELD(cv_held, entries), FIELD(cv_held, opening)}}},
    {"cv_nat_key", {sizeof(cv_nat_key), {FIELD(cv_nat_key, link), FIELD(cv_nat_key, backend)}}},
    {"cv_count", {sizeof(cv_count), {FIELD(cv_count, packets), FIELD(cv_count, bytes)}}},
    {"cv_account",
     {sizeof(cv_account),
      {FIELD(cv_account, created_ns), FIELD(cv_account, forward), FIELD(cv_account, back)}}},
    {"cv_totals_key",
     {sizeof(cv_totals_key), {FIELD(cv_totals_key, link), FIELD(cv_totals_key, nic)}}},
    {"cv_totals",
     {sizeof(cv_totals),
      {FIELD(cv_totals, consumer_in), FIELD(cv_totals, consumer_out), FIELD(cv_totals, provider_in),
       FIELD(cv_totals, provider_out), FIELD(cv_totals, consumer_opened),
       FIELD(cv_totals, provider_opened), FIELD(cv_totals, refused), FIELD(cv_totals, owner),
       FIELD(cv_totals, begun_ns), FIELD(cv_totals, generation), FIELD(cv_totals, pad)}}},
    {"cv_walk",
     {sizeof(cv_walk),
      {FIELD(cv_walk, hand), FIELD(cv_walk, high), FIELD(cv_walk, other), FIELD(cv_walk, round)}}},
    {"cv_nat_used_key",
     {sizeof(cv_nat_used_key),
      {FIELD(cv_nat_used_key, backend), FIELD(cv_nat_used_key, nat),
       FIELD(cv_nat_used_key, proto)}}},
    {"cv_nat_used", {sizeof(cv_nat_used), {FIELD(cv_nat_used, round), FIELD(cv_nat_used, ports)}}},
    {"cv_fragment_key",
     {sizeof(cv_fragment_key),
      {FIELD(cv_fragment_key, nic), FIELD(cv_fragment_key, slot), FIELD(cv_fragment_key, kind),
       FIELD(cv_fragment_key, pad)}}},
    {"cv_fragment",
     {sizeof(cv_fragment),
      {FIELD(cv_fragment, key), FIELD(cv_fragment, id), FIELD(cv_fragment, sent_id),
       FIELD(cv_fragment, seen_ns)}}},
    {"cv_slot",
     {sizeof(cv_slot), {FIELD(cv_slot, key), FIELD(cv_slot, pad), FIELD(cv_slot, check_ns)}}},
    {"cv_sweep",
     {sizeof(cv_sweep), {FIELD(cv_sweep, timer), FIELD(cv_sweep, high), FIELD(cv_sweep, hand)}}},
    {"cv_transfer",
     {sizeof(cv_transfer),
      {FIELD(cv_transfer, key), FIELD(cv_transfer, remove), FIELD(cv_transfer, flow),
       FIELD(cv_transfer, other_last_seen_ns), FIELD(cv_transfer, other_packets),
       FIELD(cv_transfer, other_bytes), FIELD(cv_transfer, other_flags),
       FIELD(cv_transfer, paired)}}},
    {"cv_transfer_nics", {sizeof(cv_transfer_nics), {FIELD(cv_transfer_nics, words)}}},
    {"cv_transfer_state",
     {sizeof(cv_transfer_state),
      {FIELD(cv_transfer_state, nic), FIELD(cv_transfer_state, hand),
       FIELD(cv_transfer_state, high), FIELD(cv_transfer_state, count),
       FIELD(cv_transfer_state, other), FIELD(cv_transfer_state, nat)}}},
};

Layout layout_in(const btf* types, const std::string& name) {
    auto id = btf__find_by_name_kind(types, name.c_str(), BTF_KIND_STRUCT);
    if (id < 0) {
        return {};
    }
    const auto* type = btf__type_by_id(types, static_cast<__u32>(id));
    Layout layout{.size = type->size, .offsets = {}};
    for (__u32 i = 0; i < btf_vlen(type); i++) {
        const auto* name_of = btf__name_by_offset(types, btf_members(type)[i].name_off);
        layout.offsets[name_of] = btf_member_bit_offset(type, i) / 8;
    }
    return layout;
}

TEST(Abi, EveryStructIsLaidOutAlikeOnBothSides) {
    std::unique_ptr<datapath, decltype(&datapath__destroy)> skeleton(datapath__open(),
                                                                     datapath__destroy);
    ASSERT_TRUE(skeleton);
    const auto* types = bpf_object__btf(skeleton->obj);
    for (const auto& [name, expected] : kLayouts) {
        auto found = layout_in(types, name);
        EXPECT_EQ(found.size, expected.size) << name;
        EXPECT_EQ(found.offsets, expected.offsets) << name;
    }
}

TEST(Abi, MapsHaveTheSizesOfTheLimits) {
    std::unique_ptr<datapath, decltype(&datapath__destroy)> skeleton(datapath__open(),
                                                                     datapath__destroy);
    ASSERT_TRUE(skeleton);
    const auto& maps = skeleton->maps;
    const std::map<std::string, std::array<__u32, 4>> expected = {
        {"cv_config", {1, 4, sizeof(cv_config), BPF_MAP_TYPE_ARRAY}},
        {"cv_ports", {CV_PORTS_MAX, 4, sizeof(cv_port), BPF_MAP_TYPE_HASH}},
        {"cv_nics", {CV_NICS_DEFAULT, 4, sizeof(cv_nic), BPF_MAP_TYPE_ARRAY}},
        {"cv_nodes", {CV_NODES_MAX, 4, sizeof(cv_node), BPF_MAP_TYPE_ARRAY}},
        {"cv_echoes", {CV_NODES_MAX, 4, sizeof(cv_echo), BPF_MAP_TYPE_ARRAY}},
        {"cv_notes", {CV_NOTES_BYTES, 0, 0, BPF_MAP_TYPE_RINGBUF}},
        {"cv_leases", {CV_PORTS_MAX, 4, sizeof(cv_lease), BPF_MAP_TYPE_HASH}},
        {"cv_alias", {1, 4, sizeof(cv_alias), BPF_MAP_TYPE_ARRAY}},
        {"cv_addresses",
         {CV_ADDRESSES_DEFAULT, sizeof(cv_address_key), sizeof(cv_address), BPF_MAP_TYPE_HASH}},
        {"cv_sixes", {CV_SIXES_DEFAULT, sizeof(cv_six_key), 4, BPF_MAP_TYPE_HASH}},
        {"cv_six_addresses",
         {CV_SIXES_DEFAULT, sizeof(cv_address_key), sizeof(cv_six), BPF_MAP_TYPE_HASH}},
        {"cv_prefixes", {CV_PREFIXES_DEFAULT, sizeof(cv_prefix_key), 4, BPF_MAP_TYPE_LPM_TRIE}},
        {"cv_links", {CV_LINKS_DEFAULT, 4, sizeof(cv_link), BPF_MAP_TYPE_ARRAY}},
        {"cv_services", {CV_SERVICES_DEFAULT, 4, sizeof(cv_service), BPF_MAP_TYPE_HASH}},
        {"cv_rules", {CV_RULES_DEFAULT, sizeof(cv_rule_key), sizeof(cv_rule), BPF_MAP_TYPE_HASH}},
        {"cv_pools", {CV_POOLS_DEFAULT, 4, 4, BPF_MAP_TYPE_HASH_OF_MAPS}},
        {"cv_members", {CV_MEMBERS_DEFAULT, sizeof(cv_member_key), 4, BPF_MAP_TYPE_HASH}},
        {"cv_flows", {CV_FLOWS_DEFAULT, sizeof(cv_flow_key), sizeof(cv_flow), BPF_MAP_TYPE_HASH}},
        {"cv_slots", {CV_FLOWS_DEFAULT, 4, sizeof(cv_slot), BPF_MAP_TYPE_ARRAY}},
        {"cv_flows_other", {1, sizeof(cv_flow_key), sizeof(cv_flow), BPF_MAP_TYPE_HASH}},
        {"cv_slots_other", {1, 4, sizeof(cv_slot), BPF_MAP_TYPE_ARRAY}},
        {"cv_charges", {CV_FLOWS_DEFAULT, 4, sizeof(cv_charge), BPF_MAP_TYPE_ARRAY}},
        {"cv_nic_held", {CV_NICS_DEFAULT, 4, sizeof(cv_held), BPF_MAP_TYPE_ARRAY}},
        {"cv_link_held", {CV_LINKS_DEFAULT, 4, sizeof(cv_held), BPF_MAP_TYPE_ARRAY}},
        {"cv_nat_held", {CV_NAT_HELD_MAX, sizeof(cv_nat_key), 4, BPF_MAP_TYPE_HASH}},
        {"cv_accounts", {CV_FLOWS_DEFAULT, 4, sizeof(cv_account), BPF_MAP_TYPE_ARRAY}},
        {"cv_accounts_other", {1, 4, sizeof(cv_account), BPF_MAP_TYPE_ARRAY}},
        {"cv_totals", {CV_TOTALS_MAX, sizeof(cv_totals_key), sizeof(cv_totals), BPF_MAP_TYPE_HASH}},
        {"cv_walk", {1, 4, sizeof(cv_walk), BPF_MAP_TYPE_ARRAY}},
        {"cv_nat_used",
         {CV_NAT_USED_MAX, sizeof(cv_nat_used_key), sizeof(cv_nat_used), BPF_MAP_TYPE_HASH}},
        {"cv_ended", {CV_ENDED_BYTES, 0, 0, BPF_MAP_TYPE_RINGBUF}},
        {"cv_fragments",
         {CV_FRAGMENTS_DEFAULT, sizeof(cv_fragment_key), sizeof(cv_fragment),
          BPF_MAP_TYPE_LRU_HASH}},
        {"cv_identification", {1, 4, 4, BPF_MAP_TYPE_ARRAY}},
        {"cv_free", {CV_FLOWS_DEFAULT, 0, 4, BPF_MAP_TYPE_STACK}},
        {"cv_sweep", {1, 4, sizeof(cv_sweep), BPF_MAP_TYPE_ARRAY}},
        {"cv_drops", {CV_DROP_MAX, 4, 8, BPF_MAP_TYPE_PERCPU_ARRAY}},
        {"cv_counters", {CV_COUNTER_MAX, 4, 8, BPF_MAP_TYPE_PERCPU_ARRAY}},
        {"cv_cursor", {1, 4, 4, BPF_MAP_TYPE_PERCPU_ARRAY}},
        {"cv_dhcp6", {1, 4, CV_DHCP6_BYTES, BPF_MAP_TYPE_PERCPU_ARRAY}},
        {"cv_transfer", {CV_TRANSFER_MAX, 4, sizeof(cv_transfer), BPF_MAP_TYPE_ARRAY}},
        {"cv_transfer_state", {1, 4, sizeof(cv_transfer_state), BPF_MAP_TYPE_ARRAY}},
        {"cv_transfer_nics", {1, 4, sizeof(cv_transfer_nics), BPF_MAP_TYPE_ARRAY}},
    };
    std::map<std::string, std::array<__u32, 4>> found;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, skeleton->obj) {
        if (!bpf_map__is_internal(map)) {
            found[bpf_map__name(map)] = {bpf_map__max_entries(map), bpf_map__key_size(map),
                                         bpf_map__value_size(map), bpf_map__type(map)};
        }
    }
    EXPECT_EQ(found, expected);
    EXPECT_EQ(bpf_map__map_flags(maps.cv_flows) & BPF_F_NO_PREALLOC, 0u) << "flows preallocated";
}

// Numbers name reasons for good: none twice, none beyond the counter array.
TEST(Abi, NumbersAreUniqueAndFit) {
    std::map<int, std::string> drops, counters;
#define CV_DROP(symbol, number, severity, sentence)                          \
    EXPECT_TRUE(drops.emplace(number, #symbol).second) << "drop " << number; \
    EXPECT_GT(number, 0);                                                    \
    EXPECT_LT(number, CV_DROP_MAX);
#include "abi/drop_reasons.def"
#undef CV_DROP
#define CV_COUNTER(symbol, number, sentence)                                       \
    EXPECT_TRUE(counters.emplace(number, #symbol).second) << "counter " << number; \
    EXPECT_GE(number, 0);                                                          \
    EXPECT_LT(number, CV_COUNTER_MAX);
#include "abi/counters.def"
#undef CV_COUNTER
}

}  // namespace
}  // namespace culvert::packet
