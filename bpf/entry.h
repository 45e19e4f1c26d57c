/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Entries of the flow table: how they are found, whichever map layout made them. */
#ifndef CV_BPF_ENTRY_H
#define CV_BPF_ENTRY_H

#include "quota.h"

/* Whether connections of another map layout are still served. Their entries are used where they
 * are; new ones are made in cv_flows alone, and no key is in both maps. Set before loading, so that
 * nothing is left of the second look-up where there is no other layout. */
const volatile bool with_other = false;
/* And whether that layout keeps accounts (totals.h). */
const volatile bool with_other_accounts = false;

static __always_inline bool is_same_key(const struct cv_flow_key *a, const struct cv_flow_key *b)
{
	const __u32 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

static __always_inline struct cv_flow *flow_find(const struct cv_flow_key *key)
{
	struct cv_flow *flow = bpf_map_lookup_elem(&cv_flows, key);

	if (unlikely(!flow) && with_other)
		flow = bpf_map_lookup_elem(&cv_flows_other, key);
	return flow;
}

static __always_inline bool flow_delete(const struct cv_flow_key *key)
{
	return bpf_map_delete_elem(&cv_flows, key) == 0 ||
	       (with_other && bpf_map_delete_elem(&cv_flows_other, key) == 0);
}

static __always_inline struct cv_flow *flow_other(const struct cv_flow *flow)
{
	return flow->flags & CV_FLOW_PAIRED ? flow_find(&flow->other) : NULL;
}

/* The slot of a primary entry: the sweep of its own layout looks at it. */
static __always_inline struct cv_slot *flow_slot(const struct cv_flow_key *key,
						 const struct cv_flow *primary)
{
	__u32 place = primary->slot - 1;
	struct cv_slot *slot;

	if (with_other && !bpf_map_lookup_elem(&cv_flows, key))
		slot = bpf_map_lookup_elem(&cv_slots_other, &place);
	else
		slot = bpf_map_lookup_elem(&cv_slots, &place);
	return slot && is_same_key(&slot->key, key) ? slot : NULL;
}

#endif
