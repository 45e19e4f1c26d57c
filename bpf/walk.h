/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Adds what open connections have counted to the totals; the agent runs it, no packet does. */
#ifndef CV_BPF_WALK_H
#define CV_BPF_WALK_H

#include "sweep.h"

#define WALK_SLOTS 1024 /* looked at in one run: packets of this CPU wait for it */

/* The NAT port that a connection to a backend here has. */
static __always_inline void walk_port(const struct cv_flow_key *key, const struct cv_flow *flow,
				      __u32 round)
{
	struct cv_nat_used_key name = {
		.backend = flow->nic,
		.nat = flow->saddr,
		.proto = key->proto,
	};
	struct cv_nat_used first = {.round = round, .ports = 1}, *used;

	used = bpf_map_lookup_elem(&cv_nat_used, &name);
	if (used && used->round == round)
		used->ports += 1;
	else
		bpf_map_update_elem(&cv_nat_used, &name, &first, BPF_ANY);
}

static long walk_slot(__u32 step, struct cv_walk *walk)
{
	__u32 place = walk->hand;
	bool old = with_other && with_other_accounts && walk->other;
	struct cv_slot *slot = old ? bpf_map_lookup_elem(&cv_slots_other, &place)
				   : bpf_map_lookup_elem(&cv_slots, &place);
	struct cv_flow *flow;

	if (!slot) /* of the other layout how many are in use is not known */
		walk->high = place;
	if (!slot || place >= walk->high)
		return 1;
	walk->hand = place + 1;
	if (!slot->check_ns)
		return 0;
	flow = old ? bpf_map_lookup_elem(&cv_flows_other, &slot->key)
		   : bpf_map_lookup_elem(&cv_flows, &slot->key);
	if (!flow || flow->slot != place + 1)
		return 0;
	flow_fold(&slot->key, flow_common(flow));
	if (flow->action == CV_FLOW_DELIVER)
		walk_port(&slot->key, flow, walk->round);
	return 0;
}

/* Walks WALK_SLOTS slots from `hand` on; at the end `hand` is `high`. */
SEC("tc")
int fold_flows(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct cv_walk *walk = bpf_map_lookup_elem(&cv_walk, &zero);
	struct cv_sweep *sweeps = bpf_map_lookup_elem(&cv_sweep, &zero);
	struct cv_walk local;

	if (!walk || !sweeps)
		return 1;
	local = *walk;
	local.high = sweeps->high;
	if (local.other)
		local.high = with_other && with_other_accounts ? ~0u : 0;
	bpf_loop(WALK_SLOTS, walk_slot, &local, 0);
	*walk = local;
	return 0;
}

#endif
