/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Headers of IPv4 and IPv6 made of each other (RFC 7915 4, 5), and what errors say in the other. */
#ifndef CV_BPF_SIX_HEADER_H
#define CV_BPF_SIX_HEADER_H

#include "encap.h"
#include "segment.h"

#define SIX_GROWTH (IP6_BYTES - IP_BYTES)
#define SIX_MTU_MIN 1280 /* RFC 8200 5 */

struct six_header {
	__u8 first; /* version and the upper half of the traffic class */
	__u8 second;
	__be16 label;
	__be16 payload;
	__u8 next;
	__u8 hops;
	struct cv_six source;
	struct cv_six target;
};
CV_ASSERT_SIZE(struct six_header, IP6_BYTES);

/* What the checksum of ICMPv6 begins with (RFC 8200 8.1). */
struct six_pseudo {
	struct cv_six source;
	struct cv_six target;
	__be32 bytes;
	__be32 next;
};

struct icmp_head {
	__u8 type;
	__u8 code;
	__sum16 check;
};

/* An ICMPv6 error (RFC 4443 3) up to the quoted transport header. */
struct six_error {
	struct icmp_head head;
	__be32 rest;
	struct six_header six;
};
CV_ASSERT_SIZE(struct six_error, 48);

/* The same in IPv4. */
struct four_error {
	struct icmp_head head;
	__be32 rest;
	struct iphdr ip;
};
CV_ASSERT_SIZE(struct four_error, 28);

#define SIX_ERROR_BYTES (ETH_BYTES + IP6_BYTES + sizeof(struct six_error) + 8)

static __always_inline __be32 six_of_nic(__u32 index)
{
	return bpf_htonl(CV_SIX_NIC | index);
}

static __always_inline __be32 six_of_link(__u32 id)
{
	return bpf_htonl(CV_SIX_ENDPOINT | id);
}

static __always_inline bool is_stand_in(__be32 address)
{
	return (address & bpf_htonl(CV_SIX_PREFIX)) == bpf_htonl(CV_SIX_PREFIX);
}

/* The rest of an IPv4 header that has its addresses; `bytes`: of the packet. */
static __always_inline void to_ipv4(struct iphdr *ip, const struct six_header *six, __u32 bytes)
{
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = six->first << 4 | six->second >> 4;
	ip->tot_len = bytes > 0xffff ? 0 : bpf_htons(bytes);
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = six->hops;
	ip->protocol = six->next == IPPROTO_ICMPV6 ? IPPROTO_ICMP : six->next;
	ip->check = outer_checksum(ip);
}

static __always_inline void to_ipv6(struct six_header *six, const struct iphdr *ip,
				    const struct cv_six *source, const struct cv_six *target)
{
	six->first = 6 << 4 | ip->tos >> 4;
	six->second = ip->tos << 4;
	six->label = 0;
	six->payload = bpf_htons(bpf_ntohs(ip->tot_len) - IP_BYTES);
	six->next = ip->protocol == IPPROTO_ICMP ? IPPROTO_ICMPV6 : ip->protocol;
	six->hops = ip->ttl;
	six->source = *source;
	six->target = *target;
}

/* By helper, as in decap(). */
static __always_inline bool store(struct __sk_buff *skb, __u32 at, const void *from, __u32 bytes)
{
	return !bpf_skb_store_bytes(skb, at, from, bytes, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline bool store_ipv4(struct __sk_buff *skb, const struct iphdr *ip)
{
	const __be16 type = bpf_htons(ETH_P_IP);

	return store(skb, ETH_BYTES - 2, &type, 2) && store(skb, ETH_BYTES, ip, IP_BYTES);
}

static __always_inline bool store_ipv6(struct __sk_buff *skb, const struct six_header *six)
{
	const __be16 type = bpf_htons(ETH_P_IPV6);

	return store(skb, ETH_BYTES - 2, &type, 2) && store(skb, ETH_BYTES, six, IP6_BYTES);
}

/* A checksum changed by what bpf_csum_diff() says (RFC 1624 3). */
static __always_inline __sum16 changed_check(__sum16 check, __s64 difference)
{
	__u64 sum = (__u16)~check + (__u64)(__u32)difference;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static __always_inline void fill_pseudo(struct six_pseudo *pseudo, const struct six_header *six,
					__u8 next)
{
	pseudo->source = six->source;
	pseudo->target = six->target;
	pseudo->bytes = bpf_htonl(bpf_ntohs(six->payload));
	pseudo->next = bpf_htonl(next);
}

/* RFC 7915 5.2; false: it says nothing in IPv4. */
static __always_inline bool error_to_ipv4(struct four_error *to, const struct six_error *from)
{
	const __u8 code = from->head.code;
	__u32 mtu = bpf_ntohl(from->rest);

	to->head.type = ICMP_UNREACHABLE;
	to->head.check = 0;
	to->rest = 0;
	switch (from->head.type) {
	case ICMP6_UNREACHABLE:
		to->head.code = code == 4   ? ICMP_PORT_UNREACHABLE
				: code == 1 ? ICMP_PROHIBITED
					    : ICMP_HOST_UNREACHABLE;
		return code <= 4;
	case ICMP6_TOO_BIG:
		to->head.code = ICMP_FRAGMENTATION_NEEDED;
		mtu = mtu < SIX_MTU_MIN ? SIX_MTU_MIN : mtu > 0xffff ? 0xffff : mtu;
		to->rest = bpf_htonl(mtu - SIX_GROWTH);
		return true;
	case ICMP6_TIME_EXCEEDED:
		to->head.type = ICMP_TIME_EXCEEDED;
		to->head.code = code;
		return true;
	case ICMP6_PARAMETER_PROBLEM:
		to->head.code = ICMP_PROTOCOL_UNREACHABLE;
		return code == 1;
	}
	return false;
}

/* RFC 7915 4.2; false: it says nothing in IPv6. */
static __always_inline bool error_to_ipv6(struct six_error *to, const struct four_error *from)
{
	const __u8 code = from->head.code;
	__u32 mtu = (bpf_ntohl(from->rest) & 0xffff) + SIX_GROWTH;

	to->head.type = ICMP6_UNREACHABLE;
	to->head.code = 0;
	to->head.check = 0;
	to->rest = 0;
	if (from->head.type == ICMP_TIME_EXCEEDED) {
		to->head.type = ICMP6_TIME_EXCEEDED;
		to->head.code = code;
		return true;
	}
	if (from->head.type != ICMP_UNREACHABLE)
		return false;
	switch (code) {
	case ICMP_PROTOCOL_UNREACHABLE: /* the next header's place */
		to->head.type = ICMP6_PARAMETER_PROBLEM;
		to->head.code = 1;
		to->rest = bpf_htonl(__builtin_offsetof(struct six_header, next));
		return true;
	case ICMP_PORT_UNREACHABLE:
		to->head.code = 4;
		return true;
	case ICMP_FRAGMENTATION_NEEDED:
		to->head.type = ICMP6_TOO_BIG;
		to->rest = bpf_htonl(mtu < SIX_MTU_MIN ? SIX_MTU_MIN : mtu);
		return true;
	case 9: /* prohibited, of a network or a host (RFC 1122 3.2.2.1) */
	case 10:
	case ICMP_PROHIBITED:
	case 15:
		to->head.code = 1;
		return true;
	}
	return true;
}

#endif
