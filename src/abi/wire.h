/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What crosses the backbone: VXLAN over UDP (RFC 7348 5) around the workload's IP packet,
 * unchanged. Compiled by both sides of the kernel line. */
#ifndef CV_ABI_WIRE_H
#define CV_ABI_WIRE_H

/* VNI: one allocator, the top bit tells a link id (private link traffic) from a VNet id (traffic
 * inside a VNet). */
#define CV_VNI_LINK 0x800000u
#define CV_VNI_ID_MASK 0x7fffffu
#define CV_VXLAN_PORT 4789 /* default; RFC 7348 5 */
#define CV_VXLAN_FLAG_VNI 0x08u
/* In the reserved byte after the flags: passed on by a node that the target NIC has left. */
#define CV_VXLAN_PASSED_ON 0x01u

/* Inner MACs name NICs: 02:cf then the 32-bit NIC index, most significant byte first. Index 0 is
 * the router. */
#define CV_MAC_OUI0 0x02u
#define CV_MAC_OUI1 0xcfu
#define CV_ROUTER_NIC 0u

#define CV_ENCAP_IPV4 50 /* outer IPv4 20 + UDP 8 + VXLAN 8 + inner Ethernet 14 */
#define CV_ENCAP_IPV6 70

#endif
