/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Reading and delivering packets: linear data, MACs that name NICs, the last step to a workload. */
#ifndef CV_BPF_PACKET_H
#define CV_BPF_PACKET_H

#include "drop.h"

#include <bpf/bpf_core_read.h>

#define CHECKSUM_PARTIAL 3 /* linux/skbuff.h */

/* Loads of the context by assembly: the compiler would merge their addresses, which the verifier
 * refuses. */
static __always_inline void *packet_data(const struct __sk_buff *skb)
{
	void *data;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(data)
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data)));
	return data;
}

static __always_inline void *packet_end(const struct __sk_buff *skb)
{
	void *end;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(end)
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data_end)));
	return end;
}

/* Makes the first `bytes` linear where the packet has them and they are not yet. Pointers into the
 * packet are void afterwards. */
static __always_inline void linearize(struct __sk_buff *skb, __u32 bytes)
{
	__u32 linear = packet_end(skb) - packet_data(skb);

	if (likely(linear >= bytes || linear >= skb->len))
		return;
	bpf_skb_pull_data(skb, bytes < skb->len ? bytes : skb->len);
}

/* The NIC that a MAC names: its index, or 0 when it is not one of ours (0 is the router). */
static __always_inline __u32 mac_nic(const __u8 *mac)
{
	if (*(const __u16 *)mac != bpf_htons(CV_MAC_OUI0 << 8 | CV_MAC_OUI1))
		return 0;
	return bpf_ntohl(*(const __u32 *)(mac + 2));
}

/* Destination and source of an Ethernet header: two NICs by index. */
static __always_inline void write_macs(void *eth, __u32 target, __u32 source)
{
	const __u64 oui = bpf_htons(CV_MAC_OUI0 << 8 | CV_MAC_OUI1);

	*(__u64 *)eth = oui | (__u64)bpf_htonl(target) << 16 | oui << 48;
	*(__u32 *)(eth + 8) = bpf_htonl(source);
}

/* Where the kernel will write a checksum, from the frame's start; false: nowhere. */
static __always_inline bool unfilled_checksum(struct __sk_buff *skb, __u32 *start, __u32 *offset)
{
	struct sk_buff *kernel = (void *)skb;

	if (BPF_CORE_READ_BITFIELD_PROBED(kernel, ip_summed) != CHECKSUM_PARTIAL)
		return false;
	*start = BPF_CORE_READ(kernel, csum_start) -
		 (BPF_CORE_READ(kernel, data) - BPF_CORE_READ(kernel, head));
	*offset = BPF_CORE_READ(kernel, csum_offset);
	return true;
}

/* Whether a packet may go to the TAP interface of a virtual machine: 0 or a fate. Where a
 * checksum is yet to be filled in, the place is what its sender said, and a machine (or a packet
 * socket) may say any: at the latest on the way out of here it is written there, over an address or
 * a port that was checked before. */
static __noinline int may_enter_tap(struct __sk_buff *skb)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	__u32 start, offset;

	if (!unfilled_checksum(skb, &start, &offset))
		return 0;
	if ((void *)(ip + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	/* of IPv6 there are the data plane's own answers alone, one of them by UDP */
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return start == ETH_BYTES + IP6_BYTES &&
				       offset == __builtin_offsetof(struct udphdr, check)
			       ? 0
			       : CV_DROPPED(MALFORMED);
	if (eth->h_proto != bpf_htons(ETH_P_IP) || start != ETH_BYTES + ip->ihl * 4)
		return CV_DROPPED(MALFORMED);
	if (ip->protocol == IPPROTO_TCP
		    ? offset != __builtin_offsetof(struct tcphdr, check)
		    : ip->protocol == IPPROTO_UDP &&
			      offset != __builtin_offsetof(struct udphdr, check))
		return CV_DROPPED(MALFORMED);
	return 0;
}

static __noinline int deliver_aside(struct __sk_buff *skb, const struct cv_nic *target,
				    __u32 counter); /* six.h */

/* The last step to an interface whose flags say whether it has a peer. */
static __always_inline int hand_over(struct __sk_buff *skb, const struct cv_nic *target, bool peer)
{
	if (unlikely(!peer))
		return bpf_redirect(target->ifindex, 0);
	/* kernels before 6.16 keep the packet type across the move: a packet "for another host"
	 * would be lost */
	if (unlikely(skb->pkt_type != 0))
		bpf_skb_change_type(skb, 0);
	return bpf_redirect_peer(target->ifindex, 0);
}

/* Hands an answer of the data plane's own to the workload that has asked. */
static __always_inline int answer_workload(struct __sk_buff *skb, const struct cv_nic *nic,
					   __u32 counter)
{
	const bool peer = nic->port_flags & (CV_PORT_PEER_OK | CV_PORT_PEER_SIX);
	int fate = peer ? 0 : may_enter_tap(skb);

	if (fate)
		return fate;
	count(counter);
	return hand_over(skb, nic, peer);
}

/* Hands the packet, its MACs already those of the target, to the target's workload on this node;
 * `counter` is moved when it went. */
static __always_inline int deliver(struct __sk_buff *skb, const struct cv_nic *target,
				   __u32 counter)
{
	if (unlikely(!target->ifindex))
		return CV_DROPPED(NIC_NOT_HERE);
	if (unlikely(!(target->port_flags & CV_PORT_PEER_OK)))
		return deliver_aside(skb, target, counter);
	count(counter);
	return hand_over(skb, target, true);
}

static __always_inline struct cv_nic *nic_by_index(__u32 index)
{
	return bpf_map_lookup_elem(&cv_nics, &index);
}

static __always_inline struct cv_node *node_by_index(__u32 index)
{
	return bpf_map_lookup_elem(&cv_nodes, &index);
}

/* Whether connections may not begin towards this node now. */
static __always_inline bool node_is_closed(__u32 index)
{
	struct cv_node *node = node_by_index(index);

	return node && node->state != CV_NODE_OPEN;
}

static __always_inline struct cv_link *link_by_id(__u32 id)
{
	return bpf_map_lookup_elem(&cv_links, &id);
}

/* 0, or why this link carries nothing. */
static __always_inline int link_admits(const struct cv_link *link)
{
	if (likely(link && link->state == CV_LINK_APPROVED))
		return 0;
	if (!link || link->state == CV_LINK_NONE)
		return CV_DROPPED(LINK_UNKNOWN);
	return CV_DROPPED(LINK_REFUSED);
}

#endif
