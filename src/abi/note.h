/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Notes: what agents tell each other about the health of backends, without a control plane. A note
 * is VXLAN with the link id 0 around a frame of the second type for local experiments (IEEE 802,
 * 88-B6); the data plane checks who sent it and puts it into a ring for the agent. Compiled by both
 * sides of the kernel line. */
#ifndef CV_ABI_NOTE_H
#define CV_ABI_NOTE_H

#include "abi/maps.h"

#define CV_NOTE_ETHERTYPE 0x88b6
#define CV_NOTE_VERSION 1
#define CV_NOTE_ROWS 50

enum cv_note_kind {
	CV_NOTE_NEWS = 1, /* rows that changed after `from`, up to `to` */
	CV_NOTE_HAVE = 2, /* `to`: what the sender holds of the receiver's rows; an answer */
	CV_NOTE_ASK = 3,  /* the same, and is to be answered with news, be they empty */
};

/* Integers in network order. A key is a secret that one node gave the other: a note that does not
 * repeat the receiver's own was not written by somebody who sees what the two say. */
struct cv_note_wire {
	__u8 version; /* CV_NOTE_VERSION */
	__u8 kind;    /* enum cv_note_kind */
	__be16 rows;
	__be32 origin; /* nodes by index */
	__be32 target;
	__be32 pad;
	__be64 key;     /* the receiver's */
	__be64 own_key; /* the sender's: notes back are to repeat it */
	__be64 session; /* of the rows: changes with each life of the node that they are of */
	__be64 from;
	__be64 to;
};
CV_ASSERT_SIZE(struct cv_note_wire, 56);

/* What the sender says of one network interface that is attached to it. */
struct cv_note_row {
	__be32 nic; /* its index and generation */
	__be32 generation;
	__be32 pool;  /* 0: of the interface itself, is it plumbed */
	__be32 probe; /* of the pool; 0 with pool 0 */
	__u8 up;
	__u8 pad[3];
};
CV_ASSERT_SIZE(struct cv_note_row, 20);

#define CV_NOTE_MAX (56 + CV_NOTE_ROWS * 20)

/* An entry of the ring cv_notes. */
struct cv_note {
	__u32 bytes; /* of `data` */
	__u32 node;  /* that sent it, by the outer source */
	__u8 data[CV_NOTE_MAX];
};
CV_ASSERT_SIZE(struct cv_note, 8 + CV_NOTE_MAX);

#define CV_NOTES_BYTES (1u << 19) /* of the ring */

#endif
