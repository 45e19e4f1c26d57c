/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A TCP segment that a flow can carry: its key, its flags, the bytes each piece of a super-packet
 * repeats. */
#ifndef CV_BPF_SEGMENT_H
#define CV_BPF_SEGMENT_H

#include "drop.h"

struct cv_segment {
	struct cv_flow_key key; /* without scope and kind */
	__u32 header_bytes;
	__u8 tcp; /* TCP_* */
};

/* Whether lengths agree. A super-packet may be larger than its 16-bit length says. */
static __always_inline bool ipv4_is_sound(const struct iphdr *ip, __u32 bytes, bool super)
{
	if (ip->version != 4 || ip->ihl < 5)
		return false;
	return super || (bpf_ntohs(ip->tot_len) <= bytes && bpf_ntohs(ip->tot_len) >= ip->ihl * 4);
}

/* Reads a segment; `ip` has its 20 bytes before `end`. 0, or why no flow can carry the packet. */
static __always_inline int read_segment(struct cv_segment *segment, const struct iphdr *ip,
					const void *end)
{
	const struct tcphdr *tcp = (const void *)(ip + 1);

	if (ip->protocol != IPPROTO_TCP)
		return CV_DROPPED(PROTOCOL);
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return CV_DROPPED(FRAGMENT);
	if (ip->ihl != 5)
		return CV_DROPPED(IP_OPTIONS);
	if ((const void *)(tcp + 1) > end || tcp->doff < 5)
		return CV_DROPPED(MALFORMED);
	segment->key.saddr = ip->saddr;
	segment->key.daddr = ip->daddr;
	segment->key.sport = tcp->source;
	segment->key.dport = tcp->dest;
	segment->key.proto = IPPROTO_TCP;
	segment->header_bytes = IP_BYTES + tcp->doff * 4;
	segment->tcp = ((const __u8 *)tcp)[13];
	return 0;
}

/* The first segment of a connection. */
static __always_inline bool is_opening(const struct cv_segment *segment)
{
	return (segment->tcp & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

#endif
