/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* The node's own services at the platform's address (bpf/alias.h). In their namespace each network
 * interface of this node has an alias, base + index, so that sockets tell workloads of the same
 * address apart. Compiled by both sides of the kernel line. */
#ifndef CV_ABI_ALIAS_H
#define CV_ABI_ALIAS_H

#include "abi/maps.h"

#define CV_PLATFORM_ADDRESS 0xa83f8110u /* 168.63.129.16, in every virtual network */
#define CV_ALIAS_BASE 0x64400000u       /* 100.64.0.0 (RFC 6598) */
#define CV_ALIAS_PREFIX 10
#define CV_ALIAS_MAX (1u << (32 - CV_ALIAS_PREFIX)) /* indices below it have an alias */

/* cv_alias: array of one */
struct cv_alias {
	__u32 ifindex; /* the host's end of the services' interface; 0: there is none */
	__u32 base;    /* of the aliases, host order */
};
CV_ASSERT_SIZE(struct cv_alias, 8);

#endif
