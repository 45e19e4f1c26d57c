/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Carrying a packet on a flow: the rewrite with its checksums, then to the workload or to the
 * backbone. */
#ifndef CV_BPF_NAT_H
#define CV_BPF_NAT_H

#include "encap.h"
#include "flow.h"

/* Rewrites addresses and ports of the TCP segment at the packet's start; 0 or a fate. */
static __always_inline int rewrite(struct __sk_buff *skb, const struct cv_flow *flow)
{
	const __u32 checksum = ETH_BYTES + IP_BYTES + __builtin_offsetof(struct tcphdr, check);
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 sum;

	if (unlikely((void *)(tcp + 1) > packet_end(skb)))
		return CV_DROPPED(MALFORMED);
	ip->saddr = flow->saddr;
	ip->daddr = flow->daddr;
	sum = (__u16)~ip->check + flow->address_delta;
	ip->check = ~((sum & 0xffff) + (sum >> 16));
	tcp->source = flow->sport;
	tcp->dest = flow->dport;
	bpf_l4_csum_replace(skb, checksum, 0, flow->address_delta, BPF_F_PSEUDO_HDR);
	bpf_l4_csum_replace(skb, checksum, 0, flow->port_delta, 0);
	return 0;
}

/* A workload's packet that an entry admits. */
static __always_inline int carry(struct __sk_buff *skb, const struct cv_config *config,
				 const struct cv_segment *segment, const struct cv_flow *flow,
				 const struct cv_nic *target)
{
	bool local = flow->action == CV_FLOW_DELIVER;
	struct cv_node *node = local ? NULL : node_by_index(target->node);
	struct cv_route route = {
		.vni = CV_VNI_LINK | flow->link,
		.source = flow->source_nic,
		.target = flow->nic,
		.node = target->node,
		.header_bytes = segment->header_bytes,
	};

	/* before the rewrite: pointers into the packet are void after it */
	if (local) {
		void *eth = packet_data(skb);

		if (unlikely(eth + ETH_BYTES > packet_end(skb)))
			return CV_DROPPED(MALFORMED);
		write_macs(eth, flow->nic, CV_ROUTER_NIC);
	}
	if (unlikely(node && node->state == CV_NODE_GONE))
		return CV_DROPPED(NODE_LOST);
	if (flow->flags & CV_FLOW_REWRITE) {
		int fate = rewrite(skb, flow);

		if (unlikely(fate))
			return fate;
	}
	if (local)
		return deliver(skb, target, CV_COUNTER_LINK_LOCAL);
	route.port = outer_port(segment->key.saddr, segment->key.daddr, segment->key.sport,
				segment->key.dport);
	return encap(skb, config, node, &route, CV_COUNTER_LINK_OUT);
}

#endif
