/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* VXLAN (RFC 7348 5) written and taken off in place: 50 bytes between the Ethernet and the IP
 * header, which leave the inner IP packet untouched and a super-packet in one piece. */
#ifndef CV_BPF_ENCAP_H
#define CV_BPF_ENCAP_H

#include "hash.h"
#include "packet.h"

struct vxlan {
	__u8 flags;
	__u8 reserved[3];
	__be32 vni; /* upper 24 bits */
};

/* Where the headers are. Not one packed struct: the compiler would write it byte by byte. */
struct outer {
	struct iphdr *ip;
	struct udphdr *udp;
	struct vxlan *vxlan;
	struct ethhdr *inner;
	struct iphdr *inner_ip; /* also the end of what is added */
};

#define OUTER_BYTES (ETH_BYTES + CV_ENCAP_IPV4)

static __always_inline struct outer outer_at(void *data)
{
	struct outer outer;

	outer.ip = data + ETH_BYTES;
	outer.udp = (void *)(outer.ip + 1);
	outer.vxlan = (void *)(outer.udp + 1);
	outer.inner = (void *)(outer.vxlan + 1);
	outer.inner_ip = (void *)(outer.inner + 1);
	return outer;
}

/* What encapsulation must know: who sends to whom under which VNI. */
struct cv_route {
	__u32 vni;
	__u32 source; /* NIC indices */
	__u32 target;
	__u32 node;
	__be16 port; /* outer UDP source port */
};

static __always_inline __sum16 outer_checksum(const struct iphdr *ip)
{
	const __u16 *word = (const void *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += i == 5 ? 0 : word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* An IPv4 header of the data plane's own; `bytes` in network order. */
static __always_inline void write_ip(struct iphdr *ip, __be16 bytes, __be16 fragment, __u8 proto,
				     __be32 saddr, __be32 daddr)
{
	*(__be16 *)ip = bpf_htons(0x4500);
	ip->tot_len = bytes;
	ip->id = 0;
	ip->frag_off = fragment;
	ip->ttl = 64;
	ip->protocol = proto;
	ip->saddr = saddr;
	ip->daddr = daddr;
	ip->check = outer_checksum(ip);
}

static __always_inline int write_outer(struct __sk_buff *skb, const struct cv_config *config,
				       const struct cv_node *node, const struct cv_route *route)
{
	struct outer outer = outer_at(packet_data(skb));
	__u32 bytes = skb->len - ETH_BYTES;

	if ((void *)outer.inner_ip > packet_end(skb))
		return CV_DROPPED(ENCAP_FAILED);
	/* more than 16 bits can say is a super-packet: 0, as the kernel's tunnels write it */
	write_ip(outer.ip, bytes > 0xffff ? 0 : bpf_htons(bytes), bpf_htons(IP_DF), IPPROTO_UDP,
		 *(__be32 *)config->outer, *(__be32 *)node->outer);
	outer.udp->source = route->port;
	outer.udp->dest = config->udp_port;
	outer.udp->len = bytes > 0xffff ? 0 : bpf_htons(bytes - IP_BYTES);
	outer.udp->check = 0;
	*(__be32 *)outer.vxlan = bpf_htonl(CV_VXLAN_FLAG_VNI << 24);
	outer.vxlan->vni = bpf_htonl(route->vni << 8);
	write_macs(outer.inner, route->target, route->source);
	outer.inner->h_proto = bpf_htons(ETH_P_IP);
	return 0;
}

/* Whether the packet, in the pieces that it will be cut into, fits the backbone with its outer
 * headers. `header_bytes`: as in cv_route. */
static __always_inline bool fits(const struct __sk_buff *skb, const struct cv_config *config,
				 __u32 header_bytes)
{
	__u32 gso = skb->gso_size;
	__u32 bytes = gso ? gso + header_bytes : skb->len - ETH_BYTES;

	return bytes + CV_ENCAP_IPV4 <= config->backbone_mtu;
}

/* Wraps a packet that fits and sends it to `node`, the route's; `counter` is moved when it went. */
static __always_inline int encap(struct __sk_buff *skb, const struct cv_config *config,
				 const struct cv_node *node, const struct cv_route *route,
				 __u32 counter)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 |
			    BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH |
			    (__u64)ETH_BYTES << 56; /* BPF_F_ADJ_ROOM_ENCAP_L2(14) */
	struct bpf_redir_neigh hop = {.nh_family = AF_INET};
	__u32 gso = skb->gso_size;
	int fate;

	if (unlikely(!node || node->family != 4 || config->outer_family != 4 ||
		     route->node == config->node))
		return CV_DROPPED(NODE_UNKNOWN);
	if (unlikely(bpf_skb_adjust_room(skb, CV_ENCAP_IPV4, BPF_ADJ_ROOM_MAC, flags)))
		return CV_DROPPED(ENCAP_FAILED);
	fate = write_outer(skb, config, node, route);
	if (unlikely(fate))
		return fate;
	count(counter);
	if (gso)
		count(CV_COUNTER_SUPER_OUT);
	hop.ipv4_nh = *(__be32 *)node->next_hop;
	return bpf_redirect_neigh(config->backbone_ifindex, &hop, sizeof(hop), 0);
}

/* Takes the outer headers off and addresses the frame to the target; 0 or a fate. */
static __always_inline int decap(struct __sk_buff *skb, __u32 target)
{
	__u64 macs[2]; /* 12 bytes of it */

	if (unlikely(bpf_skb_adjust_room(skb, -CV_ENCAP_IPV4, BPF_ADJ_ROOM_MAC,
					 BPF_F_ADJ_ROOM_FIXED_GSO)))
		return CV_DROPPED(ENCAP_FAILED);
	write_macs(macs, target, CV_ROUTER_NIC);
	/* by helper: a device that summed the whole frame (CHECKSUM_COMPLETE) must be told */
	if (unlikely(bpf_skb_store_bytes(skb, 0, macs, 12, BPF_F_RECOMPUTE_CSUM)))
		return CV_DROPPED(ENCAP_FAILED);
	if (skb->gso_size)
		count(CV_COUNTER_SUPER_IN);
	return 0;
}

#endif
