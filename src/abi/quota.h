/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What is charged to whom (bpf/quota.h); rules as in abi/maps.h. */
#ifndef CV_ABI_QUOTA_H
#define CV_ABI_QUOTA_H

#include "abi/maps.h"

/* What a consumer's NIC or a link holds of the flow table. cv_nic_held: array by NIC index (0: the
 * node's total). cv_link_held: array by link id. */
struct cv_held {
	__u32 entries;
	__u32 opening; /* of these, with an unfinished handshake */
};
CV_ASSERT_SIZE(struct cv_held, 8);

/* cv_charges: array as long as cv_slots; to whom the connection of a slot is charged. */
#define CV_CHARGE_HELD 1u    /* charged at all */
#define CV_CHARGE_PAIR 2u    /* two entries */
#define CV_CHARGE_OPENING 4u /* its handshake is not over */
#define CV_CHARGE_NAT 8u     /* and to the link's share of the backend's NAT ports */
struct cv_charge {
	__u32 link;
	__u32 consumer; /* NIC indices */
	__u32 backend;
	__u32 flags; /* CV_CHARGE_* */
};
CV_ASSERT_SIZE(struct cv_charge, 16);

/* cv_nat_held: hash, how many NAT ports towards a backend a link holds; value: __u32. */
struct cv_nat_key {
	__u32 link;
	__u32 backend;
};
CV_ASSERT_SIZE(struct cv_nat_key, 8);

#endif
