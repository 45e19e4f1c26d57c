/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What went through each link, and to each backend. Packets of open connections are counted in
 * their flow entries alone. From there they get into the totals when the connection ends, and by a
 * walk over all connections that the agent has done now and then (fold_flows).
 *
 * INVARIANT: what a connection's account says is in the totals, nothing else of it is; who moves
 * the account on is who adds, so each packet is added once, however many CPUs fold at once.
 *
 * What counts is not static: the verifier looks at such a function once, by itself, instead of with
 * everything that each of its callers may hold. */
#ifndef CV_BPF_TOTALS_H
#define CV_BPF_TOTALS_H

#include "drop.h"

static __always_inline struct cv_totals *totals_of(__u32 link, __u32 nic)
{
	struct cv_totals_key key = {.link = link, .nic = nic};

	return bpf_map_lookup_elem(&cv_totals, &key);
}

/* The answers' count in an entry that has no `other`. */
static __always_inline struct cv_count *flow_answers(struct cv_flow *flow)
{
	return (struct cv_count *)&flow->other;
}

/* Two CPUs may count in one entry at once. */
static __always_inline void count_packet(struct cv_count *to, __u64 bytes)
{
	__sync_fetch_and_add(&to->packets, 1);
	__sync_fetch_and_add(&to->bytes, bytes);
}

static __always_inline void add_count(struct cv_count *to, const struct cv_count *more)
{
	if (more->packets)
		__sync_fetch_and_add(&to->packets, more->packets);
	if (more->bytes)
		__sync_fetch_and_add(&to->bytes, more->bytes);
}

/* Whether the end that the entry of this key speaks for lives here; the sender of a primary entry
 * is the consumer, of another one the backend. */
static __always_inline bool consumer_is_here(const struct cv_flow_key *key,
					     const struct cv_flow *flow)
{
	return flow->flags & CV_FLOW_PRIMARY ? key->kind == CV_FLOW_NIC
					     : flow->action == CV_FLOW_DELIVER;
}

static __always_inline bool backend_is_here(const struct cv_flow *flow)
{
	return !(flow->flags & CV_FLOW_PRIMARY) || flow->action == CV_FLOW_DELIVER;
}

/* Moves one number of an account on; what that adds to the totals. */
static __always_inline __u64 move_on(__u64 *counted, __u64 now)
{
	__u64 before = *counted;

	if (now <= before || __sync_val_compare_and_swap(counted, before, now) != before)
		return 0;
	return now - before;
}

static __always_inline void take_count(struct cv_count *more, struct cv_count *counted,
				       __u64 packets, __u64 bytes)
{
	more->packets = move_on(&counted->packets, packets);
	more->bytes = move_on(&counted->bytes, bytes);
}

/* What the entries of every layout begin with. A function that is verified by itself is given this:
 * the entry may be of another layout, where it is shorter than struct cv_flow. */
struct cv_flow_common {
	__u64 words[CV_FLOW_COMMON_BYTES / 8];
};

static __always_inline struct cv_flow_common *flow_common(struct cv_flow *flow)
{
	return (void *)flow;
}

/* A packet that its entry does not count, because it is no sign of life. */
__noinline int count_aside(const struct cv_flow_key *key, const struct cv_flow_common *common,
			   __u32 bytes, __u32 reply)
{
	const struct cv_flow *flow = (const void *)common;
	struct cv_totals *totals;
	bool out;

	if (!key || !common)
		return 0;
	out = reply || !(flow->flags & CV_FLOW_PRIMARY);
	totals = totals_of(flow->link, 0);
	if (!totals || flow->link_generation < totals->generation)
		return 0;
	if (consumer_is_here(key, flow))
		count_packet(out ? &totals->consumer_out : &totals->consumer_in, bytes);
	if (!backend_is_here(flow))
		return 0;
	count_packet(out ? &totals->provider_out : &totals->provider_in, bytes);
	totals = totals_of(0, flow->flags & CV_FLOW_PRIMARY ? flow->nic : flow->source_nic);
	if (totals)
		count_packet(out ? &totals->provider_out : &totals->provider_in, bytes);
	return 0;
}

__noinline int count_opened(__u32 link, __u32 backend, __u32 consumer_here)
{
	struct cv_totals *totals = totals_of(link, 0);

	if (totals && consumer_here)
		__sync_fetch_and_add(&totals->consumer_opened, 1);
	if (!backend)
		return 0;
	if (totals)
		__sync_fetch_and_add(&totals->provider_opened, 1);
	totals = totals_of(0, backend);
	if (totals)
		__sync_fetch_and_add(&totals->provider_opened, 1);
	return 0;
}

/* An attempt to connect that was not let through, if `fate` is the fate of one. */
__noinline int count_refused(__u32 link, int fate)
{
	struct cv_totals *totals;
	__u32 why;

	switch (fate) {
	case CV_DROPPED(LINK_REFUSED):
		why = CV_REFUSED_CONSENT;
		break;
	case CV_DROPPED(NO_RULE):
	case CV_DROPPED(NO_BACKEND):
	case CV_DROPPED(NODE_UNKNOWN):
	case CV_DROPPED(NIC_NOT_IN_POOL):
		why = CV_REFUSED_BACKEND;
		break;
	case CV_DROPPED(FLOW_QUOTA):
	case CV_DROPPED(NAT_QUOTA):
	case CV_DROPPED(NAT_EXHAUSTED):
	case CV_DROPPED(FLOW_TABLE_FULL):
		why = CV_REFUSED_CAPACITY;
		break;
	default:
		return 0;
	}
	totals = totals_of(link, 0);
	if (totals)
		__sync_fetch_and_add(&totals->refused[why], 1);
	return 0;
}

#endif
