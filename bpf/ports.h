/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A connection that is being opened: what it is charged to, what its entries rewrite, its NAT
 * port. */
#ifndef CV_BPF_PORTS_H
#define CV_BPF_PORTS_H

#include "flow.h"

#define NAT_PORTS (65536 - CV_NAT_PORT_MIN)
#define NAT_RUN 8 /* tries in sequence before the others are made anywhere */

/* All that the entries are made of. */
struct cv_opening {
	struct cv_flow_key *key; /* the forward entry's */
	const struct cv_link *link;
	const struct cv_rule *rule;
	const struct cv_nic *consumer;
	const struct cv_nic *backend;
	__u32 link_id;
	__u32 consumer_index;
	__u32 backend_index;
	__u32 reply; /* enum cv_flow_action of the answer */
};

/* One's complement difference of two words (RFC 1624 3), folded to 16 bits. */
static __always_inline __u32 difference(__u32 from0, __u32 from1, __u32 to0, __u32 to1)
{
	__u64 sum = (__u64)to0 + to1 + (__u32)~from0 + (__u32)~from1;

	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline void fill_rewrite(struct cv_flow *flow, const struct cv_flow_key *from)
{
	flow->flags |= CV_FLOW_REWRITE;
	flow->address_delta = difference(from->saddr, from->daddr, flow->saddr, flow->daddr);
	flow->port_delta = difference(from->sport, from->dport, flow->sport, flow->dport);
}

static __always_inline struct cv_charge charge_of(const struct cv_opening *opening, __u32 flags)
{
	struct cv_charge charge = {
		.link = opening->link_id,
		.consumer = opening->consumer_index,
		.backend = opening->backend_index,
		.flags = flags,
	};

	return charge;
}

/* Inserts the reverse entry under a free NAT address and port of the backend: its insertion is what
 * takes the port. Sequential, so that a port is used again as late as possible; taken ports lie
 * side by side for that reason, so after a run of them each try is made elsewhere: where three of
 * four are taken one search in ten million finds none. */
static __always_inline int take_port(const struct cv_opening *opening, struct cv_charge *charge,
				     struct cv_flow_key *key, struct cv_flow *flow)
{
	__u32 zero = 0, service_id = opening->link->service;
	struct cv_service *service = bpf_map_lookup_elem(&cv_services, &service_id);
	__u32 *cursor = bpf_map_lookup_elem(&cv_cursor, &zero);
	__u32 count;
	int fate;

	if (!service || !cursor || !service->nat_count || service->nat_count > CV_NAT_ADDRESSES_MAX)
		return CV_DROPPED(NAT_EXHAUSTED);
	count = opening->link->nat ? 1 : service->nat_count;
	fate = quota_take_nat(charge, count * NAT_PORTS);
	if (fate)
		return fate;
	if (!*cursor)
		*cursor = bpf_get_prandom_u32();
	for (__u32 i = 0; i < CV_NAT_TRIES_MAX; i++) {
		__u32 place;
		int error;

		if (i >= NAT_RUN)
			*cursor = bpf_get_prandom_u32();
		place = (*cursor)++ % (count * NAT_PORTS);
		/* in turn, so that an address that was added is used at once */
		key->daddr =
			opening->link->nat ?: service->nat[place % count % CV_NAT_ADDRESSES_MAX];
		key->dport = bpf_htons(CV_NAT_PORT_MIN + place / count % NAT_PORTS);
		if (key->daddr == key->saddr)
			continue;
		/* taken by a connection of the other layout, which opens none any more */
		if (with_other && bpf_map_lookup_elem(&cv_flows_other, key))
			continue;
		fill_rewrite(flow, key);
		error = bpf_map_update_elem(&cv_flows, key, flow, BPF_NOEXIST);
		if (!error)
			return 0;
		if (error != -EEXIST)
			return CV_DROPPED(FLOW_TABLE_FULL);
	}
	return CV_DROPPED(NAT_EXHAUSTED);
}

#endif
