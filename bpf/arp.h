/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* ARP (RFC 826): every address of the VNet but the asker's own, and the platform's, is at the
 * router's MAC. */
#ifndef CV_BPF_ARP_H
#define CV_BPF_ARP_H

#include "packet.h"

struct arp_ipv4 {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[6];
	__be32 sender;
	__u8 target_mac[6];
	__be32 target;
} __attribute__((packed));

static __always_inline bool in_vnet(__u32 vnet, __be32 address)
{
	struct cv_prefix_key key = {.length = 64, .vnet = bpf_htonl(vnet), .address = address};

	return bpf_map_lookup_elem(&cv_prefixes, &key) != NULL;
}

static __always_inline int answer_arp(struct __sk_buff *skb, const struct cv_nic *nic, __u32 index)
{
	struct ethhdr *eth = packet_data(skb);
	struct arp_ipv4 *arp = (void *)(eth + 1);
	__be32 target;

	if ((void *)(arp + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (arp->hardware != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_bytes != 6 || arp->protocol_bytes != 4)
		return CV_DROPPED(MALFORMED);
	if (mac_nic(arp->sender_mac) != index)
		return CV_DROPPED(SPOOFED_MAC);
	/* a probe (RFC 5227 2.1.1) has no sender address */
	if (arp->sender != nic->address && arp->sender != 0)
		return CV_DROPPED(SPOOFED_ADDRESS);
	target = arp->target;
	if (arp->operation != bpf_htons(1) || target == nic->address)
		return CV_DROPPED(ARP_UNANSWERED);
	if (target != bpf_htonl(CV_PLATFORM_ADDRESS) && !in_vnet(nic->vnet, target))
		return CV_DROPPED(NO_DESTINATION);

	write_macs(eth, index, CV_ROUTER_NIC);
	arp->operation = bpf_htons(2);
	__builtin_memcpy(arp->target_mac, eth->h_dest, 6);
	arp->target = arp->sender;
	__builtin_memcpy(arp->sender_mac, eth->h_source, 6);
	arp->sender = target;
	/* straight in: right after the other end came up this one may not send yet, and a lost
	 * answer costs the workload a second */
	return deliver(skb, nic, CV_COUNTER_ARP_ANSWERED);
}

#endif
