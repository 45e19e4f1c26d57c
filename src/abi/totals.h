/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What went through links (bpf/totals.h); rules as in abi/maps.h. */
#ifndef CV_ABI_TOTALS_H
#define CV_ABI_TOTALS_H

#include "abi/maps.h"

/* Packets as the data plane gets them and the bytes of their IP packets: a super-packet, which
 * nobody has cut yet, is one packet with one header. */
struct cv_count {
	__u64 packets;
	__u64 bytes;
};
CV_ASSERT_SIZE(struct cv_count, 16);

/* Of a flow entry without `other`, which both directions use, `packets` and `bytes` are those that
 * went forward; those of the answers are a cv_count in the place of `other`. */

/* cv_accounts: array as long as cv_slots; what of the slot's connection is in cv_totals already. Of
 * another connection than that of this time it says nothing. */
struct cv_account {
	__u64 created_ns;
	struct cv_count forward;
	struct cv_count back;
};
CV_ASSERT_SIZE(struct cv_account, 40);

/* cv_totals: hash; a link, or a NIC that is a backend here. The agent makes and removes them. */
struct cv_totals_key {
	__u32 link; /* 0: a NIC */
	__u32 nic;  /* 0: a link */
};
CV_ASSERT_SIZE(struct cv_totals_key, 8);

/* Why a connection was not opened. */
enum cv_refusal {
	CV_REFUSED_CONSENT = 0,  /* the link is not approved */
	CV_REFUSED_BACKEND = 1,  /* no such port, or no backend for it */
	CV_REFUSED_CAPACITY = 2, /* quotas, NAT ports, a full table */
	CV_REFUSED_MAX = 3,
};

/* "In" goes to the provider, "out" to the consumer. A node counts for each end that lives on it: a
 * connection between two NICs of one node counts at both. */
struct cv_totals {
	struct cv_count consumer_in;
	struct cv_count consumer_out;
	struct cv_count provider_in;
	struct cv_count provider_out;
	__u64 consumer_opened; /* connections */
	__u64 provider_opened;
	__u64 refused[CV_REFUSED_MAX]; /* attempts, by enum cv_refusal */
	__u64 owner;                   /* the agent's: whose these are */
	__u64 begun_ns;   /* when these began at zero: tells them from others of the key */
	__u32 generation; /* connections of an earlier one are not counted here */
	__u32 pad;
};
CV_ASSERT_SIZE(struct cv_totals, 128);

/* cv_walk: array of one; how far fold_flows has come. */
struct cv_walk {
	__u32 hand;  /* the next slot */
	__u32 high;  /* where the slots in use end */
	__u32 other; /* 1: those of the other map layout */
	__u32 round; /* of the walk as a whole */
};
CV_ASSERT_SIZE(struct cv_walk, 16);

/* cv_nat_used: hash; how many ports of a NAT address connections to a backend here have, as a walk
 * found it. */
struct cv_nat_used_key {
	__u32 backend;
	__be32 nat;
	__u32 proto;
};
CV_ASSERT_SIZE(struct cv_nat_used_key, 12);
struct cv_nat_used {
	__u32 round; /* of another walk than the last one it says nothing */
	__u32 ports;
};
CV_ASSERT_SIZE(struct cv_nat_used, 8);

#endif
