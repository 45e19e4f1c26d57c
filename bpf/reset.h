/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A refused connection fails at once: the workload's segment is turned into the reset that a closed
 * port would answer (RFC 9293 3.10.7.1), another packet into an ICMP error that says why, and goes
 * back where it came from. */
#ifndef CV_BPF_RESET_H
#define CV_BPF_RESET_H

#include "icmp.h"
#include "segment.h"

#define RESET_BYTES (ETH_BYTES + IP_BYTES + TCP_BYTES)
#define TCP_CHECK_AT (ETH_BYTES + IP_BYTES + __builtin_offsetof(struct tcphdr, check))

/* Refusals that a workload is told of. All others stay silent: attacks, and what may pass when it
 * is sent again. */
#define CV_TOLD(reason) (1ull << CV_DROP_##reason)
#define CV_TOLD_REASONS                                                                           \
	(CV_TOLD(NO_RULE) | CV_TOLD(LINK_REFUSED) | CV_TOLD(LINK_UNKNOWN) | CV_TOLD(LINK_STALE) | \
	 CV_TOLD(NO_BACKEND) | CV_TOLD(NO_FLOW) | CV_TOLD(NAT_DIRECT) | CV_TOLD(NODE_LOST) |      \
	 CV_TOLD(FLOW_QUOTA) | CV_TOLD(NAT_QUOTA) | CV_TOLD(TOO_BIG) | CV_TOLD(PING) |            \
	 CV_TOLD(SCTP) | CV_TOLD(PROTOCOL))

/* The five words of a TCP header, as they are on the wire. */
struct reset_tcp {
	__be16 source;
	__be16 dest;
	__be32 sequence;
	__be32 acknowledged;
	__be32 offset_flags_window;
	__be32 check_urgent;
};

/* The reset's TCP header; false: the packet is no segment that may be answered. */
static __always_inline bool make_reset(const struct __sk_buff *skb, struct reset_tcp *reset)
{
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;
	struct tcphdr *tcp = (void *)(ip + 1);
	struct cv_segment segment = {};
	__u32 bytes, flags = TCP_RST;

	if ((void *)(tcp + 1) > packet_end(skb) || read_segment(&segment, ip, packet_end(skb)))
		return false;
	bytes = skb->gso_size ? skb->len - ETH_BYTES : bpf_ntohs(ip->tot_len);
	if (bytes < segment.header_bytes || segment.tcp & TCP_RST)
		return false;
	reset->source = tcp->dest;
	reset->dest = tcp->source;
	if (segment.tcp & TCP_ACK) {
		reset->sequence = tcp->ack_seq;
		reset->acknowledged = 0;
	} else {
		bytes -= segment.header_bytes;
		bytes += !!(segment.tcp & TCP_SYN) + !!(segment.tcp & TCP_FIN);
		reset->sequence = 0;
		reset->acknowledged = bpf_htonl(bpf_ntohl(tcp->seq) + bytes);
		flags |= TCP_ACK;
	}
	reset->offset_flags_window = bpf_htonl(TCP_BYTES / 4 << 28 | flags << 16);
	reset->check_urgent = 0;
	return true;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Writes the reset over the headers; the checksum is still 0. What the TCP checksum is made of goes
 * to `pseudo` (its pseudo-header) and `sum` (with the header). False: out of bounds. */
static __always_inline bool write_reset(struct __sk_buff *skb, const struct reset_tcp *reset,
					__u64 *pseudo, __u64 *sum)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct reset_tcp *tcp = (void *)(ip + 1);
	__be32 workload;

	if ((void *)(tcp + 1) > packet_end(skb))
		return false;
	write_macs(eth, mac_nic(eth->h_source), CV_ROUTER_NIC);
	workload = ip->saddr;
	write_ip(ip, bpf_htons(IP_BYTES + TCP_BYTES), bpf_htons(IP_DF), IPPROTO_TCP, ip->daddr,
		 workload);
	*tcp = *reset;
	*pseudo = (__u64)ip->saddr + ip->daddr + bpf_htonl(IPPROTO_TCP << 16 | TCP_BYTES);
	*sum = *pseudo + ((__u64)reset->dest << 16) + reset->source + reset->sequence +
	       reset->acknowledged + reset->offset_flags_window;
	return true;
}

/* Fills the TCP checksum in. Whether the device fills it in (CHECKSUM_PARTIAL, then the field holds
 * the sum of the pseudo-header) shows in that the kernel leaves it alone when a field changes. */
static __always_inline bool write_checksum(struct __sk_buff *skb, __u64 pseudo, __u64 sum)
{
	__sum16 *check;

	if (bpf_l4_csum_replace(skb, TCP_CHECK_AT, 0, 1, 0))
		return false;
	check = packet_data(skb) + TCP_CHECK_AT;
	if ((void *)(check + 1) > packet_end(skb))
		return false;
	*check = *check ? ~fold(sum) : fold(pseudo);
	return true;
}

/* Answers a segment with a reset where it may be answered; else the verdict that it has. */
static __noinline int reset(struct __sk_buff *skb, int verdict)
{
	struct reset_tcp header;
	__u64 pseudo, sum;

	/* a super-packet becomes a single one when it is cut */
	if (!make_reset(skb, &header) || bpf_skb_change_tail(skb, RESET_BYTES, 0) ||
	    !write_reset(skb, &header, &pseudo, &sum) || !write_checksum(skb, pseudo, sum))
		return verdict;
	count(CV_COUNTER_RESET_SENT);
	return bpf_redirect(skb->ifindex, 0);
}

/* The code of "destination unreachable" (RFC 792, RFC 1812 5.2.7.1) that names a refusal. */
static __always_inline __u8 unreachable_code(__u32 reason)
{
	switch (reason) {
	case CV_DROP_NO_RULE:
	case CV_DROP_NAT_DIRECT:
	case CV_DROP_NO_FLOW:
		return ICMP_PORT_UNREACHABLE;
	case CV_DROP_SCTP:
	case CV_DROP_PROTOCOL:
		return ICMP_PROTOCOL_UNREACHABLE;
	case CV_DROP_NO_BACKEND:
	case CV_DROP_PING:
	case CV_DROP_NODE_LOST:
		return ICMP_HOST_UNREACHABLE;
	default:
		return ICMP_PROHIBITED;
	}
}

static __noinline int refuse(struct __sk_buff *skb, int verdict, __u32 reason)
{
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;
	__u32 zero = 0;
	struct cv_config *config = bpf_map_lookup_elem(&cv_config, &zero);

	if ((void *)(ip + 1) > packet_end(skb) || !config || ip->version != 4)
		return verdict;
	/* not asked for by DF alone, since the data plane does not fragment */
	if (reason == CV_DROP_TOO_BIG)
		return tell_unreachable(skb, verdict, ICMP_FRAGMENTATION_NEEDED,
					config->backbone_mtu - CV_ENCAP_IPV4);
	if (ip->protocol == IPPROTO_TCP)
		return reset(skb, verdict);
	return tell_unreachable(skb, verdict, unreachable_code(reason), 0);
}

/* conclude() for what came from a workload: a refusal is counted and, where that helps, told. */
static __always_inline int conclude_workload(struct __sk_buff *skb, int fate)
{
	int verdict = conclude(fate), told;

	if (likely(fate > CV_FATES))
		return verdict;
	if (!(CV_TOLD_REASONS >> (CV_FATES - fate) & 1))
		return verdict;
	told = refuse(skb, verdict, CV_FATES - fate);
	return told != verdict && leave_if_six(skb) ? verdict : told;
}

#endif
