/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Fragments (RFC 791 3.2): the flow of the first one is remembered for those that follow. One that
 * comes before it is dropped; the packet is then sent again, as after any loss. */
#ifndef CV_BPF_FRAGMENT_H
#define CV_BPF_FRAGMENT_H

#include "flow.h"

#define FRAGMENT_NS (30 * NS_PER_S) /* as long as receivers wait for the rest */

static __always_inline struct cv_fragment_key fragment_key(const struct cv_segment *segment,
							   __u32 nic, __be16 id)
{
	struct cv_fragment_key key = {
		.nic = nic,
		.slot = bpf_ntohs(id) % CV_FRAGMENT_SLOTS,
		.kind = segment->key.kind,
	};

	return key;
}

/* A later fragment that NIC `nic` has sent: 0 when its first one is known, whose key `segment` then
 * has, else FRAGMENT. Scope and kind of the segment's key are set already. */
static __noinline int find_fragment(struct cv_segment *segment, const struct iphdr *ip, __u32 nic)
{
	struct cv_fragment_key where = fragment_key(segment, nic, ip->id);
	struct cv_fragment *first = bpf_map_lookup_elem(&cv_fragments, &where);
	__u32 offset = (bpf_ntohs(ip->frag_off) & IP_OFFSET) * 8;

	if (!first || first->id != ip->id || first->key.scope != segment->key.scope ||
	    first->key.saddr != ip->saddr || first->key.daddr != ip->daddr ||
	    first->key.proto != ip->protocol || ip->ihl != 5 ||
	    offset < transport_bytes(ip->protocol) ||
	    bpf_ktime_get_coarse_ns() - first->seen_ns > FRAGMENT_NS)
		return CV_DROPPED(FRAGMENT);
	segment->key = first->key;
	segment->header_bytes = IP_BYTES;
	segment->fragment = CV_LATER;
	segment->id = first->sent_id;
	return 0;
}

/* Remembers a first fragment that NIC `nic` has sent and that `flow` carries. Where its addresses
 * change it gets an identification of this node's: senders that share a NAT address do not know of
 * each other's. */
static __noinline int note_fragment(struct cv_segment *segment, const struct cv_flow *flow,
				    __u32 nic)
{
	struct cv_fragment_key where = fragment_key(segment, nic, segment->id);
	struct cv_fragment first = {
		.key = segment->key,
		.id = segment->id,
		.seen_ns = bpf_ktime_get_coarse_ns(),
	};
	__u32 zero = 0, *last = bpf_map_lookup_elem(&cv_identification, &zero);

	if (flow->flags & CV_FLOW_REWRITE && last)
		segment->id = bpf_htons(__sync_fetch_and_add(last, 1) + 1);
	first.sent_id = segment->id;
	bpf_map_update_elem(&cv_fragments, &where, &first, BPF_ANY);
	return 0;
}

#endif
