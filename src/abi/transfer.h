/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Flow entries between the kernel and the agent, when a NIC moves to another node: as abi/maps.h.
 */
#ifndef CV_ABI_TRANSFER_H
#define CV_ABI_TRANSFER_H

#include "abi/maps.h"

/* cv_transfer: array of CV_TRANSFER_MAX; copies of primary entries with what their other entry
 * says (copy_flows), or entries to put or remove (write_flows). */
struct cv_transfer {
	struct cv_flow_key key;
	__u32 remove; /* write_flows: 1 removes the key */
	struct cv_flow flow;
	__u64 other_last_seen_ns;
	__u64 other_packets;
	__u64 other_bytes;
	__u32 other_flags;
	__u32 paired; /* the other entry was there */
};
CV_ASSERT_SIZE(struct cv_transfer, sizeof(struct cv_flow) + 56);

/* cv_transfer_nics: array of one; a bit for each NIC by its index modulo their number. So an entry
 * may be copied that nobody has asked for; whoever asks looks again. */
#define CV_TRANSFER_NOTED 0xffffffffu /* those of the NICs in it */
#define CV_TRANSFER_WORDS 64
struct cv_transfer_nics {
	__u64 words[CV_TRANSFER_WORDS];
};
CV_ASSERT_SIZE(struct cv_transfer_nics, 512);

/* cv_transfer_state: array of one */
struct cv_transfer_state {
	__u32 nic;   /* copy_flows: whose, or CV_TRANSFER_NOTED, unless `nat` says which */
	__u32 hand;  /* copy_flows: the next slot */
	__u32 high;  /* copy_flows: where the slots in use end; write_flows: how many entries */
	__u32 count; /* entries copied or written */
	__u32 other; /* copy_flows: 1: those of the other map layout */
	__be32 nat;  /* copy_flows: not 0: those that were given this NAT address */
};
CV_ASSERT_SIZE(struct cv_transfer_state, 24);

#endif
