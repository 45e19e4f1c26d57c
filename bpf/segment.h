/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What a flow can carry: a TCP segment, a UDP datagram, or an ICMP error about one of them. Its
 * key, its flags, the bytes each piece of a super-packet repeats. */
#ifndef CV_BPF_SEGMENT_H
#define CV_BPF_SEGMENT_H

#include "drop.h"

struct cv_segment {
	struct cv_flow_key key; /* without scope and kind */
	__u32 header_bytes;
	__u8 tcp;      /* TCP_*; 0 where it is none */
	__u8 error;    /* an ICMP error: the key is that of an answer to what it is about */
	__u8 fragment; /* enum cv_piece */
	__be16 id;     /* the identification that a fragment is sent on with */
};

enum cv_piece {
	CV_WHOLE = 0,
	CV_FIRST = 1, /* of a fragmented packet */
	CV_LATER = 2, /* without transport header: its key is the first one's */
};

/* An ICMP error (RFC 792) up to what it must quote: the header and eight bytes of a packet. */
struct icmp_error {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be16 unused;
	__be16 mtu;
	struct iphdr ip;
	__be16 source;
	__be16 dest;
	__be32 rest;
};

/* Whether lengths agree. A super-packet may be larger than its 16-bit length says. */
static __always_inline bool ipv4_is_sound(const struct iphdr *ip, __u32 bytes, bool super)
{
	if (ip->version != 4 || ip->ihl < 5)
		return false;
	return super || (bpf_ntohs(ip->tot_len) <= bytes && bpf_ntohs(ip->tot_len) >= ip->ihl * 4);
}

static __always_inline void fill_key(struct cv_segment *segment, const struct iphdr *ip, __u8 proto,
				     __be16 sport, __be16 dport)
{
	segment->key.saddr = ip->saddr;
	segment->key.daddr = ip->daddr;
	segment->key.sport = sport;
	segment->key.dport = dport;
	segment->key.proto = proto;
}

static __always_inline bool is_error(__u8 type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETER_PROBLEM;
}

/* read_segment() for ICMP. The reporter was the receiver of what it reports: so the error belongs
 * to the flow that an answer would take. */
static __always_inline int read_error(struct cv_segment *segment, const struct iphdr *ip,
				      const void *end)
{
	const struct icmp_error *error = (const void *)(ip + 1);

	if ((const void *)&error->ip > end)
		return CV_DROPPED(MALFORMED);
	segment->key.saddr = ip->saddr;
	segment->key.daddr = ip->daddr;
	if (!is_error(error->type))
		return error->type == ICMP_ECHO ? CV_DROPPED(PING) : CV_DROPPED(PROTOCOL);
	if ((const void *)(error + 1) > end || error->ip.version != 4 ||
	    bpf_ntohs(ip->tot_len) < IP_BYTES + sizeof(*error))
		return CV_DROPPED(MALFORMED);
	if (error->ip.protocol != IPPROTO_TCP && error->ip.protocol != IPPROTO_UDP)
		return CV_DROPPED(PROTOCOL);
	if (error->ip.ihl != 5)
		return CV_DROPPED(IP_OPTIONS);
	if (error->ip.frag_off & bpf_htons(IP_OFFSET))
		return CV_DROPPED(FRAGMENT);
	if (error->ip.saddr != ip->daddr || error->ip.daddr != ip->saddr)
		return CV_DROPPED(INNER_ADDRESS);
	fill_key(segment, ip, error->ip.protocol, error->dest, error->source);
	segment->header_bytes = IP_BYTES + ICMP_BYTES;
	segment->error = 1;
	return 0;
}

static __always_inline int read_datagram(struct cv_segment *segment, const struct iphdr *ip,
					 const void *end)
{
	const struct udphdr *udp = (const void *)(ip + 1);

	if ((const void *)(udp + 1) > end || bpf_ntohs(udp->len) < UDP_BYTES)
		return CV_DROPPED(MALFORMED);
	fill_key(segment, ip, IPPROTO_UDP, udp->source, udp->dest);
	segment->header_bytes = IP_BYTES + UDP_BYTES;
	return 0;
}

static __always_inline __u32 transport_bytes(__u8 proto)
{
	return proto == IPPROTO_TCP ? TCP_BYTES : UDP_BYTES;
}

/* read_segment() for a fragment: 0 for a first one that holds the whole transport header, without
 * which later ones could say what it is (RFC 1858 3). */
static __always_inline int read_fragment(struct cv_segment *segment, const struct iphdr *ip)
{
	if (ip->frag_off & bpf_htons(IP_OFFSET) || ip->protocol == IPPROTO_ICMP ||
	    bpf_ntohs(ip->tot_len) < IP_BYTES + transport_bytes(ip->protocol))
		return CV_DROPPED(FRAGMENT);
	segment->fragment = CV_FIRST;
	segment->id = ip->id;
	return 0;
}

/* Reads what follows an IPv4 header, whose 20 bytes are before `end`. 0, or why no flow can carry
 * the packet; FRAGMENT: find_fragment() may know. */
static __always_inline int read_segment(struct cv_segment *segment, const struct iphdr *ip,
					const void *end)
{
	const struct tcphdr *tcp = (const void *)(ip + 1);
	const __u8 proto = ip->protocol;

	if (unlikely(proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != IPPROTO_ICMP)) {
		segment->key.saddr = ip->saddr;
		return proto == IPPROTO_SCTP ? CV_DROPPED(SCTP) : CV_DROPPED(PROTOCOL);
	}
	if (unlikely(ip->ihl != 5))
		return CV_DROPPED(IP_OPTIONS);
	if (unlikely(ip->frag_off & bpf_htons(IP_FRAGMENT))) {
		int fate = read_fragment(segment, ip);

		if (fate)
			return fate;
	}
	if (proto == IPPROTO_UDP)
		return read_datagram(segment, ip, end);
	if (unlikely(proto == IPPROTO_ICMP))
		return read_error(segment, ip, end);
	if (unlikely((const void *)(tcp + 1) > end || tcp->doff < 5))
		return CV_DROPPED(MALFORMED);
	fill_key(segment, ip, IPPROTO_TCP, tcp->source, tcp->dest);
	segment->header_bytes = IP_BYTES + tcp->doff * 4;
	segment->tcp = ((const __u8 *)tcp)[13];
	return 0;
}

/* The first segment of a connection: one that another of the same key does not carry on. */
static __always_inline bool is_opening(const struct cv_segment *segment)
{
	return (segment->tcp & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

static __always_inline bool is_datagram(const struct cv_segment *segment)
{
	return segment->key.proto == IPPROTO_UDP && !segment->error &&
	       segment->fragment != CV_LATER;
}

/* Whether a packet that no flow carries may open one. */
static __always_inline bool may_open(const struct cv_segment *segment)
{
	return is_opening(segment) || is_datagram(segment);
}

#endif
