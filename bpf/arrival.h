/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Who sent a frame of the backbone: its NIC's node, or while a NIC moves that NIC's other node. */
#ifndef CV_BPF_ARRIVAL_H
#define CV_BPF_ARRIVAL_H

#include "migrate.h"
#include "six.h"

/* What the outer headers and the inner MACs say. */
struct cv_arrival {
	__u32 vni;
	__u32 source; /* NIC indices */
	__u32 target;
	__be32 outer_source;
	__be32 saddr; /* inner addresses */
	__be32 daddr;
	bool passed_on; /* not by the sending NIC's node, but by one that has to do with a move */
};

/* The frame's source NIC must live on the node it came from; while one of the two NICs moves, its
 * other node may have sent or passed on the frame. 0 or a fate. */
static __always_inline int source_admits(const struct cv_config *config, struct cv_arrival *arrival,
					 const struct cv_nic *source, const struct cv_nic *target)
{
	__u32 index = source->node;
	struct cv_node *node = bpf_map_lookup_elem(&cv_nodes, &index);

	if (likely(node && node->family == 4 && *(__be32 *)node->outer == arrival->outer_source &&
		   index != config->node))
		return 0;
	if (!from_other_node(config, source, arrival->outer_source)) {
		if (!from_other_node(config, target, arrival->outer_source))
			return CV_DROPPED(OUTER_SOURCE);
		arrival->passed_on = true;
	}
	count(CV_COUNTER_MOVED_IN);
	return 0;
}

/* IPv6's stand-ins must be those of the two ends; from here on the ends have their addresses. 0 or
 * a fate. */
static __always_inline int arrive_six(struct cv_arrival *arrival, __u32 link_id,
				      const struct cv_link *link, const struct cv_nic *source,
				      const struct cv_nic *target)
{
	const __be32 endpoint = six_of_link(link_id);

	if (arrival->daddr == endpoint && arrival->saddr == six_of_nic(arrival->source)) {
		arrival->saddr = source->address;
		arrival->daddr = link->endpoint;
		return 0;
	}
	if (arrival->saddr == endpoint && arrival->daddr == six_of_nic(arrival->target)) {
		arrival->saddr = link->endpoint;
		arrival->daddr = target->address;
		return 0;
	}
	return CV_DROPPED(INNER_ADDRESS);
}

#endif
