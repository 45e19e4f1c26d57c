/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* From the backbone: whose frame is it, do outer source, VNI, MACs and inner addresses belong
 * together, and to which workload here does it go. */
#ifndef CV_BPF_BACKBONE_H
#define CV_BPF_BACKBONE_H

#include "arp.h"
#include "arrival.h"
#include "nat.h"
#include "note.h"
#include "open.h"

#define ARRIVAL_BYTES (OUTER_BYTES + IP_BYTES)

/* Whether the frame is VXLAN to this node; all others belong to the host, also those of a VLAN that
 * the backbone interface carries (a tag without VLAN id is a priority). */
static __always_inline bool is_ours(const struct __sk_buff *skb, const struct cv_config *config)
{
	struct ethhdr *eth = packet_data(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > packet_end(skb))
		return false;
	if (unlikely(skb->vlan_present && skb->vlan_tci & VLAN_ID))
		return false;
	return eth->h_proto == bpf_htons(ETH_P_IP) && *(__u8 *)ip == 0x45 &&
	       ip->protocol == IPPROTO_UDP && udp->dest == config->udp_port &&
	       ip->daddr == *(__be32 *)config->outer && config->outer_family == 4 &&
	       !(ip->frag_off & bpf_htons(IP_FRAGMENT));
}

static __always_inline bool is_here(const struct cv_config *config, const struct cv_nic *nic)
{
	return nic->ifindex && nic->node == config->node;
}

/* Inside a VNet; stateless. */
static __always_inline int arrive_vnet(struct __sk_buff *skb, const struct cv_config *config,
				       struct cv_arrival *arrival, const struct cv_nic *source,
				       const struct cv_nic *target)
{
	int fate;

	if (unlikely(!arrival->vni))
		return CV_DROPPED(VNI_UNKNOWN);
	if (unlikely(source->vnet != arrival->vni || target->vnet != arrival->vni))
		return in_vnet(arrival->vni, arrival->daddr) ? CV_DROPPED(NIC_NOT_IN_VNET)
							     : CV_DROPPED(VNI_UNKNOWN);
	fate = source_admits(config, arrival, source, target);
	if (unlikely(fate))
		return fate;
	if (unlikely(!is_here(config, target)))
		return pass_on(skb, config, target);
	if (unlikely(source->address != arrival->saddr || target->address != arrival->daddr))
		return CV_DROPPED(INNER_ADDRESS);
	fate = decap(skb, arrival->target);
	if (unlikely(fate))
		return fate;
	return deliver(skb, target, CV_COUNTER_VNET_IN);
}

/* Consumer to backend. */
static __always_inline int arrive_forward(struct __sk_buff *skb, const struct cv_config *config,
					  const struct cv_arrival *arrival,
					  struct cv_segment *segment, const struct cv_nic *source,
					  const struct cv_nic *target)
{
	struct cv_flow *flow;
	int fate = CV_FRESH;

	if (unlikely(source->address != arrival->saddr))
		return CV_DROPPED(INNER_ADDRESS);
	flow = flow_find(&segment->key);
	if (likely(flow)) {
		bool same = flow->nic == arrival->target && flow->source_nic == arrival->source;

		if (likely(same))
			fate = flow_admits(config, segment, flow, source, target);
		else if (may_open(segment)) /* the consumer's node chose another backend */
			flow_remove(&segment->key, flow);
		else
			fate = CV_DROPPED(NO_FLOW);
		if (unlikely(fate && fate != CV_FRESH))
			return fate;
	}
	if (unlikely(fate)) {
		if (!may_open(segment))
			return CV_DROPPED(NO_FLOW);
		if (arrival->passed_on) /* who the consumer is only its own node may say */
			return CV_DROPPED(MOVED_OPENING);
		fate = open_backend(&segment->key, arrival->source, source, arrival->target,
				    target);
		if (fate) {
			count_refused(segment->key.scope, fate);
			return fate;
		}
		flow = bpf_map_lookup_elem(&cv_flows, &segment->key);
	}
	if (unlikely(!flow || flow->action != CV_FLOW_DELIVER))
		return CV_DROPPED(FLOW_TABLE_FULL);
	if (unlikely(segment->fragment == CV_FIRST))
		note_fragment(segment, flow, arrival->source);
	fate = decap(skb, arrival->target);
	if (likely(!fate))
		fate = rewrite(skb, segment, flow);
	if (unlikely(fate))
		return fate;
	flow_touch(skb, &segment->key, flow, segment, false);
	return deliver(skb, target, CV_COUNTER_LINK_IN);
}

/* Backend's answer to the consumer: already as the consumer must see it. */
static __always_inline int arrive_reply(struct __sk_buff *skb, const struct cv_config *config,
					const struct cv_arrival *arrival,
					const struct cv_link *link, struct cv_segment *segment,
					const struct cv_nic *source, const struct cv_nic *target)
{
	struct cv_flow_key turned = {
		.scope = arrival->target,
		.saddr = segment->key.daddr,
		.daddr = segment->key.saddr,
		.sport = segment->key.dport,
		.dport = segment->key.sport,
		.proto = segment->key.proto,
		.kind = CV_FLOW_NIC,
	};
	struct cv_flow *flow;
	int fate;

	if (unlikely(arrival->saddr != link->endpoint || target->address != arrival->daddr))
		return CV_DROPPED(INNER_ADDRESS);
	flow = flow_find(&turned);
	if (unlikely(!flow || flow->flags & CV_FLOW_PAIRED || flow->link != segment->key.scope ||
		     flow->nic != arrival->source || is_opening(segment)))
		return CV_DROPPED(NO_FLOW);
	if (unlikely(flow->link_generation != link->generation))
		fate = CV_DROPPED(LINK_STALE);
	else if (unlikely(flow->nic_generation != source->generation ||
			  flow->source_generation != target->generation))
		fate = CV_DROPPED(NO_FLOW);
	else
		fate = 0;
	if (unlikely(fate)) {
		flow_remove(&turned, flow);
		return fate;
	}
	if (unlikely(segment->fragment == CV_FIRST))
		note_fragment(segment, flow, arrival->source);
	fate = decap(skb, arrival->target);
	if (unlikely(fate))
		return fate;
	flow_touch(skb, &turned, flow, segment, true);
	return deliver(skb, target, CV_COUNTER_LINK_IN);
}

/* Private link traffic. The inner packet always runs between consumer and endpoint, and no NIC of
 * the consumer's VNet has the endpoint's address: so the destination tells the direction. */
static __always_inline int arrive_link(struct __sk_buff *skb, const struct cv_config *config,
				       struct cv_arrival *arrival, struct cv_segment *segment,
				       int unfit, const struct cv_nic *source,
				       const struct cv_nic *target)
{
	struct cv_link *link = link_by_id(segment->key.scope);
	bool forward;
	int fate = link_admits(link);

	if (unlikely(fate))
		return fate;
	if (!link) /* link_admits has seen it; the verifier has not */
		return CV_DROPPED(LINK_UNKNOWN);
	if (unlikely(is_stand_in(arrival->daddr))) {
		fate = arrive_six(arrival, segment->key.scope, link, source, target);
		if (fate)
			return fate;
	}
	forward = arrival->daddr == link->endpoint;
	if (unlikely(source->vnet != (forward ? link->consumer_vnet : link->provider_vnet) ||
		     target->vnet != (forward ? link->provider_vnet : link->consumer_vnet)))
		return CV_DROPPED(NIC_NOT_IN_VNET);
	fate = source_admits(config, arrival, source, target);
	if (unlikely(fate))
		return fate;
	if (unlikely(!is_here(config, target)))
		return pass_on(skb, config, target);
	if (unlikely(unfit))
		return unfit;
	return forward ? arrive_forward(skb, config, arrival, segment, source, target)
		       : arrive_reply(skb, config, arrival, link, segment, source, target);
}

/* What nodes say to each other: no IP. */
static __always_inline int between_nodes(struct __sk_buff *skb, const struct cv_config *config,
					 __be16 type)
{
	if (type == bpf_htons(CV_ECHO_ETHERTYPE))
		return echo(skb, config);
	return type == bpf_htons(CV_NOTE_ETHERTYPE) ? take_note(skb, config) : CV_DROPPED(NOT_IPV4);
}

static __always_inline int backbone(struct __sk_buff *skb)
{
	struct cv_segment segment = {.key = {.kind = CV_FLOW_LINK}};
	struct cv_arrival arrival = {};
	__u32 zero = 0;
	struct cv_config *config = bpf_map_lookup_elem(&cv_config, &zero);
	struct cv_nic *source, *target;
	struct outer outer;
	struct iphdr *ip;
	int unfit;

	linearize(skb, OUTER_BYTES + IP_BYTES + TCP_BYTES);
	if (!config || config->abi_version != CV_ABI_VERSION || !is_ours(skb, config)) {
		count(CV_COUNTER_NOT_OURS);
		return TC_ACT_UNSPEC;
	}
	outer = outer_at(packet_data(skb));
	ip = outer.inner_ip;
	if (unlikely((void *)(ip + 1) > packet_end(skb) ||
		     !(outer.vxlan->flags & CV_VXLAN_FLAG_VNI)))
		return CV_DROPPED(MALFORMED);
	/* a super-packet's may be 0 (write_outer) or that of its first piece */
	if (unlikely(outer.udp->len != bpf_htons(skb->len - ETH_BYTES - IP_BYTES) &&
		     !skb->gso_size))
		return CV_DROPPED(MALFORMED);
	if (unlikely(outer.inner->h_proto != bpf_htons(ETH_P_IP)))
		return between_nodes(skb, config, outer.inner->h_proto);
	if (unlikely(!ipv4_is_sound(ip, skb->len - OUTER_BYTES, skb->gso_size)))
		return CV_DROPPED(MALFORMED);
	arrival.vni = bpf_ntohl(outer.vxlan->vni) >> 8;
	arrival.source = mac_nic(outer.inner->h_source);
	arrival.target = mac_nic(outer.inner->h_dest);
	arrival.outer_source = outer.ip->saddr;
	arrival.saddr = ip->saddr;
	arrival.daddr = ip->daddr;
	source = nic_by_index(arrival.source);
	target = nic_by_index(arrival.target);
	if (unlikely(!source || !target))
		return CV_DROPPED(NIC_NOT_IN_VNET);
	if (!(arrival.vni & CV_VNI_LINK))
		return arrive_vnet(skb, config, &arrival, source, target);
	segment.key.scope = arrival.vni & CV_VNI_ID_MASK;
	unfit = read_segment(&segment, ip, packet_end(skb));
	if (unlikely(unfit == CV_DROPPED(FRAGMENT)))
		unfit = find_fragment(&segment, ip, arrival.source);
	return arrive_link(skb, config, &arrival, &segment, unfit, source, target);
}

#endif
