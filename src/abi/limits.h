/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Limits of the kernel side (STYLE.md 11). "default" ones are set when the maps are made. */
#ifndef CV_ABI_LIMITS_H
#define CV_ABI_LIMITS_H

#define CV_NAT_ADDRESSES_MAX 8
#define CV_NAT_PORT_MIN 1024
#define CV_NAT_TRIES_MAX 64
/* prime, at least 100 per backend for 163 backends (Maglev, NSDI'16 3.4) */
#define CV_MAGLEV_SIZE 16381
/* fragmented packets that are remembered: of one sending NIC, and in all */
#define CV_FRAGMENT_SLOTS 16
#define CV_FRAGMENTS_DEFAULT 65536
/* pools of a service that are asked whether it has a backend */
#define CV_PING_POOLS_MAX 8
#define CV_NICS_DEFAULT 262144
#define CV_LINKS_DEFAULT 262144
#define CV_NODES_MAX 4096
/* entries of a pool's table that an opening connection looks at while their nodes are closed */
#define CV_BACKEND_TRIES 4
/* map entries; a connection takes two where its backend lives, one elsewhere */
#define CV_FLOWS_DEFAULT 1048576
#define CV_ADDRESSES_DEFAULT 262144
/* endpoints and network interfaces with an IPv6 address that a node knows */
#define CV_SIXES_DEFAULT 65536
#define CV_SERVICES_DEFAULT 16384
#define CV_RULES_DEFAULT 65536
#define CV_POOLS_DEFAULT 16384
#define CV_MEMBERS_DEFAULT 65536
#define CV_PORTS_MAX 16384
#define CV_PREFIXES_DEFAULT 65536
/* links times the backends here that they use */
#define CV_NAT_HELD_MAX 262144
/* links and backends of a node that are counted */
#define CV_TOTALS_MAX (CV_LINKS_DEFAULT + CV_PORTS_MAX)
/* backends here times the NAT addresses that they know */
#define CV_NAT_USED_MAX 65536
/* bytes of cv_ended: more than the sweep ends at once are told of silently */
#define CV_ENDED_BYTES (1 << 20)
/* quotas, in percent: of the flow table what one NIC or one link may hold, and with an unfinished
 * handshake; of a backend's NAT ports what one link may hold */
#define CV_QUOTA_FLOWS_PERCENT 33
#define CV_QUOTA_OPENING_PERCENT 12
#define CV_QUOTA_NAT_PERCENT 75
/* flow entries copied or written in one run of a program */
#define CV_TRANSFER_MAX 512

#endif
