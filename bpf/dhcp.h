/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* DHCP (RFC 2131): the request of a workload becomes the answer in place and goes back to it alone.
 * The address is the NIC's, always: there is nothing to remember, and nothing that an agent would
 * be needed for. The server's name is the platform's address, so that a renewal comes here, too. */
#ifndef CV_BPF_DHCP_H
#define CV_BPF_DHCP_H

#include "lease.h"
#include "reset.h"

/* The options of every answer, in this order; what does not apply is padding. */
struct dhcp_options {
	__u8 kind[3];
	__u8 server_head[2];
	__be32 server;
	__u8 lease_head[2];
	__be32 lease_s;
	__u8 mask_head[2];
	__be32 mask;
	__u8 router_head[2];
	__be32 router;
	__u8 mtu_head[2];
	__be16 mtu;
	__u8 routes_head[2]; /* RFC 3442; who reads it ignores the router */
	__u8 platform_bits;
	__be32 platform;
	__be32 platform_router;
	__u8 default_bits;
	__be32 default_router;
	__u8 dns_head[2];
	__be32 dns[CV_LEASE_DNS_MAX];
	__u8 end;
} __attribute__((packed));

#define DHCP_ANSWER_BYTES (DHCP_AT + DHCP_BYTES + sizeof(struct dhcp_options))

static __always_inline void write_option(__u8 *head, __u8 option, __u8 bytes)
{
	head[0] = option;
	head[1] = bytes;
}

/* What an OFFER and an ACK say; without `lease_s` the address is the client's own matter. */
static __always_inline void write_lease(struct dhcp_options *options, const struct cv_lease *lease,
					__u32 lease_s)
{
	if (lease_s) {
		write_option(options->lease_head, 51, 4);
		options->lease_s = bpf_htonl(lease_s);
	}
	write_option(options->mask_head, 1, 4);
	options->mask = lease->mask;
	write_option(options->router_head, 3, 4);
	options->router = lease->gateway;
	write_option(options->mtu_head, 26, 2);
	options->mtu = lease->mtu;
	write_option(options->routes_head, 121, 14);
	options->platform_bits = 32;
	options->platform = bpf_htonl(CV_PLATFORM_ADDRESS);
	options->platform_router = lease->gateway;
	options->default_router = lease->gateway;
	if (!lease->dns_count || lease->dns_count > CV_LEASE_DNS_MAX)
		return;
	write_option(options->dns_head, 6, lease->dns_count * 4);
#pragma unroll
	for (int i = 0; i < CV_LEASE_DNS_MAX; i++)
		options->dns[i] = lease->dns[i];
}

/* Writes the answer over the request, whose id, flags and hardware address stay. False: out of
 * bounds. */
static __always_inline bool write_answer(struct __sk_buff *skb, const struct cv_nic *nic,
					 const struct cv_lease *lease, __u32 index, int kind)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct dhcp *dhcp = (void *)(udp + 1);
	struct dhcp_options *options = (void *)(dhcp + 1);
	__u64 *words;
	bool everybody;

	if ((void *)(options + 1) > packet_end(skb))
		return false;
	write_macs(eth, index, CV_ROUTER_NIC);
	everybody = kind == DHCP_NAK || dhcp->flags & bpf_htons(DHCP_BROADCAST);
	write_ip(ip, bpf_htons(DHCP_ANSWER_BYTES - ETH_BYTES), 0, IPPROTO_UDP,
		 bpf_htonl(CV_PLATFORM_ADDRESS), everybody ? ~0u : nic->address);
	udp->source = bpf_htons(DHCP_SERVER_PORT);
	udp->dest = bpf_htons(DHCP_CLIENT_PORT);
	udp->len = bpf_htons(DHCP_ANSWER_BYTES - ETH_BYTES - IP_BYTES);
	udp->check = 0;
	dhcp->operation = 2;
	dhcp->hops = 0;
	dhcp->seconds = 0;
	if (kind == DHCP_NAK)
		dhcp->client = 0;
	dhcp->yours = kind == DHCP_NAK || kind == DHCP_INFORM ? 0 : nic->address;
	dhcp->next_server = 0;
	words = (void *)dhcp->name_and_file;
#pragma unroll
	for (int i = 0; i < 24; i++)
		words[i] = 0;
	__builtin_memset(options, DHCP_OPTION_PAD, sizeof(*options));
	write_option(options->kind, DHCP_OPTION_KIND, 1);
	options->kind[2] = kind == DHCP_INFORM ? DHCP_ACK : kind;
	write_option(options->server_head, DHCP_OPTION_SERVER, 4);
	options->server = bpf_htonl(CV_PLATFORM_ADDRESS);
	if (kind != DHCP_NAK)
		write_lease(options, lease, kind == DHCP_INFORM ? 0 : CV_LEASE_S);
	options->end = DHCP_OPTION_END;
	return true;
}

/* The answer's checksum is none (RFC 768), but where the device fills it in (as in reset.h). */
static __always_inline bool settle_checksum(struct __sk_buff *skb)
{
	const __u32 at = ETH_BYTES + IP_BYTES + __builtin_offsetof(struct udphdr, check);
	struct iphdr *ip;
	struct udphdr *udp;
	__u64 pseudo;

	if (bpf_l4_csum_replace(skb, at, 0, 1, 0))
		return false;
	ip = packet_data(skb) + ETH_BYTES;
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) > packet_end(skb))
		return false;
	pseudo = (__u64)ip->saddr + ip->daddr + bpf_htonl(IPPROTO_UDP << 16 | bpf_ntohs(udp->len));
	udp->check = udp->check ? 0 : fold(pseudo);
	return true;
}

/* Answers a request to a DHCP server; `otherwise`: the packet is none, or this node knows of no
 * lease. */
static __noinline int answer_dhcp(struct __sk_buff *skb, const struct cv_nic *nic, __u32 index,
				  int otherwise)
{
	struct cv_lease *lease = bpf_map_lookup_elem(&cv_leases, &index);
	struct dhcp_request request = {};
	struct ethhdr *eth;
	struct iphdr *ip;
	struct udphdr *udp;
	struct dhcp *dhcp;
	int kind;

	linearize(skb, DHCP_AT + DHCP_BYTES);
	eth = packet_data(skb);
	ip = (void *)(eth + 1);
	udp = (void *)(ip + 1);
	dhcp = (void *)(udp + 1);
	if (!lease || (void *)(udp + 1) > packet_end(skb) || skb->gso_size || ip->ihl != 5 ||
	    ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(IP_FRAGMENT) ||
	    udp->source != bpf_htons(DHCP_CLIENT_PORT) || udp->dest != bpf_htons(DHCP_SERVER_PORT))
		return otherwise;
	if ((void *)(dhcp + 1) > packet_end(skb) || !is_request(dhcp, eth))
		return CV_DROPPED(DHCP);
	read_options(skb, &request);
	kind = decide_lease(&request, dhcp->client, nic->address);
	if (kind < 0)
		return kind;
	if (bpf_skb_change_tail(skb, DHCP_ANSWER_BYTES, 0))
		return CV_DROPPED(DHCP);
	linearize(skb, DHCP_ANSWER_BYTES);
	if (!write_answer(skb, nic, lease, index, kind) || !settle_checksum(skb))
		return CV_DROPPED(DHCP);
	return answer_workload(skb, nic, CV_COUNTER_DHCP_ANSWERED);
}

/* A packet to everybody, or from another address than the NIC's: from one that has none yet it may
 * ask for it. */
static __noinline int stray(struct __sk_buff *skb, const struct cv_nic *nic, __u32 index)
{
	struct iphdr *ip = packet_data(skb) + ETH_BYTES;
	int fate;

	if ((void *)(ip + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	fate = ip->saddr == nic->address ? CV_DROPPED(MULTICAST) : CV_DROPPED(SPOOFED_ADDRESS);
	if (ip->daddr != ~0u || (ip->saddr && ip->saddr != nic->address))
		return fate;
	return answer_dhcp(skb, nic, index, fate);
}

#endif
