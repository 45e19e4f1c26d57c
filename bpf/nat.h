/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Carrying a packet on a flow: the rewrite with its checksums, then to the workload or to the
 * backbone. */
#ifndef CV_BPF_NAT_H
#define CV_BPF_NAT_H

#include "encap.h"
#include "fragment.h"
#include "ports.h"

/* Changes an IPv4 header's checksum by a difference (RFC 1624 3). */
static __always_inline void change_check(struct iphdr *ip, __u32 delta)
{
	__u32 sum = (__u16)~ip->check + delta;

	ip->check = ~((sum & 0xffff) + (sum >> 16));
}

/* Rewrites the addresses of an IPv4 header. */
static __always_inline void rewrite_ip(struct iphdr *ip, __be32 saddr, __be32 daddr, __u32 delta)
{
	ip->saddr = saddr;
	ip->daddr = daddr;
	change_check(ip, delta);
}

/* Rewrites an ICMP error and the packet that it quotes, which ran the other way; the quoted
 * transport checksum, often not there or not filled in yet, stays (RFC 5508 4.2). The quoted
 * header's sum does not change with its addresses, so the error's own follows the ports alone. */
static __noinline int rewrite_error(struct __sk_buff *skb, const struct cv_flow *flow)
{
	const __u32 checksum = ETH_BYTES + IP_BYTES + __builtin_offsetof(struct icmp_error, check);
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;
	struct icmp_error *error = (void *)(ip + 1);

	if ((void *)(error + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	rewrite_ip(ip, flow->saddr, flow->daddr, flow->address_delta);
	rewrite_ip(&error->ip, flow->daddr, flow->saddr, flow->address_delta);
	error->source = flow->dport;
	error->dest = flow->sport;
	bpf_l4_csum_replace(skb, checksum, 0, flow->port_delta, 0);
	return 0;
}

/* Rewrites what fragments have beside others: the identification, and of a later one, which has no
 * transport header, the addresses. Whether that was all. */
static __noinline int rewrite_fragment(struct __sk_buff *skb, const struct cv_segment *segment,
				       const struct cv_flow *flow)
{
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;

	if ((void *)(ip + 1) > packet_end(skb))
		return 0;
	change_check(ip, difference(ip->id, 0, segment->id, 0));
	ip->id = segment->id;
	if (segment->fragment != CV_LATER)
		return 0;
	rewrite_ip(ip, flow->saddr, flow->daddr, flow->address_delta);
	return 1;
}

/* Rewrites addresses and ports of the packet that `segment` was read from; 0 or a fate. */
static __always_inline int rewrite(struct __sk_buff *skb, const struct cv_segment *segment,
				   const struct cv_flow *flow)
{
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;
	struct tcphdr *tcp = (void *)(ip + 1); /* UDP's ports are in the same place */
	__u32 checksum = ETH_BYTES + IP_BYTES + __builtin_offsetof(struct tcphdr, check);
	__u32 mangled = 0;

	if (unlikely(segment->error))
		return rewrite_error(skb, flow);
	if (segment->key.proto == IPPROTO_UDP) {
		/* none is none afterwards, too (RFC 768) */
		checksum = ETH_BYTES + IP_BYTES + __builtin_offsetof(struct udphdr, check);
		mangled = BPF_F_MARK_MANGLED_0;
	}
	if (unlikely(segment->fragment) && rewrite_fragment(skb, segment, flow))
		return 0;
	if (unlikely((void *)ip + IP_BYTES + UDP_BYTES > packet_end(skb)))
		return CV_DROPPED(MALFORMED);
	rewrite_ip(ip, flow->saddr, flow->daddr, flow->address_delta);
	tcp->source = flow->sport;
	tcp->dest = flow->dport;
	bpf_l4_csum_replace(skb, checksum, 0, flow->address_delta, BPF_F_PSEUDO_HDR | mangled);
	bpf_l4_csum_replace(skb, checksum, 0, flow->port_delta, mangled);
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
	/* said of the packet as it came */
	if (unlikely(!local && !fits(skb, config, segment->header_bytes)))
		return CV_DROPPED(TOO_BIG);
	if (flow->flags & CV_FLOW_REWRITE) {
		int fate = rewrite(skb, segment, flow);

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
