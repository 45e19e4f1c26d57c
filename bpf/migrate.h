/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A NIC that moves to another node. Its packets may come from either node for a bounded time;
 * stragglers at the node it left are passed on, once; and its flow entries leave one kernel and
 * enter the other by two programs that the agent runs (no packet ever does). */
#ifndef CV_BPF_MIGRATE_H
#define CV_BPF_MIGRATE_H

#include "encap.h"
#include "sweep.h"
#include "wanted.h"

#define TRANSFER_SLOTS 8192 /* looked at in one run: packets of this CPU wait for it */

/* Whether the NIC's other node counts: the control plane says which, the kernel for how long. */
static __always_inline bool is_moving(const struct cv_nic *nic)
{
	return nic->other && bpf_ktime_get_coarse_ns() / NS_PER_S < nic->until_s;
}

/* Whether a frame of `outer_source` comes from the other node of a NIC that moves. */
static __always_inline bool from_other_node(const struct cv_config *config,
					    const struct cv_nic *nic, __be32 outer_source)
{
	__u32 index = nic->other;
	struct cv_node *node;

	if (likely(!index) || index == config->node || !is_moving(nic))
		return false;
	node = bpf_map_lookup_elem(&cv_nodes, &index);
	return node && node->family == 4 && *(__be32 *)node->outer == outer_source;
}

/* The target has left this node: the frame goes on to where it is now, its inner part untouched. It
 * is marked, and a marked one is not passed on again, so that none can go in circles. */
static __noinline int pass_on(struct __sk_buff *skb, const struct cv_config *config,
			      const struct cv_nic *target)
{
	__u32 index = target->node;
	struct cv_node *node = bpf_map_lookup_elem(&cv_nodes, &index);
	struct bpf_redir_neigh hop = {.nh_family = AF_INET};
	struct outer outer = outer_at(packet_data(skb));

	if (target->other != config->node || index == config->node || !is_moving(target))
		return CV_DROPPED(NIC_NOT_HERE);
	if (!node || node->family != 4)
		return CV_DROPPED(NODE_UNKNOWN);
	if ((void *)(outer.vxlan + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (outer.vxlan->reserved[0] & CV_VXLAN_PASSED_ON)
		return CV_DROPPED(MOVED_TWICE);
	outer.vxlan->reserved[0] |= CV_VXLAN_PASSED_ON;
	outer.ip->saddr = *(__be32 *)config->outer;
	outer.ip->daddr = *(__be32 *)node->outer;
	outer.ip->ttl = 64;
	outer.ip->check = outer_checksum(outer.ip);
	count(CV_COUNTER_MOVED_ON);
	hop.ipv4_nh = *(__be32 *)node->next_hop;
	return bpf_redirect_neigh(config->backbone_ifindex, &hop, sizeof(hop), 0);
}

static long export_slot(__u32 step, struct cv_transfer_state *state)
{
	__u32 place = state->hand, at = state->count;
	bool old = with_other && state->other;
	struct cv_slot *slot = old ? bpf_map_lookup_elem(&cv_slots_other, &place)
				   : bpf_map_lookup_elem(&cv_slots, &place);
	struct cv_transfer *out = bpf_map_lookup_elem(&cv_transfer, &at);
	struct cv_flow *flow, *other;
	struct cv_count *back;

	if (!slot)
		state->high = place; /* of the other layout how many are in use is not known */
	if (!out || place >= state->high || !slot)
		return 1; /* all seen, or no more room */
	state->hand = place + 1;
	if (!slot->check_ns)
		return 0;
	flow = old ? bpf_map_lookup_elem(&cv_flows_other, &slot->key)
		   : bpf_map_lookup_elem(&cv_flows, &slot->key);
	if (!flow || flow->slot != place + 1 || !is_wanted(state, flow))
		return 0;
	other = flow_other(flow);
	out->key = slot->key;
	/* what every layout has: the other one's entries may be shorter */
	__builtin_memcpy(&out->flow, flow, CV_FLOW_COMMON_BYTES);
	__builtin_memset((void *)&out->flow + CV_FLOW_COMMON_BYTES, 0,
			 sizeof(out->flow) - CV_FLOW_COMMON_BYTES);
	out->paired = other && is_same_key(&other->other, &slot->key);
	out->other_last_seen_ns = other ? other->last_seen_ns : 0;
	back = flow->flags & CV_FLOW_PAIRED ? other ? (struct cv_count *)&other->packets : NULL
					    : flow_answers(flow);
	out->other_packets = back ? back->packets : 0;
	out->other_bytes = back ? back->bytes : 0;
	out->other_flags = other ? other->flags : 0;
	state->count = at + 1;
	return 0;
}

/* Copies the primary entries that concern the state's NIC or NAT address, from slot `hand` on,
 * until the map of copies is full or `hand` has come to `high`. */
SEC("tc")
int copy_flows(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct cv_transfer_state *state = bpf_map_lookup_elem(&cv_transfer_state, &zero);
	struct cv_sweep *sweeps = bpf_map_lookup_elem(&cv_sweep, &zero);
	struct cv_transfer_state local;

	if (!state || !sweeps)
		return 1;
	local = *state;
	local.high = sweeps->high;
	if (local.other)
		local.high = with_other ? ~0u : 0;
	local.count = 0;
	bpf_loop(TRANSFER_SLOTS, export_slot, &local, 0);
	*state = local;
	return 0;
}

/* Removes an entry; the sweep gives the slot back soon. */
static __noinline int import_remove(const struct cv_flow_key *key, struct cv_flow *before)
{
	struct cv_slot *slot = before->flags & CV_FLOW_PRIMARY ? flow_slot(key, before) : NULL;

	flow_fold(key, flow_common(before));
	if (!flow_delete(key))
		return 0;
	count(CV_COUNTER_FLOW_REMOVED);
	if (slot)
		slot_check(slot, bpf_ktime_get_coarse_ns());
	return 0;
}

/* Gives a primary entry that came from another node its slot. It is charged, but no quota keeps it
 * out: it was let in where it was opened. */
static __noinline bool import_enroll(const struct cv_flow_key *key, const struct cv_flow *flow)
{
	struct cv_charge charge = {
		.link = flow->link,
		.consumer = flow->source_nic,
		.backend = flow->nic,
		.flags = flow->flags & CV_FLOW_PAIRED ? CV_CHARGE_PAIR : 0,
	};
	struct cv_flow *made;

	if (quota_take(&charge))
		charge.flags = 0;
	if (!flow_enroll(key, &charge)) {
		quota_give(&charge);
		return false;
	}
	made = bpf_map_lookup_elem(&cv_flows, key);
	if (made && made->slot && made->flags & CV_FLOW_OPEN)
		quota_opened(made->slot - 1);
	return true;
}

/* What an imported connection has counted so far was counted elsewhere. */
static __always_inline void import_account(const struct cv_transfer *entry)
{
	struct cv_flow *made = bpf_map_lookup_elem(&cv_flows, &entry->key);
	struct cv_account *account;
	__u32 place;

	if (!made)
		return;
	place = made->slot - 1;
	account = bpf_map_lookup_elem(&cv_accounts, &place);
	if (!account)
		return;
	account->forward.packets = entry->flow.packets;
	account->forward.bytes = entry->flow.bytes;
	account->back.packets = entry->other_packets;
	account->back.bytes = entry->other_bytes;
	account->created_ns = entry->flow.created_ns;
}

/* Puts or removes one entry. A primary entry that takes the place of another keeps its slot, and
 * what that is charged. */
static long import_entry(__u32 at, struct cv_transfer_state *state)
{
	struct cv_transfer *entry = bpf_map_lookup_elem(&cv_transfer, &at);
	struct cv_flow *before;
	struct cv_slot *slot = NULL;
	__u32 place;

	if (!entry || at >= state->high)
		return 1;
	if (entry->remove) {
		before = flow_find(&entry->key);
		if (before)
			import_remove(&entry->key, before);
		state->count = at + 1;
		return 0;
	}
	before = flow_find(&entry->key);
	if (before)
		flow_fold(&entry->key, flow_common(before));
	before = bpf_map_lookup_elem(&cv_flows, &entry->key);
	entry->flow.slot = 0;
	if (before && before->slot && entry->flow.flags & CV_FLOW_PRIMARY) {
		place = before->slot - 1;
		slot = bpf_map_lookup_elem(&cv_slots, &place);
		if (slot && is_same_key(&slot->key, &entry->key))
			entry->flow.slot = place + 1;
	}
	if (bpf_map_update_elem(&cv_flows, &entry->key, &entry->flow, BPF_ANY))
		return 1;
	if (entry->flow.flags & CV_FLOW_PRIMARY && !entry->flow.slot &&
	    !import_enroll(&entry->key, &entry->flow))
		return 1; /* it is removed again */
	if (entry->flow.flags & CV_FLOW_PRIMARY)
		import_account(entry);
	if (!before && !(with_other && bpf_map_delete_elem(&cv_flows_other, &entry->key) == 0))
		count(CV_COUNTER_FLOW_CREATED);
	state->count = at + 1;
	return 0;
}

/* Writes the first `high` entries of the map of copies; `count` of them it has. */
SEC("tc")
int write_flows(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct cv_transfer_state *state = bpf_map_lookup_elem(&cv_transfer_state, &zero);
	struct cv_transfer_state local;

	if (!state)
		return 1;
	local = *state;
	local.count = 0;
	bpf_loop(CV_TRANSFER_MAX, import_entry, &local, 0);
	*state = local;
	return 0;
}

#endif
