/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What a workload that asks by DHCP is told beyond its NIC's address (bpf/dhcp.h). Compiled by both
 * sides of the kernel line. */
#ifndef CV_ABI_DHCP_H
#define CV_ABI_DHCP_H

#include "abi/maps.h"

#define CV_LEASE_S 3600         /* a new address of the NIC is known after half of it */
#define CV_LEASE_DNS_MAX 3      /* servers that are told */
#define CV_LEASE_OPTIONS_MAX 48 /* of a request; one with more is malformed */

/* cv_leases: hash by NIC index, of the NICs that have an interface here */
struct cv_lease {
	__be32 gateway;
	__be32 mask;
	__be32 dns[CV_LEASE_DNS_MAX];
	__u8 dns_count;
	__u8 pad;
	__be16 mtu;
};
CV_ASSERT_SIZE(struct cv_lease, 24);

#endif
