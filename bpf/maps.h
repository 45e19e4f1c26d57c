/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* The maps of the data plane, as abi/maps.h describes them. Sizes are defaults: the loader sets
 * max_entries, pins the maps and shares them between generations of the programs. */
#ifndef CV_BPF_MAPS_H
#define CV_BPF_MAPS_H

#include "kernel.h"
#include "ledger.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_config);
} cv_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_PORTS_MAX);
	__type(key, __u32);
	__type(value, struct cv_port);
} cv_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_NICS_DEFAULT);
	__type(key, __u32);
	__type(value, struct cv_nic);
} cv_nics SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_NODES_MAX);
	__type(key, __u32);
	__type(value, struct cv_node);
} cv_nodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_NODES_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct cv_echo);
} cv_echoes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, CV_NOTES_BYTES);
} cv_notes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_alias);
} cv_alias SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_PORTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct cv_lease);
} cv_leases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_ADDRESSES_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_address_key);
	__type(value, struct cv_address);
} cv_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_SIXES_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_six_key);
	__type(value, __be32);
} cv_sixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_SIXES_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_address_key);
	__type(value, struct cv_six);
} cv_six_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, CV_PREFIXES_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_prefix_key);
	__type(value, __u32);
} cv_prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_LINKS_DEFAULT);
	__type(key, __u32);
	__type(value, struct cv_link);
} cv_links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_SERVICES_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct cv_service);
} cv_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_RULES_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_rule_key);
	__type(value, struct cv_rule);
} cv_rules SEC(".maps");

struct cv_pool_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_MAGLEV_SIZE);
	__type(key, __u32);
	__type(value, __u32);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, CV_POOLS_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__array(values, struct cv_pool_table);
} cv_pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_MEMBERS_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_member_key);
	__type(value, __u32);
} cv_members SEC(".maps");

/* Preallocated and never evicting: losing a live flow breaks a connection. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_FLOWS_DEFAULT);
	__type(key, struct cv_flow_key);
	__type(value, struct cv_flow);
} cv_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_FLOWS_DEFAULT);
	__type(key, __u32);
	__type(value, struct cv_slot);
} cv_slots SEC(".maps");

/* What an earlier or later layout of the maps left (ARCHITECTURE.md 6): its flows and their slots,
 * read and written in place until they have ended. The loader puts its maps here; without them
 * nothing looks here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct cv_flow_key);
	__type(value, struct cv_flow);
} cv_flows_other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_slot);
} cv_slots_other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, CV_FLOWS_DEFAULT);
	__type(value, __u32);
} cv_free SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CV_FRAGMENTS_DEFAULT);
	__type(key, struct cv_fragment_key);
	__type(value, struct cv_fragment);
} cv_fragments SEC(".maps");

/* The last identification that a fragmented packet was given. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} cv_identification SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_sweep);
} cv_sweep SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CV_DROP_MAX);
	__type(key, __u32);
	__type(value, __u64);
} cv_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CV_COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} cv_counters SEC(".maps");

/* Where each CPU's search for a NAT port goes on; 0: not started. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} cv_cursor SEC(".maps");

/* Flow entries on their way out of or into this kernel (migrate.h). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_TRANSFER_MAX);
	__type(key, __u32);
	__type(value, struct cv_transfer);
} cv_transfer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_transfer_state);
} cv_transfer_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_transfer_nics);
} cv_transfer_nics SEC(".maps");

#endif
