/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What is remembered of fragmented packets (bpf/fragment.h); rules as in abi/maps.h. */
#ifndef CV_ABI_FRAGMENT_H
#define CV_ABI_FRAGMENT_H

#include "abi/maps.h"

/* cv_fragments: LRU hash; which flow the first fragment of a packet took, for those that follow. A
 * NIC has a few places of its own, so that it forgets nobody's fragments but its own. */
struct cv_fragment_key {
	__u32 nic;  /* the sender's index */
	__u16 slot; /* identification modulo CV_FRAGMENT_SLOTS */
	__u8 kind;  /* enum cv_flow_kind */
	__u8 pad;
};
struct cv_fragment {
	struct cv_flow_key key; /* the first fragment's */
	__be16 id;              /* identification, as it came */
	__be16 sent_id;         /* and as it was sent on */
	__u64 seen_ns;
};
CV_ASSERT_SIZE(struct cv_fragment_key, 8);
CV_ASSERT_SIZE(struct cv_fragment, 32);

#endif
