/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Flows: connections that were let through once. An entry is trusted only while its link's approval
 * and the NICs that it names are those it was made with; a kernel timer in the primary entry ends
 * it. */
#ifndef CV_BPF_FLOW_H
#define CV_BPF_FLOW_H

#include "fold.h"
#include "packet.h"
#include "segment.h"

#define NS_PER_S 1000000000ull
#define TOUCH_NS (NS_PER_S / 4)

/* How long a connection may stay unanswered, and how long a closed one is kept for its last
 * segments. The loader may set other values before it loads. */
const volatile __u64 opening_ns = 30 * NS_PER_S;
const volatile __u64 closing_ns = 2 * NS_PER_S;
/* what rules give their idle timeouts in */
const volatile __u64 idle_unit_ns = NS_PER_S;

/* Besides fates: the flow is gone, the packet opens a new one. */
#define CV_FRESH 256

static __always_inline bool is_closing(__u32 flags)
{
	const __u32 both = CV_FLOW_FIN_FORWARD | CV_FLOW_FIN_REPLY;

	return flags & CV_FLOW_RST || (flags & both) == both;
}

/* Whether both ends have spoken, by what both directions saw. */
static __always_inline bool is_established(const struct cv_flow *flow, const struct cv_flow *other)
{
	__u32 flags = flow->flags | (other ? other->flags : 0);
	__u64 answers = other ? other->packets : 0;

	return flags & CV_FLOW_OPEN && (flags & CV_FLOW_SEEN_REPLY || answers);
}

/* How long a flow may be idle. */
static __always_inline __u64 idle_limit(const struct cv_flow *flow, const struct cv_flow *other)
{
	if (is_closing(flow->flags | (other ? other->flags : 0)))
		return closing_ns;
	return is_established(flow, other) ? flow->idle_s * idle_unit_ns : opening_ns;
}

/* Has the sweep look at a slot at another time; not when the slot was given back meanwhile. */
static __always_inline void slot_check(struct cv_slot *slot, __u64 when)
{
	__u64 before = slot->check_ns;

	if (before)
		__sync_val_compare_and_swap(&slot->check_ns, before, when);
}

/* The first segment without SYN, or the first answer: is the handshake over? */
static __noinline int flow_opened(const struct cv_flow_key *key, struct cv_flow *flow)
{
	struct cv_flow *other = flow_other(flow);
	bool primary = flow->flags & CV_FLOW_PRIMARY;
	struct cv_flow *first = primary ? flow : other, *back = primary ? other : flow;

	if (!first || !(first->flags & CV_FLOW_OPEN) ||
	    !(first->flags & CV_FLOW_SEEN_REPLY || (back && back->packets)))
		return 0;
	if (!primary)
		key = &flow->other;
	/* the other layout's connections are charged there */
	if (with_other && !bpf_map_lookup_elem(&cv_flows, key))
		return 0;
	if (flow_slot(key, first))
		quota_opened(first->slot - 1);
	return 0;
}

/* Removes both entries of a flow; one that already belongs to a newer flow stays. */
static __noinline int flow_remove(struct cv_flow_key *key, struct cv_flow *flow)
{
	struct cv_flow_key other_key = flow->other;
	struct cv_flow *other = flow_other(flow);
	bool paired = other && is_same_key(&other->other, key);
	bool primary = flow->flags & CV_FLOW_PRIMARY;
	struct cv_slot *slot = NULL;

	if (primary)
		slot = flow_slot(key, flow);
	else if (paired)
		slot = flow_slot(&other_key, other);
	flow_fold(key, flow_common(flow));
	if (flow_delete(key))
		count(CV_COUNTER_FLOW_REMOVED);
	if (paired && flow_delete(&other_key))
		count(CV_COUNTER_FLOW_REMOVED);
	if (slot) /* and with it what the connection is charged */
		slot_check(slot, bpf_ktime_get_coarse_ns());
	return 0;
}

/* Notes FIN and RST; a connection that is over is kept only for its last segments. */
static __noinline int flow_close(const struct cv_flow_key *key, struct cv_flow *flow, __u32 flag)
{
	struct cv_flow *other = flow_other(flow);
	struct cv_flow *primary = flow->flags & CV_FLOW_PRIMARY ? flow : other;

	__sync_fetch_and_or(&flow->flags, flag);
	if (primary && is_closing(flow->flags | (other ? other->flags : 0))) {
		struct cv_slot *slot = flow_slot(primary == flow ? key : &flow->other, primary);

		if (slot)
			slot_check(slot, bpf_ktime_get_coarse_ns() + closing_ns);
	}
	return 0;
}

/* What a packet that passes leaves behind. `reply`: it runs against the entry's direction. An error
 * is no sign of life; of a fragmented packet the first piece is. `reply` only with an entry that
 * has no `other`. */
static __always_inline void flow_touch(struct __sk_buff *skb, const struct cv_flow_key *key,
				       struct cv_flow *flow, const struct cv_segment *segment,
				       bool reply)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__u32 seen = reply ? CV_FLOW_SEEN_REPLY : CV_FLOW_OPEN;
	__u8 tcp = segment->tcp;

	if (unlikely(segment->error || segment->fragment == CV_LATER)) {
		count_aside(key, flow_common(flow), skb->len - ETH_BYTES, reply);
		return;
	}
	count_packet(reply ? flow_answers(flow) : (struct cv_count *)&flow->packets,
		     skb->len - ETH_BYTES);
	if (now - flow->last_seen_ns > TOUCH_NS)
		flow->last_seen_ns = now;
	if (unlikely(!(flow->flags & seen)) && (reply || !(tcp & TCP_SYN))) {
		__sync_fetch_and_or(&flow->flags, seen);
		flow_opened(key, flow);
	}
	if (unlikely(tcp & (TCP_FIN | TCP_RST))) {
		bool forward = !reply && flow->flags & CV_FLOW_PRIMARY;

		flow_close(key, flow,
			   tcp & TCP_RST ? CV_FLOW_RST
			   : forward     ? CV_FLOW_FIN_FORWARD
					 : CV_FLOW_FIN_REPLY);
	}
}

/* A packet that opens a connection, or that found an entry which is not to be trusted (`fate` says
 * why). */
static __noinline int flow_doubt(struct cv_flow_key *key, struct cv_flow *flow, int fate,
				 bool opening, bool reachable)
{
	bool primary = flow->flags & CV_FLOW_PRIMARY;

	if (!fate) {
		struct cv_flow *other = flow_other(flow);

		/* only the consumer opens connections */
		if (!primary)
			return CV_DROPPED(NAT_DIRECT);
		if (reachable && !is_closing(flow->flags | (other ? other->flags : 0)))
			return 0;
	}
	flow_remove(key, flow);
	return primary && opening ? CV_FRESH : fate;
}

/* Whether the entry may carry this packet of `source` now: 0, CV_FRESH or a fate. */
static __always_inline int flow_admits(const struct cv_config *config, struct cv_segment *segment,
				       struct cv_flow *flow, const struct cv_nic *source,
				       const struct cv_nic *target)
{
	struct cv_link *link = link_by_id(flow->link);
	/* a datagram to a node that takes no new ones goes to another backend */
	bool opening = is_opening(segment) ||
		       (is_datagram(segment) && flow->action == CV_FLOW_ENCAP &&
			flow->flags & CV_FLOW_PRIMARY && node_is_closed(target->node));
	int fate = link_admits(link);

	if (unlikely(fate))
		return fate;
	if (unlikely(link->generation != flow->link_generation))
		fate = CV_DROPPED(LINK_STALE);
	else if (unlikely(target->generation != flow->nic_generation ||
			  source->generation != flow->source_generation))
		fate = CV_DROPPED(NO_FLOW);
	if (likely(!fate && !opening))
		return 0;
	return flow_doubt(&segment->key, flow, fate, may_open(segment),
			  (target->node == config->node) == (flow->action == CV_FLOW_DELIVER) &&
				  !node_is_closed(target->node));
}

#endif
