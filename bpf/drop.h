/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Fates. A step of a program returns a fate: an action of tc, or CV_DROPPED(reason). Every program
 * ends in conclude(), the only place where a packet is dropped, and there it is counted. Some drops
 * are then answered (reset.h). */
#ifndef CV_BPF_DROP_H
#define CV_BPF_DROP_H

#include "maps.h"

#define CV_FATES (-256)
#define CV_DROPPED(reason) (CV_FATES - CV_DROP_##reason)
/* The packet was for the data plane itself and ends here; nothing is lost. */
#define CV_TAKEN TC_ACT_SHOT

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&cv_counters, &counter);

	if (value)
		*value += 1;
}

static __always_inline int conclude(int fate)
{
	__u32 reason = CV_FATES - fate;
	__u64 *value;

	if (likely(fate > CV_FATES))
		return fate;
	value = bpf_map_lookup_elem(&cv_drops, &reason);
	if (value)
		*value += 1;
	return TC_ACT_SHOT;
}

#endif
