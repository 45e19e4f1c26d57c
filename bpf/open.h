/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Opening a connection through a link: which backend, which NAT address and port, which entries. */
#ifndef CV_BPF_OPEN_H
#define CV_BPF_OPEN_H

#include "hash.h"
#include "ports.h"
#include "six_header.h"
#include "sweep.h"

static __always_inline void fill_common(struct cv_flow *flow, const struct cv_opening *opening)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	flow->last_seen_ns = now;
	flow->created_ns = now;
	flow->link = opening->link_id;
	flow->link_generation = opening->link->generation;
	flow->idle_s = opening->rule->idle_s;
	flow->flags = opening->rule->flags & CV_RULE_RESET ? CV_FLOW_TELL : 0;
}

/* The entry on a node where the backend is not: send on unchanged. */
static __noinline int open_remote(const struct cv_opening *opening)
{
	struct cv_charge charge = charge_of(opening, 0);
	struct cv_flow flow = {};
	int error;
	int fate = quota_take(&charge);

	if (fate)
		return fate;
	fill_common(&flow, opening);
	flow.nic = opening->backend_index;
	flow.nic_generation = opening->backend->generation;
	flow.source_nic = opening->consumer_index;
	flow.source_generation = opening->consumer->generation;
	flow.flags |= CV_FLOW_PRIMARY;
	flow.action = CV_FLOW_ENCAP;
	error = bpf_map_update_elem(&cv_flows, opening->key, &flow, BPF_NOEXIST);
	if (!error && flow_enroll(opening->key, &charge)) {
		count(CV_COUNTER_FLOW_CREATED);
		count_opened(opening->link_id, 0, true);
		return 0;
	}
	quota_give(&charge);
	/* or another CPU was first */
	return error == -EEXIST ? 0 : CV_DROPPED(FLOW_TABLE_FULL);
}

/* A rule of every port leaves the port as it is. */
static __always_inline __be16 backend_port(const struct cv_opening *opening)
{
	return opening->rule->backend_port ?: opening->key->dport;
}

/* What the backend is called: by its address, or if it is reached by IPv6 by its stand-in. */
static __always_inline __be32 serving_address(const struct cv_opening *opening)
{
	return opening->rule->flags & CV_RULE_SIX ? six_of_nic(opening->backend_index)
						  : opening->backend->address;
}

/* The two entries on the backend's node. */
static __noinline int open_pair(const struct cv_opening *opening)
{
	struct cv_flow_key reverse = {
		.scope = opening->backend_index,
		.saddr = serving_address(opening),
		.sport = backend_port(opening),
		.proto = opening->key->proto,
		.kind = CV_FLOW_NIC,
	};
	struct cv_charge charge = charge_of(opening, CV_CHARGE_PAIR);
	struct cv_flow flow = {};
	int error;
	int fate;

	if (is_stand_in(reverse.saddr) && !(opening->backend->port_flags & CV_PORT_SIX))
		return CV_DROPPED(IPV6_UNKNOWN);
	fate = quota_take(&charge);
	if (fate)
		return fate;
	fill_common(&flow, opening);
	flow.nic = opening->consumer_index;
	flow.nic_generation = opening->consumer->generation;
	flow.source_nic = opening->backend_index;
	flow.source_generation = opening->backend->generation;
	flow.saddr = opening->key->daddr;
	flow.daddr = opening->key->saddr;
	flow.sport = opening->key->dport;
	flow.dport = opening->key->sport;
	flow.flags |= CV_FLOW_PAIRED;
	flow.action = opening->reply;
	flow.other = *opening->key;
	fate = take_port(opening, &charge, &reverse, &flow);
	if (fate) {
		quota_give(&charge);
		return fate;
	}

	flow.nic = opening->backend_index;
	flow.nic_generation = opening->backend->generation;
	flow.source_nic = opening->consumer_index;
	flow.source_generation = opening->consumer->generation;
	flow.saddr = reverse.daddr;
	flow.daddr = reverse.saddr;
	flow.sport = reverse.dport;
	flow.dport = reverse.sport;
	flow.flags |= CV_FLOW_PRIMARY;
	flow.action = CV_FLOW_DELIVER;
	flow.other = reverse;
	fill_rewrite(&flow, opening->key);
	error = bpf_map_update_elem(&cv_flows, opening->key, &flow, BPF_NOEXIST);
	if (!error && flow_enroll(opening->key, &charge)) {
		count(CV_COUNTER_FLOW_CREATED);
		count(CV_COUNTER_FLOW_CREATED);
		count_opened(opening->link_id, opening->backend_index,
			     opening->reply == CV_FLOW_DELIVER);
		return 0;
	}
	bpf_map_delete_elem(&cv_flows, &reverse);
	quota_give(&charge);
	return error == -EEXIST ? 0 : CV_DROPPED(FLOW_TABLE_FULL);
}

/* What the service does with this port of its endpoints; NULL: nothing. On its own: who opens has
 * no stack left for its key. */
static __noinline struct cv_rule *find_rule(__u32 service, const struct cv_flow_key *key)
{
	struct cv_rule_key rule = {.service = service, .port = key->dport, .proto = key->proto};
	struct cv_rule *found = bpf_map_lookup_elem(&cv_rules, &rule);

	if (found)
		return found;
	rule.port = 0;
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

/* Chooses a backend for the opening's rule: whether there is one. */
static __always_inline bool find_backend(struct cv_opening *opening)
{
	void *pool = bpf_map_lookup_elem(&cv_pools, &opening->rule->pool);

	if (!pool)
		return false;
	choose_backend(opening, pool);
	return opening->backend && opening->backend->vnet == opening->link->provider_vnet;
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

	if (!opening.link)
		return CV_DROPPED(LINK_UNKNOWN);
	opening.rule = find_rule(opening.link->service, key);
	if (!opening.rule)
		return CV_DROPPED(NO_RULE);
	if (!find_backend(&opening))
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
