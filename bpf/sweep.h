/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Ends flows: one kernel timer walks the slots of the primary entries, so flows age without the
 * agent. Not a timer in each entry: since 6.18 the kernel may refuse the memory of a timer to a tc
 * program, and a connection must not depend on that. */
#ifndef CV_BPF_SWEEP_H
#define CV_BPF_SWEEP_H

#include "flow.h"

#define SWEEP_SLOTS 4096 /* looked at in one go */
#define SWEEP_STEP_NS (NS_PER_S / 100)
#define SWEEP_REST_NS (NS_PER_S / 8) /* after the last slot in use */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, CV_ENDED_BYTES);
} cv_ended SEC(".maps");

/* Whether this program's sweep runs; a program that replaces another takes over its timer. */
static __u32 sweeping;

struct cv_pass {
	__u64 now;
	__u32 from;
};

/* Has the agent reset both ends of an established connection, where its rule asks for that. */
static __always_inline void sweep_tell(const struct cv_slot *slot, const struct cv_flow *flow,
				       const struct cv_flow *other, __u64 now)
{
	__u32 flags = flow->flags | (other ? other->flags : 0);
	struct cv_ended *ended;

	if (!(flow->flags & CV_FLOW_TELL) || slot->key.proto != IPPROTO_TCP || is_closing(flags) ||
	    !is_established(flow, other))
		return;
	ended = bpf_ringbuf_reserve(&cv_ended, sizeof(*ended), 0);
	if (!ended)
		return;
	ended->ended_ns = now;
	ended->key = slot->key;
	ended->pad = 0;
	__builtin_memcpy(&ended->flow, flow, CV_FLOW_COMMON_BYTES);
	bpf_ringbuf_submit(ended, 0);
	count(CV_COUNTER_IDLE_RESET);
}

/* Removes the flow of a slot if its time has come; false: it lives on. */
static __always_inline bool sweep_flow(struct cv_slot *slot, __u32 place, __u64 due, __u64 now)
{
	struct cv_flow *flow = bpf_map_lookup_elem(&cv_flows, &slot->key), *other;
	__u64 end;

	if (!flow || flow->slot != place + 1)
		return true; /* removed on the way, or opened anew with another slot */
	other = flow_other(flow);
	end = flow->last_seen_ns;
	if (other && other->last_seen_ns > end)
		end = other->last_seen_ns;
	end += idle_limit(flow, other);
	if (now < end) {
		__sync_val_compare_and_swap(&slot->check_ns, due, end);
		return false;
	}
	flow_fold(&slot->key, flow_common(flow));
	sweep_tell(slot, flow, other, now);
	if (other && is_same_key(&other->other, &slot->key) &&
	    bpf_map_delete_elem(&cv_flows, &flow->other) == 0)
		count(CV_COUNTER_FLOW_EXPIRED);
	if (bpf_map_delete_elem(&cv_flows, &slot->key) == 0)
		count(CV_COUNTER_FLOW_EXPIRED);
	return true;
}

static long sweep_slot(__u32 step, struct cv_pass *pass)
{
	__u32 place = pass->from + step;
	struct cv_slot *slot = bpf_map_lookup_elem(&cv_slots, &place);
	__u64 due;

	if (!slot)
		return 1;
	due = slot->check_ns;
	if (due && due <= pass->now && sweep_flow(slot, place, due, pass->now)) {
		slot->check_ns = 0;
		quota_release(place);
		bpf_map_push_elem(&cv_free, &place, 0);
	}
	return 0;
}

static int sweep(void *map, __u32 *key, struct cv_sweep *state)
{
	struct cv_pass pass = {.now = bpf_ktime_get_coarse_ns(), .from = state->hand};
	__u32 high = state->high, steps;
	bool last;

	if (pass.from >= high)
		pass.from = 0;
	last = high - pass.from <= SWEEP_SLOTS;
	steps = last ? high - pass.from : SWEEP_SLOTS;
	bpf_loop(steps, sweep_slot, &pass, 0);
	state->hand = last ? 0 : pass.from + steps;
	bpf_timer_start(&state->timer, last ? SWEEP_REST_NS : SWEEP_STEP_NS, 0);
	return 0;
}

/* Starts the timer once; where the kernel has no memory for it, the next connection tries again. */
static __always_inline void sweep_start(struct cv_sweep *state)
{
	if (likely(sweeping) || __sync_val_compare_and_swap(&sweeping, 0, 1))
		return;
	bpf_timer_init(&state->timer, &cv_sweep, CLOCK_MONOTONIC); /* busy: an earlier program's */
	if (bpf_timer_set_callback(&state->timer, sweep) ||
	    bpf_timer_start(&state->timer, SWEEP_REST_NS, 0))
		sweeping = 0;
}

/* Takes a slot: one that was given back, else the lowest never used; false: none is left. */
static __always_inline bool take_slot(struct cv_sweep *state, __u32 *place)
{
	if (bpf_map_pop_elem(&cv_free, place) == 0)
		return true;
	*place = __sync_fetch_and_add(&state->high, 1);
	if (bpf_map_lookup_elem(&cv_slots, place))
		return true;
	__sync_fetch_and_add(&state->high, -1);
	return false;
}

/* What the connection's entry has counted so far is none of this node's, and its answers none. */
static __always_inline void begin_account(__u32 place, struct cv_flow *flow)
{
	struct cv_account *account = bpf_map_lookup_elem(&cv_accounts, &place);

	if (!account)
		return;
	account->forward.packets = flow->packets;
	account->forward.bytes = flow->bytes;
	account->back.packets = 0;
	account->back.bytes = 0;
	account->created_ns = flow->created_ns;
}

/* Gives the new primary entry its slot, and the slot its charge; false: there is none, and the
 * entry is removed. */
static __noinline bool flow_enroll(const struct cv_flow_key *key, const struct cv_charge *charge)
{
	__u32 zero = 0, place;
	struct cv_sweep *state = bpf_map_lookup_elem(&cv_sweep, &zero);
	struct cv_flow *flow = bpf_map_lookup_elem(&cv_flows, key);
	struct cv_slot *slot;

	if (!state || !flow)
		return false;
	sweep_start(state);
	if (take_slot(state, &place)) {
		slot = bpf_map_lookup_elem(&cv_slots, &place);
		if (slot) {
			quota_keep(place, charge);
			begin_account(place, flow);
			slot->key = *key;
			flow->slot = place + 1;
			slot->check_ns = flow->created_ns + opening_ns;
			return true;
		}
	}
	bpf_map_delete_elem(&cv_flows, key);
	return false;
}

#endif
