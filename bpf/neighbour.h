/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Neighbour discovery (RFC 4861 7.2): what a workload takes for its neighbours, those of its /64
 * and the link-local router, is at the router's MAC. */
#ifndef CV_BPF_NEIGHBOUR_H
#define CV_BPF_NEIGHBOUR_H

#include "packet.h"
#include "six_header.h"

#define ADVERTISEMENT_FLAGS 0xe0000000u /* router, solicited, override (RFC 4861 4.4) */
#define OPTION_SOURCE_MAC 1
#define OPTION_TARGET_MAC 2

/* A solicitation or advertisement with its one option. */
struct neighbour_message {
	struct icmp_head head;
	__be32 flags;
	struct cv_six target;
	__u8 option;
	__u8 option_words; /* of eight bytes */
	__u8 mac[6];
};
CV_ASSERT_SIZE(struct neighbour_message, 32);

static __always_inline bool is_same_six(const struct cv_six *a, const struct cv_six *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool is_link_local(const struct cv_six *address)
{
	return (address->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool is_solicitation(const struct six_header *six, const void *end)
{
	const struct icmp_head *head = (const void *)(six + 1);

	return six->next == IPPROTO_ICMPV6 && (const void *)(head + 1) <= end &&
	       head->type == ICMP6_SOLICITATION;
}

/* Whether `target` is asked for by somebody at `own` who should hear of it. */
static __always_inline bool is_neighbour(const struct cv_six *target, const struct cv_six *own,
					 const struct cv_six *asker)
{
	if (is_same_six(target, own) || is_same_six(target, asker))
		return false;
	return is_link_local(target) ||
	       (target->word[0] == own->word[0] && target->word[1] == own->word[1]);
}

/* Turns the solicitation into its answer. 0 or a fate. */
static __always_inline int advertise(struct __sk_buff *skb, __u32 index)
{
	struct ethhdr *eth = packet_data(skb);
	struct six_header *six = (void *)(eth + 1);
	struct neighbour_message *message = (void *)(six + 1);
	struct six_pseudo pseudo;
	__s64 sum;

	if ((void *)(message + 1) > packet_end(skb))
		return CV_DROPPED(ND_UNANSWERED);
	write_macs(eth, index, CV_ROUTER_NIC);
	six->target = six->source;
	six->source = message->target;
	message->head.type = ICMP6_ADVERTISEMENT;
	message->head.check = 0;
	message->flags = bpf_htonl(ADVERTISEMENT_FLAGS);
	message->option = OPTION_TARGET_MAC;
	__builtin_memcpy(message->mac, eth->h_source, 6);
	fill_pseudo(&pseudo, six, IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), 0);
	sum = bpf_csum_diff(NULL, 0, (void *)message, sizeof(*message), (__u32)sum);
	message->head.check = changed_check(0xffff, sum);
	return 0;
}

static __noinline int answer_solicitation(struct __sk_buff *skb, const struct cv_nic *nic,
					  __u32 index, const struct cv_six *own)
{
	struct six_header *six = packet_data(skb) + ETH_BYTES;
	struct neighbour_message *message = (void *)(six + 1);
	int fate;

	if ((void *)(message + 1) > packet_end(skb) ||
	    bpf_ntohs(six->payload) != sizeof(*message) || six->hops != 255 || message->head.code ||
	    message->option != OPTION_SOURCE_MAC || message->option_words != 1)
		return CV_DROPPED(ND_UNANSWERED);
	if (mac_nic(message->mac) != index)
		return CV_DROPPED(SPOOFED_MAC);
	if (!is_same_six(&six->source, own) && !is_link_local(&six->source))
		return CV_DROPPED(SPOOFED_ADDRESS);
	if (!is_neighbour(&message->target, own, &six->source))
		return CV_DROPPED(ND_UNANSWERED);
	fate = advertise(skb, index);
	if (fate)
		return fate;
	/* straight in, as ARP */
	return answer_workload(skb, nic, CV_COUNTER_ND_ANSWERED);
}

#endif
