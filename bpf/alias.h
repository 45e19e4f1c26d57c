/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* The node's own services: a workload's packet to the platform's address comes to their namespace
 * from the workload's alias, and what they send to an alias goes to that workload's interface, from
 * the platform's address. One address changes, base + index on the one side, the interface's own on
 * the other: there is no state, and nobody can speak as another. */
#ifndef CV_BPF_ALIAS_H
#define CV_BPF_ALIAS_H

#include "backbone.h"

#define ALIAS_HEADER_BYTES (ETH_BYTES + IP_BYTES + sizeof(struct icmp_error))

/* Changes the address in what an ICMP message quotes; echoes quote nothing. The quoted packet ran
 * the other way. 0 or a fate. */
static __always_inline int alias_quoted(struct iphdr *ip, const void *end, __be32 to, bool source)
{
	struct icmp_error *error = (void *)(ip + 1);
	__be32 mine, other;

	if ((void *)&error->ip > end)
		return CV_DROPPED(MALFORMED);
	if (error->type == ICMP_ECHO || error->type == ICMP_ECHO_REPLY)
		return 0;
	if (!is_error(error->type))
		return CV_DROPPED(PROTOCOL);
	if ((void *)(error + 1) > end || error->ip.ihl != 5)
		return CV_DROPPED(MALFORMED);
	mine = source ? error->ip.daddr : error->ip.saddr;
	other = source ? error->ip.saddr : error->ip.daddr;
	if (mine != (source ? ip->saddr : ip->daddr) || other != bpf_htonl(CV_PLATFORM_ADDRESS))
		return CV_DROPPED(INNER_ADDRESS);
	/* the sum of the whole header stays what it is, and so does the message's own */
	change_check(&error->ip, difference(mine, 0, to, 0));
	if (source)
		error->ip.daddr = to;
	else
		error->ip.saddr = to;
	return 0;
}

/* Changes the source or the destination of a packet, with the checksums that it is part of. 0 or a
 * fate. */
static __noinline int alias_change(struct __sk_buff *skb, __be32 to, bool source)
{
	__u32 checksum = ETH_BYTES + IP_BYTES + __builtin_offsetof(struct tcphdr, check);
	__u32 delta, flags = BPF_F_PSEUDO_HDR;
	struct iphdr *ip;
	__u8 proto;
	int fate;

	linearize(skb, ALIAS_HEADER_BYTES);
	ip = packet_data(skb) + ETH_BYTES;
	if ((void *)(ip + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (ip->ihl != 5)
		return CV_DROPPED(IP_OPTIONS);
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return CV_DROPPED(FRAGMENT);
	proto = ip->protocol;
	if (proto == IPPROTO_ICMP) {
		fate = alias_quoted(ip, packet_end(skb), to, source);
		if (fate)
			return fate;
	} else if (proto == IPPROTO_UDP) {
		checksum = ETH_BYTES + IP_BYTES + __builtin_offsetof(struct udphdr, check);
		flags |= BPF_F_MARK_MANGLED_0;
	} else if (proto != IPPROTO_TCP) {
		return CV_DROPPED(PROTOCOL);
	}
	delta = difference(source ? ip->saddr : ip->daddr, 0, to, 0);
	change_check(ip, delta);
	if (source)
		ip->saddr = to;
	else
		ip->daddr = to;
	if (proto != IPPROTO_ICMP && bpf_l4_csum_replace(skb, checksum, 0, delta, flags))
		return CV_DROPPED(MALFORMED);
	return 0;
}

/* A workload's packet to the platform's address. */
static __noinline int to_services(struct __sk_buff *skb, __u32 index)
{
	void *eth = packet_data(skb);
	__u32 zero = 0;
	struct cv_alias *alias = bpf_map_lookup_elem(&cv_alias, &zero);
	int fate;

	if (!alias || !alias->ifindex || index >= CV_ALIAS_MAX)
		return CV_DROPPED(SERVICES_AWAY);
	if (eth + ETH_BYTES > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	write_macs(eth, CV_ROUTER_NIC, index);
	fate = alias_change(skb, bpf_htonl(alias->base + index), true);
	if (fate)
		return fate;
	count(CV_COUNTER_SERVICES_IN);
	if (skb->pkt_type != 0) /* as deliver() */
		bpf_skb_change_type(skb, 0);
	return bpf_redirect_peer(alias->ifindex, 0);
}

/* What a service sends: to the alias of an interface of this node, from the platform's address. */
static __always_inline int services(struct __sk_buff *skb)
{
	__u32 zero = 0, index;
	struct cv_config *config = bpf_map_lookup_elem(&cv_config, &zero);
	struct cv_alias *alias = bpf_map_lookup_elem(&cv_alias, &zero);
	struct ethhdr *eth;
	struct iphdr *ip;
	struct cv_nic *nic;
	int fate;

	if (!config || !alias || config->abi_version != CV_ABI_VERSION)
		return CV_DROPPED(NOT_CONFIGURED);
	linearize(skb, ALIAS_HEADER_BYTES);
	eth = packet_data(skb);
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return CV_DROPPED(NOT_IPV4);
	if (!ipv4_is_sound(ip, skb->len - ETH_BYTES, skb->gso_size))
		return CV_DROPPED(MALFORMED);
	index = bpf_ntohl(ip->daddr) - alias->base;
	nic = index && index < CV_ALIAS_MAX ? nic_by_index(index) : NULL;
	if (ip->saddr != bpf_htonl(CV_PLATFORM_ADDRESS) || !nic || !nic->vnet ||
	    !is_here(config, nic))
		return CV_DROPPED(ALIAS_UNKNOWN);
	write_macs(eth, index, CV_ROUTER_NIC);
	fate = alias_change(skb, nic->address, false);
	if (fate)
		return fate;
	return deliver(skb, nic, CV_COUNTER_SERVICES_OUT);
}

#endif
