/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* The kernel's types and helpers, what vmlinux.h lacks of them (macros), and the shared ABI. */
#ifndef CV_BPF_KERNEL_H
#define CV_BPF_KERNEL_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_endian.h>

#include "abi/alias.h"
#include "abi/dhcp.h"
#include "abi/echo.h"
#include "abi/ended.h"
#include "abi/fragment.h"
#include "abi/limits.h"
#include "abi/maps.h"
#include "abi/names.h"
#include "abi/note.h"
#include "abi/quota.h"
#include "abi/six.h"
#include "abi/totals.h"
#include "abi/transfer.h"
#include "abi/wire.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "MAC addresses are written as little-endian words"
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_IPV6 0x86dd
#define AF_INET 2
#define CLOCK_MONOTONIC 1
/* What updating a map answers belongs in an int: before Linux 6.4 only the lower half of the
 * register is the answer, and a negative one is a large positive long. */
#define EEXIST 17

#define VLAN_ID 0x0fff /* of a tag */

#define TC_ACT_UNSPEC (-1) /* the next program decides; TCX_NEXT has the same value */
#define TC_ACT_SHOT 2

#define IP_FRAGMENT 0x3fff /* more fragments, or an offset; not DF */
#define IP_OFFSET 0x1fff   /* not the first fragment */
#define IP_DF 0x4000

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ETH_BYTES 14
#define IP_BYTES 20
#define IP6_BYTES 40
#define TCP_BYTES 20
#define UDP_BYTES 8
#define ICMP_BYTES 8

#define ICMP_ECHO_REPLY 0 /* types of RFC 792 */
#define ICMP_UNREACHABLE 3
#define ICMP_HOST_UNREACHABLE 1 /* its codes, of RFC 792 and RFC 1812 5.2.7.1 */
#define ICMP_PROTOCOL_UNREACHABLE 2
#define ICMP_PORT_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMP_PROHIBITED 13
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12

/* next headers of RFC 8200 4 and 6275 6.1 */
#define IPPROTO_HOPOPTS 0
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60
#define IPPROTO_MH 135

#define ICMP6_UNREACHABLE 1 /* types of RFC 4443 */
#define ICMP6_TOO_BIG 2
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_ROUTER_SOLICITATION 133 /* and of RFC 4861 4 */
#define ICMP6_ROUTER_ADVERTISEMENT 134
#define ICMP6_SOLICITATION 135
#define ICMP6_ADVERTISEMENT 136

#endif
