/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Opening a connection through a link: which backend, which NAT address and port, which entries. */
#ifndef CV_BPF_OPEN_H
#define CV_BPF_OPEN_H

#include "flow.h"
#include "hash.h"
#include "sweep.h"

#define NAT_PORTS (65536 - CV_NAT_PORT_MIN)
#define NAT_RUN 8 /* tries in sequence before the search goes on elsewhere */

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

static __always_inline void fill_common(struct cv_flow *flow, const struct cv_opening *opening)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	flow->last_seen_ns = now;
	flow->created_ns = now;
	flow->link = opening->link_id;
	flow->link_generation = opening->link->generation;
	flow->idle_s = opening->rule->idle_s;
}

/* The entry on a node where the backend is not: send on unchanged. */
static __noinline int open_remote(const struct cv_opening *opening)
{
	struct cv_flow flow = {};
	long error;

	fill_common(&flow, opening);
	flow.nic = opening->backend_index;
	flow.nic_generation = opening->backend->generation;
	flow.source_nic = opening->consumer_index;
	flow.source_generation = opening->consumer->generation;
	flow.flags = CV_FLOW_PRIMARY;
	flow.action = CV_FLOW_ENCAP;
	error = bpf_map_update_elem(&cv_flows, opening->key, &flow, BPF_NOEXIST);
	if (error == -EEXIST)
		return 0; /* another CPU was first */
	if (error || !flow_enroll(opening->key))
		return CV_DROPPED(FLOW_TABLE_FULL);
	count(CV_COUNTER_FLOW_CREATED);
	return 0;
}

/* Inserts the reverse entry under a free NAT address and port of the backend: its insertion is what
 * takes the port. Sequential, so that a port is used again as late as possible; after a run of
 * taken ports the search goes on elsewhere. */
static __always_inline int take_port(const struct cv_opening *opening, struct cv_flow_key *key,
				     struct cv_flow *flow)
{
	__u32 zero = 0, service_id = opening->link->service;
	struct cv_service *service = bpf_map_lookup_elem(&cv_services, &service_id);
	__u32 *cursor = bpf_map_lookup_elem(&cv_cursor, &zero);

	if (!service || !cursor || !service->nat_count || service->nat_count > CV_NAT_ADDRESSES_MAX)
		return CV_DROPPED(NAT_EXHAUSTED);
	if (!*cursor)
		*cursor = bpf_get_prandom_u32();
	for (__u32 i = 0; i < CV_NAT_TRIES_MAX; i++) {
		__u32 place;
		long error;

		if (i % NAT_RUN == NAT_RUN - 1)
			*cursor = bpf_get_prandom_u32();
		place = (*cursor)++ % (service->nat_count * NAT_PORTS);
		key->daddr = service->nat[place / NAT_PORTS % CV_NAT_ADDRESSES_MAX];
		key->dport = bpf_htons(CV_NAT_PORT_MIN + place % NAT_PORTS);
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

/* The two entries on the backend's node. */
static __noinline int open_pair(const struct cv_opening *opening)
{
	struct cv_flow_key reverse = {
		.scope = opening->backend_index,
		.saddr = opening->backend->address,
		.sport = opening->rule->backend_port,
		.proto = opening->key->proto,
		.kind = CV_FLOW_NIC,
	};
	struct cv_flow flow = {};
	long error;
	int fate;

	fill_common(&flow, opening);
	flow.nic = opening->consumer_index;
	flow.nic_generation = opening->consumer->generation;
	flow.source_nic = opening->backend_index;
	flow.source_generation = opening->backend->generation;
	flow.saddr = opening->key->daddr;
	flow.daddr = opening->key->saddr;
	flow.sport = opening->key->dport;
	flow.dport = opening->key->sport;
	flow.flags = CV_FLOW_PAIRED;
	flow.action = opening->reply;
	flow.other = *opening->key;
	fate = take_port(opening, &reverse, &flow);
	if (fate)
		return fate;

	flow.nic = opening->backend_index;
	flow.nic_generation = opening->backend->generation;
	flow.source_nic = opening->consumer_index;
	flow.source_generation = opening->consumer->generation;
	flow.saddr = reverse.daddr;
	flow.daddr = reverse.saddr;
	flow.sport = reverse.dport;
	flow.dport = reverse.sport;
	flow.flags = CV_FLOW_PAIRED | CV_FLOW_PRIMARY;
	flow.action = CV_FLOW_DELIVER;
	flow.other = reverse;
	fill_rewrite(&flow, opening->key);
	error = bpf_map_update_elem(&cv_flows, opening->key, &flow, BPF_NOEXIST);
	if (!error && flow_enroll(opening->key)) {
		count(CV_COUNTER_FLOW_CREATED);
		count(CV_COUNTER_FLOW_CREATED);
		return 0;
	}
	bpf_map_delete_elem(&cv_flows, &reverse);
	return error == -EEXIST ? 0 : CV_DROPPED(FLOW_TABLE_FULL);
}

/* What the service does with this port of its endpoints; NULL: nothing. */
static __always_inline struct cv_rule *find_rule(__u32 service, const struct cv_flow_key *key)
{
	struct cv_rule_key rule = {.service = service, .port = key->dport, .proto = key->proto};

	return bpf_map_lookup_elem(&cv_rules, &rule);
}

/* Takes the backend from the pool's table; a few entries on, while nodes take no connections and
 * the agent has not made the table without them yet. NULL: there is none. */
static __always_inline void choose_backend(struct cv_opening *opening, void *pool)
{
	for (__u32 i = 0; i < CV_BACKEND_TRIES; i++) {
		__u32 slot = pool_slot(opening->key, opening->link_id ^ i << 24,
				       opening->rule->affinity);
		__u32 *index = bpf_map_lookup_elem(pool, &slot);

		opening->backend_index = index ? *index : 0;
		opening->backend = index && *index ? nic_by_index(*index) : NULL;
		if (!opening->backend || !node_is_closed(opening->backend->node))
			return;
	}
	opening->backend = NULL;
}

/* Opens a connection of a workload here: the consumer's node. 0 or a fate. */
static __noinline int open_endpoint(const struct cv_config *config, struct cv_flow_key *key,
				    __u32 link_id, const struct cv_nic *consumer)
{
	struct cv_opening opening = {
		.key = key,
		.link = link_by_id(link_id),
		.consumer = consumer,
		.link_id = link_id,
		.consumer_index = key->scope,
		.reply = CV_FLOW_DELIVER,
	};
	void *pool;

	if (!opening.link)
		return CV_DROPPED(LINK_UNKNOWN);
	opening.rule = find_rule(opening.link->service, key);
	if (!opening.rule)
		return CV_DROPPED(NO_RULE);
	pool = bpf_map_lookup_elem(&cv_pools, &opening.rule->pool);
	if (!pool)
		return CV_DROPPED(NO_BACKEND);
	choose_backend(&opening, pool);
	if (!opening.backend || opening.backend->vnet != opening.link->provider_vnet)
		return CV_DROPPED(NO_BACKEND);
	if (opening.backend->node == config->node)
		return open_pair(&opening);
	return opening.backend->node ? open_remote(&opening) : CV_DROPPED(NODE_UNKNOWN);
}

/* Opens a connection that came by the backbone: the backend's node. 0 or a fate. */
static __noinline int open_backend(struct cv_flow_key *key, __u32 consumer_index,
				   const struct cv_nic *consumer, __u32 backend_index,
				   const struct cv_nic *backend)
{
	struct cv_opening opening = {
		.key = key,
		.link = link_by_id(key->scope),
		.consumer = consumer,
		.backend = backend,
		.link_id = key->scope,
		.consumer_index = consumer_index,
		.backend_index = backend_index,
		.reply = CV_FLOW_ENCAP,
	};
	struct cv_member_key member = {.nic = backend_index};

	if (!opening.link)
		return CV_DROPPED(LINK_UNKNOWN);
	opening.rule = find_rule(opening.link->service, key);
	if (!opening.rule)
		return CV_DROPPED(NO_RULE);
	member.pool = opening.rule->pool;
	if (backend->vnet != opening.link->provider_vnet ||
	    !bpf_map_lookup_elem(&cv_members, &member))
		return CV_DROPPED(NIC_NOT_IN_POOL);
	return open_pair(&opening);
}

#endif
