/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Which connections the agent asks for (abi/transfer.h). */
#ifndef CV_BPF_WANTED_H
#define CV_BPF_WANTED_H

#include "maps.h"

static __always_inline bool is_noted(__u32 nic)
{
	__u32 zero = 0;
	struct cv_transfer_nics *noted = bpf_map_lookup_elem(&cv_transfer_nics, &zero);

	return noted && noted->words[nic / 64 % CV_TRANSFER_WORDS] >> (nic % 64) & 1;
}

/* Whether a primary entry is one that the state asks for. */
static __always_inline bool is_wanted(const struct cv_transfer_state *state,
				      const struct cv_flow *flow)
{
	if (state->nat)
		return flow->flags & CV_FLOW_PAIRED && flow->saddr == state->nat;
	if (state->nic == CV_TRANSFER_NOTED)
		return is_noted(flow->nic) || is_noted(flow->source_nic);
	return flow->nic == state->nic || flow->source_nic == state->nic;
}

#endif
