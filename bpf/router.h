/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Router discovery (RFC 4861 6): a workload that looks for a router is told of fe80::1 at the
 * router's MAC, that addresses come by DHCPv6, and how large packets may be. */
#ifndef CV_BPF_ROUTER_H
#define CV_BPF_ROUTER_H

#include "neighbour.h"

#define ROUTER_FLAGS 0xc0 /* addresses and other things by DHCPv6 (RFC 4861 4.2) */
#define OPTION_MTU 5

struct router_advertisement {
	struct icmp_head head;
	__u8 hops;
	__u8 flags;
	__be16 lifetime_s;
	__be32 reachable_ms;
	__be32 retransmit_ms;
	__u8 mac_option;
	__u8 mac_words;
	__u8 mac[6];
	__u8 mtu_option;
	__u8 mtu_words;
	__u16 reserved;
	__be32 mtu;
};
CV_ASSERT_SIZE(struct router_advertisement, 32);

#define ROUTER_ANSWER_BYTES (ETH_BYTES + IP6_BYTES + sizeof(struct router_advertisement))

/* fe80::1 */
static __always_inline void set_router(struct cv_six *address)
{
	address->word[0] = bpf_htonl(0xfe800000);
	address->word[1] = 0;
	address->word[2] = 0;
	address->word[3] = bpf_htonl(1);
}

/* Writes the advertisement over a packet of its length. False: out of bounds. */
static __always_inline bool write_advertisement(struct __sk_buff *skb, __u32 index, __be16 mtu)
{
	struct ethhdr *eth = packet_data(skb);
	struct six_header *six = (void *)(eth + 1);
	struct router_advertisement *router = (void *)(six + 1);
	struct six_pseudo pseudo;
	__s64 sum;

	if ((void *)(router + 1) > packet_end(skb))
		return false;
	write_macs(eth, index, CV_ROUTER_NIC);
	six->payload = bpf_htons(sizeof(*router));
	six->target = six->source;
	if (!is_link_local(&six->target)) { /* ff02::1: the asker has no address yet */
		six->target.word[0] = bpf_htonl(0xff020000);
		six->target.word[1] = 0;
		six->target.word[2] = 0;
		six->target.word[3] = bpf_htonl(1);
	}
	set_router(&six->source);
	router->head.type = ICMP6_ROUTER_ADVERTISEMENT;
	router->head.code = 0;
	router->head.check = 0;
	router->hops = 64;
	router->flags = ROUTER_FLAGS;
	router->lifetime_s = bpf_htons(CV_ADVERTISED_S);
	router->reachable_ms = 0;
	router->retransmit_ms = 0;
	router->mac_option = OPTION_SOURCE_MAC;
	router->mac_words = 1;
	__builtin_memcpy(router->mac, eth->h_source, 6);
	router->mtu_option = OPTION_MTU;
	router->mtu_words = 1;
	router->reserved = 0;
	router->mtu = bpf_htonl(bpf_ntohs(mtu));
	fill_pseudo(&pseudo, six, IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), 0);
	sum = bpf_csum_diff(NULL, 0, (void *)router, sizeof(*router), (__u32)sum);
	router->head.check = changed_check(0xffff, sum);
	return true;
}

/* Answers a router solicitation (RFC 4861 4.1, 6.1.1). */
static __noinline int answer_router(struct __sk_buff *skb, const struct cv_nic *nic, __u32 index)
{
	struct cv_lease *lease = bpf_map_lookup_elem(&cv_leases, &index);
	struct six_header *six = packet_data(skb) + ETH_BYTES;
	struct icmp_head *head = (void *)(six + 1);
	__be16 mtu;

	if (!lease || (void *)(head + 1) > packet_end(skb) || six->hops != 255 || head->code ||
	    bpf_ntohs(six->payload) < ICMP_BYTES)
		return CV_DROPPED(ND_UNANSWERED);
	if (!is_link_local(&six->source) &&
	    (six->source.word[0] | six->source.word[1] | six->source.word[2] | six->source.word[3]))
		return CV_DROPPED(SPOOFED_ADDRESS);
	mtu = lease->mtu;
	if (bpf_skb_change_tail(skb, ROUTER_ANSWER_BYTES, 0))
		return CV_DROPPED(ND_UNANSWERED);
	linearize(skb, ROUTER_ANSWER_BYTES);
	if (!write_advertisement(skb, index, mtu))
		return CV_DROPPED(ND_UNANSWERED);
	return answer_workload(skb, nic, CV_COUNTER_ND_ANSWERED);
}

#endif
