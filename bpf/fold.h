/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* From a connection's entries into the totals. */
#ifndef CV_BPF_FOLD_H
#define CV_BPF_FOLD_H

#include "entry.h"
#include "totals.h"

static __always_inline struct cv_account *flow_account(const struct cv_flow_key *key,
						       const struct cv_flow *primary)
{
	__u32 place = primary->slot - 1;

	if (with_other && !bpf_map_lookup_elem(&cv_flows, key))
		return with_other_accounts ? bpf_map_lookup_elem(&cv_accounts_other, &place) : NULL;
	return bpf_map_lookup_elem(&cv_accounts, &place);
}

/* Adds to the totals what went through a connection, by either of its entries, since that was last
 * done. An account of the slot's last connection is one that nobody kept: what went through so far
 * is then not known to be new. */
__noinline int flow_fold(const struct cv_flow_key *key, struct cv_flow_common *common)
{
	struct cv_flow *flow = (void *)common;
	/* before Linux 6.3 a key of a map may not be what such a function is given */
	struct cv_flow_key mine, theirs;
	struct cv_flow *other = NULL;
	struct cv_totals *totals;
	struct cv_account *account;
	struct cv_count *back = NULL, in, out = {};

	if (!key || !common)
		return 0;
	mine = *key;
	theirs = flow->other;
	if (flow->flags & CV_FLOW_PAIRED)
		other = flow_find(&theirs);
	if (other && !is_same_key(&other->other, &mine))
		other = NULL;
	if (!(flow->flags & CV_FLOW_PAIRED)) {
		back = flow_answers(flow);
	} else if (flow->flags & CV_FLOW_PRIMARY) {
		back = other ? (struct cv_count *)&other->packets : NULL;
	} else {
		if (!other)
			return 0;
		back = (struct cv_count *)&flow->packets;
		mine = theirs;
		flow = other;
	}
	totals = totals_of(flow->link, 0);
	account = flow_account(&mine, flow);
	if (!totals || !account || flow->link_generation < totals->generation)
		return 0;
	if (unlikely(account->created_ns != flow->created_ns)) {
		account->forward.packets = flow->packets;
		account->forward.bytes = flow->bytes;
		account->back.packets = back ? back->packets : 0;
		account->back.bytes = back ? back->bytes : 0;
		account->created_ns = flow->created_ns;
		return 0;
	}
	take_count(&in, &account->forward, flow->packets, flow->bytes);
	if (back)
		take_count(&out, &account->back, back->packets, back->bytes);
	if (consumer_is_here(&mine, flow)) {
		add_count(&totals->consumer_in, &in);
		add_count(&totals->consumer_out, &out);
	}
	if (!backend_is_here(flow))
		return 0;
	add_count(&totals->provider_in, &in);
	add_count(&totals->provider_out, &out);
	totals = totals_of(0, flow->nic);
	if (totals) {
		add_count(&totals->provider_in, &in);
		add_count(&totals->provider_out, &out);
	}
	return 0;
}

#endif
