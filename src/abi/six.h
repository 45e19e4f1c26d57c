/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* IPv6 at the edge (docs/decisions/0016): inside, a network interface and an endpoint that have an
 * IPv6 address are called by an IPv4 address that exists nowhere else, their stand-in; a NAT
 * address of IPv6 by the IPv4 address beside it. Compiled by both sides of the kernel line. */
#ifndef CV_ABI_SIX_H
#define CV_ABI_SIX_H

#include "abi/maps.h"

/* 240.0.0.0/4, which no virtual network may use */
#define CV_SIX_PREFIX 0xf0000000u
#define CV_SIX_NIC 0xf0000000u      /* + NIC index */
#define CV_SIX_ENDPOINT 0xf8000000u /* + link id */
#define CV_SIX_IDS 0x00ffffffu      /* what an index or id may be */

/* Flags of an interface (cv_nic.port_flags): its workload has an IPv6 address, what goes there may
 * have to be translated. Instead of CV_PORT_PEER_OK, so that who has none pays nothing;
 * CV_PORT_PEER_SIX says then what that one says. */
#define CV_PORT_SIX 2u
#define CV_PORT_PEER_SIX 4u

/* Of a rule: its backends are reached by IPv6, from the service's NAT addresses of IPv6. */
#define CV_RULE_SIX 2u

struct cv_six {
	__be32 word[4];
};
CV_ASSERT_SIZE(struct cv_six, 16);

/* cv_sixes: hash, an IPv6 address in a VNet that workloads may send to -> what it is called inside
 * (__be32) */
struct cv_six_key {
	__u32 vnet;
	struct cv_six address;
};
CV_ASSERT_SIZE(struct cv_six_key, 20);

/* What a workload's own IPv6 set-up is told (bpf/router.h, bpf/dhcp6.h). */
#define CV_DHCP6_CLIENT_MAX 130  /* bytes of a client's name (RFC 8415 11.1) */
#define CV_DHCP6_OPTIONS_MAX 24  /* of a request; what comes after them is not read */
#define CV_DHCP6_BYTES 208       /* cv_dhcp6: array of one for each CPU, scratch */
#define CV_ADVERTISED_S 65535    /* how long the router is one (RFC 8319 4), */
#define CV_ADVERTISE_EVERY_S 600 /* while the agent says so again this often */

/* cv_six_addresses: hash, what an address of a VNet is called inside (struct cv_address_key) ->
 * struct cv_six. Of the NICs here that have one, of the endpoints that workloads here may use and
 * of the NAT addresses that backends here hear from. */

#endif
