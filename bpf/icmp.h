/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* ICMP that the data plane itself sends to a workload: the answer to an echo that was sent to an
 * endpoint, and why a packet was not carried. */
#ifndef CV_BPF_ICMP_H
#define CV_BPF_ICMP_H

#include "encap.h"
#include "open.h"
#include "six.h"

#define ICMP_AT (ETH_BYTES + IP_BYTES)
#define UNREACHABLE_BYTES (IP_BYTES + ICMP_BYTES)

struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be16 unused;
	__be16 mtu; /* RFC 1191 4 */
};

/* Whether a connection through the link would find a backend now: the pools of the service's rules
 * are named by rules of ICMP whose ports are their numbers. */
static __noinline int link_is_alive(const struct cv_flow_key *key, __u32 link_id)
{
	struct cv_flow_key tuple = *key;
	struct cv_opening opening = {
		.key = &tuple, .link = link_by_id(link_id), .link_id = link_id};

	if (!opening.link)
		return 0;
	for (__u32 i = 0; i < CV_PING_POOLS_MAX; i++) {
		tuple.dport = bpf_htons(i);
		tuple.proto = IPPROTO_ICMP;
		opening.rule = find_rule(opening.link->service, &tuple);
		if (!opening.rule)
			return 0;
		if (find_backend(&opening))
			return 1;
	}
	return 0;
}

/* Answers an echo (RFC 792) in the endpoint's name while the service has a backend. */
static __noinline int answer_ping(struct __sk_buff *skb, __u32 index)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct icmp_header *icmp = (void *)(ip + 1);
	__be32 asker;
	int fate;

	if ((void *)(icmp + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	write_macs(eth, index, CV_ROUTER_NIC);
	asker = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = asker;
	ip->ttl = 64;
	ip->check = outer_checksum(ip);
	icmp->type = ICMP_ECHO_REPLY;
	if (bpf_l4_csum_replace(skb, ICMP_AT + __builtin_offsetof(struct icmp_header, check),
				bpf_htons(ICMP_ECHO << 8), 0, sizeof(__u16)))
		return CV_DROPPED(MALFORMED);
	fate = leave_if_six(skb);
	if (fate)
		return fate;
	count(CV_COUNTER_PING_ANSWERED);
	return bpf_redirect(skb->ifindex, 0);
}

/* Writes the headers of "destination unreachable" before the quoted packet, which is there already;
 * `quote`: bytes of it. */
static __always_inline bool write_unreachable(struct __sk_buff *skb, __u8 code, __u32 mtu,
					      const __u32 quote)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct icmp_header *icmp = (void *)(ip + 1);
	struct iphdr *quoted = (void *)(icmp + 1);
	__s64 sum;

	if ((void *)quoted + quote > packet_end(skb))
		return false;
	write_macs(eth, mac_nic(eth->h_source), CV_ROUTER_NIC);
	write_ip(ip, bpf_htons(UNREACHABLE_BYTES + quote), 0, IPPROTO_ICMP, quoted->daddr,
		 quoted->saddr);
	icmp->type = ICMP_UNREACHABLE;
	icmp->code = code;
	icmp->check = 0;
	icmp->unused = 0;
	icmp->mtu = bpf_htons(mtu);
	sum = bpf_csum_diff(NULL, 0, (void *)icmp, ICMP_BYTES + quote, 0);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	icmp->check = ~((sum & 0xffff) + (sum >> 16));
	return true;
}

/* Cuts the packet to what is quoted of it and makes room; what the device has yet to fill in of its
 * transport header stays. A super-packet becomes a single one. */
static __always_inline bool quote_packet(struct __sk_buff *skb, const __u32 quote)
{
	return !bpf_skb_change_tail(skb, ETH_BYTES + quote, 0) &&
	       !bpf_skb_adjust_room(skb, UNREACHABLE_BYTES, BPF_ADJ_ROOM_MAC, 0);
}

/* Whether a packet may be answered with an ICMP error (RFC 1122 3.2.2). */
static __always_inline bool may_be_told(const struct __sk_buff *skb, const struct iphdr *ip)
{
	const struct icmp_header *icmp = (const void *)(ip + 1);

	if ((void *)(icmp + 1) > packet_end(skb) || ip->ihl != 5 ||
	    ip->frag_off & bpf_htons(IP_OFFSET))
		return false;
	return ip->protocol != IPPROTO_ICMP || icmp->type == ICMP_ECHO;
}

/* Answers the workload's packet with "destination unreachable" (RFC 792) of this code, in the name
 * of the address that it sent to; `mtu`: RFC 1191 4, bytes, else 0. What may not be answered keeps
 * its verdict. */
static __noinline int tell_unreachable(struct __sk_buff *skb, int verdict, __u8 code, __u32 mtu)
{
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;
	bool told;

	if ((void *)(ip + 1) > packet_end(skb) || !may_be_told(skb, ip))
		return verdict;
	if (ip->protocol == IPPROTO_TCP)
		told = quote_packet(skb, IP_BYTES + TCP_BYTES) &&
		       write_unreachable(skb, code, mtu, IP_BYTES + TCP_BYTES);
	else
		told = quote_packet(skb, IP_BYTES + ICMP_BYTES) &&
		       write_unreachable(skb, code, mtu, IP_BYTES + ICMP_BYTES);
	if (!told)
		return verdict;
	count(CV_COUNTER_UNREACHABLE_SENT);
	return bpf_redirect(skb->ifindex, 0);
}

#endif
