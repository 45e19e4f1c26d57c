/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Echoes: how nodes tell that they reach each other. An echo is VXLAN with the link id 0, which no
 * link has, around an Ethernet frame of a type for local experiments (IEEE 802, 88-B5) with one
 * struct cv_echo_wire. The data plane answers and passes on by itself: a dead agent is not a dead
 * node. Compiled by both sides of the kernel line. */
#ifndef CV_ABI_ECHO_H
#define CV_ABI_ECHO_H

#include "abi/maps.h"
#include "abi/wire.h"

#define CV_ECHO_VNI CV_VNI_LINK
#define CV_ECHO_ETHERTYPE 0x88b5
#define CV_ECHO_VERSION 1

/* What echoes lead to, in cv_nodes. */
enum cv_node_state {
	CV_NODE_OPEN = 0,
	CV_NODE_CLOSED = 1, /* lost or drained: connections that begin choose another node */
	CV_NODE_GONE = 2,   /* lost for long: connections to it are reset */
};

/* The way of an echo, one step after the other; each has one sender and one receiver. A relay asks
 * the target in the origin's place. */
enum cv_echo_step {
	CV_ECHO_ASK = 1,          /* origin to target */
	CV_ECHO_ANSWER = 2,       /* target to origin */
	CV_ECHO_RELAY_ASK = 3,    /* origin to relay */
	CV_ECHO_RELAY_PROBE = 4,  /* relay to target */
	CV_ECHO_RELAY_ECHO = 5,   /* target to relay */
	CV_ECHO_RELAY_ANSWER = 6, /* relay to origin */
};

/* Nodes by index. The nonce is the origin's secret with the target, another one where a relay
 * learns it: who answers has seen the question. */
struct cv_echo_wire {
	__u8 version; /* CV_ECHO_VERSION */
	__u8 step;    /* enum cv_echo_step */
	__u8 fenced;  /* of an answer: the target is to get no new connections yet */
	__u8 pad;
	__be32 origin;
	__be32 target;
	__be32 relay; /* 0: none */
	__be32 sequence;
	__be32 pad1;
	__u64 nonce;
};
CV_ASSERT_SIZE(struct cv_echo_wire, 32);

/* cv_echoes: array by node index, mapped into the agent. The agent writes the nonces, the data
 * plane the rest; `sequence` comes last and is read first. */
struct cv_echo {
	__u64 nonce;          /* 0: the node is not asked */
	__u64 relay_nonce;    /* of echoes through a relay */
	__u64 heard_ns;       /* when its newest answer came; CLOCK_MONOTONIC */
	__u64 relay_heard_ns; /* the same through a relay */
	__u64 answers;        /* direct ones */
	__u64 window;         /* what was answered to it or passed on for it: the time slice, */
	__u32 spent;          /* and how many in it; above CV_ECHO_NOTE_SHIFT of its notes */
	__u32 relay_sequence; /* of its newest answer through a relay */
	__u32 sequence;       /* of its newest answer */
	__u32 fenced;         /* what that said */
};
CV_ASSERT_SIZE(struct cv_echo, 64);

/* Echoes that one node may have in a slice of time (2^27 ns, an eighth of a second); half of them
 * may be to pass on, so that relaying never costs the answer to a node's own question. */
#define CV_ECHO_WINDOW_SHIFT 27
#define CV_ECHO_WINDOW_MAX 256

/* Notes (abi/note.h) have a budget of their own in the same slices: who tells much is no less
 * alive. */
#define CV_ECHO_NOTE_SHIFT 16
#define CV_ECHO_NOTES_MAX 128

#endif
