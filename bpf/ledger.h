/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* The maps of what connections are charged (quota.h) and of what they carried (totals.h). */
#ifndef CV_BPF_LEDGER_H
#define CV_BPF_LEDGER_H

#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_FLOWS_DEFAULT);
	__type(key, __u32);
	__type(value, struct cv_charge);
} cv_charges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_NICS_DEFAULT);
	__type(key, __u32);
	__type(value, struct cv_held);
} cv_nic_held SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_LINKS_DEFAULT);
	__type(key, __u32);
	__type(value, struct cv_held);
} cv_link_held SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_NAT_HELD_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_nat_key);
	__type(value, __u32);
} cv_nat_held SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_FLOWS_DEFAULT);
	__type(key, __u32);
	__type(value, struct cv_account);
} cv_accounts SEC(".maps");

/* Those of cv_slots_other. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_account);
} cv_accounts_other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_TOTALS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_totals_key);
	__type(value, struct cv_totals);
} cv_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cv_walk);
} cv_walk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CV_NAT_USED_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cv_nat_used_key);
	__type(value, struct cv_nat_used);
} cv_nat_used SEC(".maps");

#endif
