/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* From a workload: who sends, may it, and where does the packet go. */
#ifndef CV_BPF_WORKLOAD_H
#define CV_BPF_WORKLOAD_H

#include "alias.h"
#include "arp.h"
#include "dhcp.h"
#include "icmp.h"
#include "nat.h"
#include "six.h"

/* Why a frame's source MAC does not name the NIC attached to its interface. */
static __noinline int unknown_sender(__u32 ifindex, __u32 index)
{
	struct cv_port *port = bpf_map_lookup_elem(&cv_ports, &ifindex);

	return port && port->nic != index ? CV_DROPPED(SPOOFED_MAC) : CV_DROPPED(UNKNOWN_PORT);
}

/* To another NIC of the VNet; stateless. */
static __always_inline int send_to_nic(struct __sk_buff *skb, const struct cv_config *config,
				       const struct cv_nic *nic, const struct cv_segment *segment,
				       __u32 target_index)
{
	struct cv_nic *target = nic_by_index(target_index);
	struct cv_route route = {
		.vni = nic->vnet,
		.source = segment->key.scope,
		.target = target_index,
	};
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);

	if (unlikely(!target || target->vnet != nic->vnet || (void *)(ip + 1) > packet_end(skb)))
		return CV_DROPPED(NO_DESTINATION);
	if (target->node == config->node) {
		write_macs(eth, target_index, CV_ROUTER_NIC);
		return deliver(skb, target, CV_COUNTER_VNET_LOCAL);
	}
	if (unlikely(!fits(skb, config, segment->header_bytes)))
		return CV_DROPPED(TOO_BIG);
	route.node = target->node;
	/* the pieces of a packet take one way: only the first has ports */
	route.port = segment->fragment ? outer_port(ip->saddr, ip->daddr, 0, 0)
				       : outer_port(ip->saddr, ip->daddr, segment->key.sport,
						    segment->key.dport);
	return encap(skb, config, node_by_index(route.node), &route, CV_COUNTER_VNET_OUT);
}

/* A packet that no flow carries: what is its destination? 0: `segment` may open a connection of
 * `link_id`. */
static __always_inline int resolve(const struct cv_nic *nic, __be32 destination, int unfit,
				   const struct cv_segment *segment,
				   const struct cv_address *address)
{
	struct cv_link *link;
	int fate;

	switch (address->kind) {
	case CV_ADDRESS_ENDPOINT:
		break;
	case CV_ADDRESS_NAT:
		return CV_DROPPED(NAT_DIRECT);
	case CV_ADDRESS_FRONTEND:
		return CV_DROPPED(FRONTEND_DIRECT);
	default:
		return CV_DROPPED(NO_DESTINATION);
	}
	link = link_by_id(address->id);
	fate = link_admits(link);
	if (fate)
		return fate;
	if (is_stand_in(destination)) { /* IPv6 has come this way, and nothing else may */
		if (destination != six_of_link(address->id) || !is_stand_in(segment->key.saddr))
			return CV_DROPPED(NO_DESTINATION);
		destination = link->endpoint;
	}
	if (!link || link->consumer_vnet != nic->vnet || link->endpoint != destination)
		return CV_DROPPED(LINK_UNKNOWN);
	if (unfit)
		return unfit;
	return may_open(segment) ? 0 : CV_DROPPED(NO_FLOW);
}

/* To an address that is none of the VNet's. */
static __always_inline int leave_vnet(struct __sk_buff *skb, const struct cv_nic *nic,
				      __be32 destination, __u32 index)
{
	if (destination == bpf_htonl(CV_PLATFORM_ADDRESS)) {
		int fate = answer_dhcp(skb, nic, index, 0); /* a lease is renewed */

		return fate ? fate : to_services(skb, index);
	}
	return bpf_ntohl(destination) >> 28 == 0xe || destination == ~0u
		       ? CV_DROPPED(MULTICAST)
		       : CV_DROPPED(NO_DESTINATION);
}

static __always_inline int workload_ipv4(struct __sk_buff *skb, const struct cv_config *config,
					 const struct cv_nic *nic, __u32 index, __be32 source)
{
	struct cv_segment segment = {
		.key = {.scope = index, .kind = CV_FLOW_NIC},
		.header_bytes = IP_BYTES + sizeof(struct udphdr),
	};
	struct cv_address_key where = {.vnet = nic->vnet};
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct cv_address *address;
	struct cv_nic *target;
	struct cv_flow *flow = NULL;
	int fate, unfit;

	if ((void *)(ip + 1) > packet_end(skb) ||
	    !ipv4_is_sound(ip, skb->len - ETH_BYTES, skb->gso_size))
		return CV_DROPPED(MALFORMED);
	if (unlikely(ip->saddr != source || eth->h_dest[0] & 1))
		return stray(skb, nic, index);
	where.address = ip->daddr;

	unfit = read_segment(&segment, ip, packet_end(skb));
	if (unlikely(unfit == CV_DROPPED(FRAGMENT)))
		unfit = find_fragment(&segment, ip, index);
	if (likely(!unfit))
		flow = flow_find(&segment.key);
	if (likely(flow)) {
		target = nic_by_index(flow->nic);
		if (unlikely(!target))
			return CV_DROPPED(NO_FLOW);
		fate = flow_admits(config, &segment, flow, nic, target);
		if (unlikely(fate && fate != CV_FRESH))
			return fate;
		if (unlikely(fate))
			flow = NULL;
	}
	if (!flow) {
		address = bpf_map_lookup_elem(&cv_addresses, &where);
		if (!address)
			return leave_vnet(skb, nic, where.address, index);
		if (address->kind == CV_ADDRESS_NIC)
			return send_to_nic(skb, config, nic, &segment, address->id);
		fate = resolve(nic, where.address, unfit, &segment, address);
		if (fate == CV_DROPPED(PING) && link_is_alive(&segment.key, address->id))
			return answer_ping(skb, index);
		if (!fate)
			fate = open_endpoint(config, &segment.key, address->id, nic);
		if (fate) {
			if (address->kind == CV_ADDRESS_ENDPOINT && may_open(&segment))
				count_refused(address->id, fate);
			return fate;
		}
		flow = bpf_map_lookup_elem(&cv_flows, &segment.key);
		if (!flow)
			return CV_DROPPED(FLOW_TABLE_FULL);
		target = nic_by_index(flow->nic);
		if (!target)
			return CV_DROPPED(NO_FLOW);
	}
	flow_touch(skb, &segment.key, flow, &segment, false);
	if (unlikely(segment.fragment == CV_FIRST))
		note_fragment(&segment, flow, index);
	return carry(skb, config, &segment, flow, target);
}

static __always_inline int workload(struct __sk_buff *skb)
{
	__u32 zero = 0, index;
	struct cv_config *config = bpf_map_lookup_elem(&cv_config, &zero);
	struct ethhdr *eth;
	struct cv_nic *nic;
	__be32 source;
	int fate;

	if (unlikely(!config || config->abi_version != CV_ABI_VERSION))
		return CV_DROPPED(NOT_CONFIGURED);
	/* the kernel has taken the tag out of the frame and would put it in again, also on the
	 * backbone, around the outer headers */
	if (unlikely(skb->vlan_present))
		return CV_DROPPED(NOT_IPV4);
	linearize(skb, ETH_BYTES + IP_BYTES + TCP_BYTES);
	eth = packet_data(skb);
	if (unlikely((void *)(eth + 1) > packet_end(skb)))
		return CV_DROPPED(MALFORMED);

	/* one array load tells that the frame comes from the interface of the NIC its source MAC
	 * names */
	index = mac_nic(eth->h_source);
	nic = nic_by_index(index);
	if (unlikely(!nic || !index || nic->ifindex != skb->ifindex))
		return unknown_sender(skb->ifindex, index);

	source = nic->address;
	if (unlikely(eth->h_proto != bpf_htons(ETH_P_IP))) {
		if (eth->h_proto == bpf_htons(ETH_P_ARP))
			return answer_arp(skb, nic, index);
		if (eth->h_proto != bpf_htons(ETH_P_IPV6))
			return CV_DROPPED(NOT_IPV4);
		fate = enter_six(skb, nic, index);
		if (fate)
			return fate;
		source = six_of_nic(index);
	}
	return workload_ipv4(skb, config, nic, index, source);
}

#endif
