/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What the sweep tells the agent of (bpf/sweep.h); rules as in abi/maps.h. */
#ifndef CV_ABI_ENDED_H
#define CV_ABI_ENDED_H

#include "abi/maps.h"

/* cv_rule.flags: both ends are reset when a connection was idle for too long */
#define CV_RULE_RESET 1u

/* cv_ended: ring buffer; connections that the sweep has ended and whose ends are to be reset. */
struct cv_ended {
	__u64 ended_ns;
	struct cv_flow_key key; /* of the primary entry */
	__u32 pad;
	struct cv_flow flow;
};
CV_ASSERT_SIZE(struct cv_ended, sizeof(struct cv_flow) + 32);

#endif
