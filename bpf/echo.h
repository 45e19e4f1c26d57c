/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Echoes between nodes (abi/echo.h), answered and passed on in place: one frame in, at most one
 * out, as long as it was. Each step has one sender, whose backbone address the frame must come
 * from. */
#ifndef CV_BPF_ECHO_H
#define CV_BPF_ECHO_H

#include "encap.h"

#define ECHO_BYTES (OUTER_BYTES + sizeof(struct cv_echo_wire))

/* What a step means here. */
struct echo_step {
	__u32 sender;
	__u32 receiver;
	__u32 next;    /* where it goes on to; 0: it has come back */
	__u32 counter; /* moved when it goes on */
};

static __always_inline bool read_step(const struct cv_echo_wire *wire, struct echo_step *step)
{
	__u32 origin = bpf_ntohl(wire->origin), target = bpf_ntohl(wire->target);
	__u32 relay = bpf_ntohl(wire->relay);

	step->counter = CV_COUNTER_ECHO_ANSWERED;
	switch (wire->step) {
	case CV_ECHO_ASK:
		step->sender = step->next = origin;
		step->receiver = target;
		return true;
	case CV_ECHO_RELAY_PROBE:
		step->sender = step->next = relay;
		step->receiver = target;
		return true;
	case CV_ECHO_RELAY_ASK:
	case CV_ECHO_RELAY_ECHO:
		step->sender = wire->step == CV_ECHO_RELAY_ASK ? origin : target;
		step->next = wire->step == CV_ECHO_RELAY_ASK ? target : origin;
		step->receiver = relay;
		step->counter = CV_COUNTER_ECHO_RELAYED;
		return step->next != step->sender;
	case CV_ECHO_ANSWER:
	case CV_ECHO_RELAY_ANSWER:
		step->sender = wire->step == CV_ECHO_ANSWER ? target : relay;
		step->next = 0;
		step->receiver = origin;
		return true;
	}
	return false;
}

/* Whether the node may have one more of `most`, counted in 16 bits from `shift` on, in this slice
 * of time; roughly, where CPUs race. What is refused is not counted: it takes nothing from the
 * rest. */
static __always_inline bool echo_allowed(struct cv_echo *of, __u32 shift, __u32 most)
{
	__u64 window = bpf_ktime_get_coarse_ns() >> CV_ECHO_WINDOW_SHIFT;

	if (of->window != window) {
		of->window = window;
		of->spent = 0;
	}
	if ((of->spent >> shift & 0xffff) >= most)
		return false;
	__sync_fetch_and_add(&of->spent, 1u << shift);
	return true;
}

/* Notes an answer. An older one than was heard already, or one that came twice, says nothing. */
static __always_inline int echo_hear(const struct cv_echo_wire *wire, struct cv_echo *of)
{
	bool relayed = wire->step == CV_ECHO_RELAY_ANSWER;
	__u32 sequence = bpf_ntohl(wire->sequence);
	__u64 nonce = relayed ? of->relay_nonce : of->nonce;

	if (!nonce || wire->nonce != nonce)
		return CV_DROPPED(ECHO_FORGED);
	count(CV_COUNTER_ECHO_HEARD);
	if ((__s32)(sequence - (relayed ? of->relay_sequence : of->sequence)) <= 0)
		return CV_TAKEN;
	if (relayed) {
		of->relay_heard_ns = bpf_ktime_get_ns();
		of->relay_sequence = sequence;
		return CV_TAKEN;
	}
	of->heard_ns = bpf_ktime_get_ns();
	of->answers += 1;
	of->fenced = wire->fenced;
	barrier();
	of->sequence = sequence;
	return CV_TAKEN;
}

/* Sends the frame on to a node, as the next step. */
static __always_inline int echo_send(struct __sk_buff *skb, const struct cv_config *config,
				     const struct echo_step *step)
{
	struct bpf_redir_neigh hop = {.nh_family = AF_INET};
	struct cv_node *node = node_by_index(step->next);
	struct outer outer = outer_at(packet_data(skb));
	struct cv_echo_wire *wire = (void *)outer.inner_ip;

	if ((void *)(wire + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (!node || node->family != 4 || step->next == config->node)
		return CV_DROPPED(ECHO_STRAY);
	outer.ip->ttl = 64;
	outer.ip->saddr = *(__be32 *)config->outer;
	outer.ip->daddr = *(__be32 *)node->outer;
	outer.ip->check = outer_checksum(outer.ip);
	outer.udp->check = 0;
	if (step->counter == CV_COUNTER_ECHO_ANSWERED)
		wire->fenced = config->fenced;
	wire->step += 1;
	count(step->counter);
	hop.ipv4_nh = *(__be32 *)node->next_hop;
	return bpf_redirect_neigh(config->backbone_ifindex, &hop, sizeof(hop), 0);
}

/* A frame to this node that says it is an echo. */
static __noinline int echo(struct __sk_buff *skb, const struct cv_config *config)
{
	struct outer outer = outer_at(packet_data(skb));
	struct cv_echo_wire *wire = (void *)outer.inner_ip;
	struct echo_step step = {};
	struct cv_node *sender;
	struct cv_echo *of;
	__u32 target;

	if ((void *)(wire + 1) > packet_end(skb) || skb->len != ECHO_BYTES ||
	    outer.ip->tot_len != bpf_htons(ECHO_BYTES - ETH_BYTES) ||
	    bpf_ntohl(outer.vxlan->vni) >> 8 != CV_ECHO_VNI || wire->version != CV_ECHO_VERSION ||
	    !read_step(wire, &step))
		return CV_DROPPED(MALFORMED);
	if (step.receiver != config->node || !step.receiver)
		return CV_DROPPED(ECHO_STRAY);
	sender = node_by_index(step.sender);
	if (!sender || sender->family != 4 || *(__be32 *)sender->outer != outer.ip->saddr)
		return CV_DROPPED(ECHO_SOURCE);
	target = step.next ? step.sender : bpf_ntohl(wire->target);
	of = bpf_map_lookup_elem(&cv_echoes, &target);
	if (!of)
		return CV_DROPPED(ECHO_STRAY);
	if (!step.next)
		return echo_hear(wire, of);
	if (!echo_allowed(of, 0,
			  step.counter == CV_COUNTER_ECHO_RELAYED ? CV_ECHO_WINDOW_MAX / 2
								  : CV_ECHO_WINDOW_MAX))
		return CV_DROPPED(ECHO_LIMIT);
	return echo_send(skb, config, &step);
}

#endif
