/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* IPv6 of a workload (docs/decisions/0016): its packet to an endpoint, or to the NAT address that a
 * connection to it comes from, becomes IPv4 from its stand-in (abi/six.h) before anything else sees
 * it, and what comes to a stand-in becomes IPv6 on its last step. Headers alone change (RFC 7915);
 * there is no state. */
#ifndef CV_BPF_SIX_H
#define CV_BPF_SIX_H

#include "dhcp6.h"
#include "six_icmp.h"

/* Whether the header after the fixed one is another header of IPv6 (RFC 8200 4). */
static __always_inline bool is_extension(__u8 next)
{
	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
	case IPPROTO_MH:
		return true;
	}
	return false;
}

/* Where a transport's checksum is, from its header on; 0: it has none that covers addresses. */
static __always_inline __u32 checksum_at(__u8 proto)
{
	if (proto == IPPROTO_TCP)
		return __builtin_offsetof(struct tcphdr, check);
	return proto == IPPROTO_UDP ? __builtin_offsetof(struct udphdr, check) : 0;
}

/* IPv6 asks for a checksum (RFC 8200 8.1), and none that is there in IPv4 can be made up. */
static __always_inline bool lacks_checksum(const void *transport, const void *end, __u8 proto)
{
	const struct udphdr *udp = transport;

	return proto == IPPROTO_UDP && (const void *)(udp + 1) <= end && !udp->check;
}

/* Corrects the transport checksum at `at` by the difference of the addresses. */
static __always_inline bool change_transport(struct __sk_buff *skb, __u8 proto, __u32 at, __s64 sum)
{
	__u64 flags = BPF_F_PSEUDO_HDR | (proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);

	if (!checksum_at(proto))
		return true;
	return !bpf_l4_csum_replace(skb, at + checksum_at(proto), 0, (__u32)sum, flags);
}

/* A packet of other protocols than ICMPv6; those that no endpoint carries are refused as IPv4. */
static __noinline int enter_transport(struct __sk_buff *skb, __be32 saddr, __be32 daddr)
{
	struct six_header *six = packet_data(skb) + ETH_BYTES;
	struct iphdr ip = {.saddr = saddr, .daddr = daddr};
	__s64 sum;

	if ((void *)(six + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (lacks_checksum(six + 1, packet_end(skb), six->next))
		return CV_DROPPED(UDP_CHECKSUM);
	to_ipv4(&ip, six, bpf_ntohs(six->payload) + IP_BYTES);
	sum = bpf_csum_diff((void *)&six->source, 2 * sizeof(six->source), (void *)&ip.saddr,
			    2 * sizeof(ip.saddr), 0);
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) || !store_ipv4(skb, &ip) ||
	    !change_transport(skb, ip.protocol, ETH_BYTES + IP_BYTES, sum))
		return CV_DROPPED(MALFORMED);
	return 0;
}

/* A workload's IPv6 packet. 0: it is IPv4 now, from the NIC's stand-in; else a fate. */
static __noinline int enter_six(struct __sk_buff *skb, const struct cv_nic *nic, __u32 index)
{
	struct cv_address_key self = {.vnet = nic->vnet, .address = six_of_nic(index)};
	struct cv_six_key to = {.vnet = nic->vnet};
	struct cv_six *own = bpf_map_lookup_elem(&cv_six_addresses, &self);
	struct six_header *six;
	__be32 *name;
	int fate;

	if (!own)
		return CV_DROPPED(NOT_IPV4);
	linearize(skb, SIX_ERROR_BYTES);
	six = packet_data(skb) + ETH_BYTES;
	if ((void *)(six + 1) > packet_end(skb) || six->first >> 4 != 6)
		return CV_DROPPED(MALFORMED);
	if (!six->payload) /* a jumbogram (RFC 2675 3), or nothing */
		return CV_DROPPED(MALFORMED);
	if (!skb->gso_size && bpf_ntohs(six->payload) + ETH_BYTES + IP6_BYTES > skb->len)
		return CV_DROPPED(MALFORMED);
	if (is_solicitation(six, packet_end(skb)))
		return answer_solicitation(skb, nic, index, own);
	if (*(__u8 *)&six->target == 0xff)
		return answer_group(skb, nic, index, own);
	if (!is_same_six(&six->source, own))
		return CV_DROPPED(SPOOFED_ADDRESS);
	if (is_extension(six->next))
		return CV_DROPPED(IPV6_EXTENSION);
	to.address = six->target;
	name = bpf_map_lookup_elem(&cv_sixes, &to);
	if (!name)
		return CV_DROPPED(NO_DESTINATION);
	fate = six->next == IPPROTO_ICMPV6 ? enter_icmp(skb, self.address, *name)
					   : enter_transport(skb, self.address, *name);
	if (!fate)
		count(CV_COUNTER_IPV6_IN);
	return fate;
}

/* The IPv6 address that something is called by in the VNet of the NIC that a stand-in is of. */
static __always_inline struct cv_six *six_of(__be32 stand_in, __be32 address)
{
	struct cv_nic *nic = nic_by_index(bpf_ntohl(stand_in) ^ CV_SIX_NIC);
	struct cv_address_key name = {.address = address};

	if (!nic)
		return NULL;
	name.vnet = nic->vnet;
	return bpf_map_lookup_elem(&cv_six_addresses, &name);
}

/* A packet to a NIC's stand-in becomes the IPv6 packet that it stands for. 0 or a fate. */
static __noinline int leave_six(struct __sk_buff *skb)
{
	struct six_header six = {};
	struct cv_six *source, *target;
	struct iphdr *ip;
	__s64 sum;
	int fate;

	linearize(skb, ETH_BYTES + IP_BYTES + sizeof(struct icmp_error));
	ip = packet_data(skb) + ETH_BYTES;
	if ((void *)(ip + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	source = six_of(ip->daddr, ip->saddr);
	target = six_of(ip->daddr, ip->daddr);
	if (!source || !target)
		return CV_DROPPED(IPV6_UNKNOWN);
	if (ip->ihl != 5)
		return CV_DROPPED(IP_OPTIONS);
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return CV_DROPPED(FRAGMENT);
	if (lacks_checksum(ip + 1, packet_end(skb), ip->protocol))
		return CV_DROPPED(UDP_CHECKSUM);
	to_ipv6(&six, ip, source, target);
	if (six.next == IPPROTO_ICMPV6) {
		fate = leave_icmp(skb, &six);
	} else {
		sum = bpf_csum_diff((void *)&ip->saddr, 2 * sizeof(ip->saddr), (void *)&six.source,
				    2 * sizeof(six.source), 0);
		fate = bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0) ||
				       !store_ipv6(skb, &six) ||
				       !change_transport(skb, six.next, ETH_BYTES + IP6_BYTES, sum)
			       ? CV_DROPPED(MALFORMED)
			       : 0;
	}
	if (!fate)
		count(CV_COUNTER_IPV6_OUT);
	return fate;
}

/* Translates what goes to a stand-in; all else stays as it is. 0 or a fate. */
static __always_inline int leave_if_six(struct __sk_buff *skb)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	return eth->h_proto == bpf_htons(ETH_P_IP) && is_stand_in(ip->daddr) ? leave_six(skb) : 0;
}

/* deliver() to an interface that CV_PORT_PEER_OK does not speak for: of a workload with IPv6, or a
 * virtual machine's. */
static __noinline int deliver_aside(struct __sk_buff *skb, const struct cv_nic *target,
				    __u32 counter)
{
	const bool peer = target->port_flags & CV_PORT_PEER_SIX;
	int fate = peer ? 0 : may_enter_tap(skb);

	if (!fate && target->port_flags & CV_PORT_SIX)
		fate = leave_if_six(skb);
	if (fate)
		return fate;
	count(counter);
	return hand_over(skb, target, peer);
}

#endif
