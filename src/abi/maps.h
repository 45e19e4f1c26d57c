/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Every struct that crosses the kernel line. Included by bpf/ after vmlinux.h and by datapath/
 * (which has linux/types.h). Fixed widths, explicit padding, sizes asserted in C and C++; bump
 * CV_ABI_VERSION when any of them changes.
 *
 * INVARIANT: flow entries hold NIC indices and link ids, never outer addresses or interface
 * numbers, so that a NIC moves in one map update and a revoked link stops its flows at once. */
#ifndef CV_ABI_MAPS_H
#define CV_ABI_MAPS_H

#ifndef __bpf__
#include <linux/bpf.h>
#include <linux/types.h>
#endif

#ifdef __cplusplus
#define CV_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), #type)
#else
#define CV_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#endif

#define CV_ABI_VERSION 1

/* What the stubs on the interfaces and the program array agree on, whatever the maps look like: any
 * build takes over from any other. Raise it when a slot changes its meaning. */
#define CV_STUB_VERSION 1

/* slots of the pinned program array */
enum cv_prog {
	CV_PROG_FROM_WORKLOAD = 0,
	CV_PROG_FROM_BACKBONE = 1,
	CV_PROG_FROM_SERVICES = 2,
	CV_PROG_MAX = 16, /* entries of the array, so that a new slot changes nothing */
};

/* cv_config: array of one */
struct cv_config {
	__u32 abi_version;
	__u32 node; /* this node's index */
	__u32 backbone_ifindex;
	__u8 outer_family;  /* 4 or 6 */
	__u8 fenced;        /* this node was cut off and may not know the latest intent yet */
	__be16 udp_port;    /* VXLAN destination port */
	__u8 outer[16];     /* this node's backbone address; IPv4 in the first four bytes */
	__u32 backbone_mtu; /* bytes of the outer IP packet */
	__u32 charged;      /* the programs keep charges (quota.h); builds before quotas write 0 */
};
CV_ASSERT_SIZE(struct cv_config, 40);

/* cv_ports: hash, host-side ifindex -> NIC index attached there */
struct cv_port {
	__u32 nic;
	__u32 flags; /* CV_PORT_* */
};
/* a veth whose other end is in a namespace: bpf_redirect_peer may be used */
#define CV_PORT_PEER_OK 1u
CV_ASSERT_SIZE(struct cv_port, 8);

/* cv_nics: array by NIC index */
struct cv_nic {
	__be32 address;
	__u32 vnet;       /* VNet id, 23 bits; 0: no such NIC */
	__u32 node;       /* where it is attached; 0: nowhere */
	__u32 ifindex;    /* host-side interface when attached here and plumbed, else 0 */
	__u32 port_flags; /* CV_PORT_* of that interface */
	__u32 generation; /* of the index: changes when the index names another NIC */
	__u32 other;      /* while it moves: the node that it comes from or goes to; else 0 */
	__u32 until_s;    /* `other` counts before this second of CLOCK_MONOTONIC */
};
CV_ASSERT_SIZE(struct cv_nic, 32);

/* cv_nodes: array by node index */
struct cv_node {
	__u8 outer[16];    /* backbone address */
	__u8 next_hop[16]; /* on-link address to resolve: the same, or a gateway's */
	__u8 family;       /* 4 or 6; 0: no such node */
	__u8 state;        /* enum cv_node_state (echo.h) */
	__u8 pad[6];
};
CV_ASSERT_SIZE(struct cv_node, 40);

/* cv_addresses: hash, what an address of a VNet is */
struct cv_address_key {
	__u32 vnet;
	__be32 address;
};
enum cv_address_kind {
	CV_ADDRESS_NIC = 1,      /* id: NIC index */
	CV_ADDRESS_ENDPOINT = 2, /* id: link id */
	CV_ADDRESS_NAT = 3,      /* id: service id; answered only to flows that exist */
	CV_ADDRESS_FRONTEND = 4, /* id: 0; a load balancer's own frontend */
};
struct cv_address {
	__u32 kind;
	__u32 id;
};
CV_ASSERT_SIZE(struct cv_address_key, 8);
CV_ASSERT_SIZE(struct cv_address, 8);

/* cv_prefixes: LPM trie, the address space of each VNet (addresses outside get no ARP answer). Key:
 * prefix length in bits (32 for the vnet, then the prefix's own), VNet id in network order,
 * address. Value: __u32 1. */
struct cv_prefix_key {
	__u32 length;
	__be32 vnet;
	__be32 address;
};
CV_ASSERT_SIZE(struct cv_prefix_key, 12);

/* cv_links: array by link id (without CV_VNI_LINK) */
enum cv_link_state {
	CV_LINK_NONE = 0,
	CV_LINK_APPROVED = 1,
	CV_LINK_REFUSED = 2, /* Pending, Rejected, Disconnected: packets are dropped and counted */
};
struct cv_link {
	__u32 generation; /* changes with each approval: flows of an earlier one are dead */
	__u32 state;      /* enum cv_link_state */
	__u32 service;
	__u32 consumer_vnet;
	__u32 provider_vnet;
	__be32 endpoint; /* the private endpoint's address in consumer_vnet */
	__be32 nat;      /* of the service's NAT addresses the only one to use; 0: any */
	__u32 pad;
};
CV_ASSERT_SIZE(struct cv_link, 32);

/* cv_services: hash by service id */
struct cv_service {
	__u32 provider_vnet;
	__u32 nat_count;
	__be32 nat[8]; /* CV_NAT_ADDRESSES_MAX */
};
CV_ASSERT_SIZE(struct cv_service, 40);

/* cv_rules: hash; what a service does with a port of its endpoints */
struct cv_rule_key {
	__u32 service;
	__be16 port; /* 0: every one without a rule of its own; ICMP: a pool's number, from 0 */
	__u8 proto;
	__u8 pad;
};
struct cv_rule {
	__u32 pool;
	__be16 backend_port;
	__u8 affinity; /* 5, 3 or 2: how many fields of the tuple are hashed */
	__u8 flags;    /* CV_RULE_* */
	__u32 idle_s;  /* idle timeout in seconds */
};
CV_ASSERT_SIZE(struct cv_rule_key, 8);
CV_ASSERT_SIZE(struct cv_rule, 12);

/* cv_pools: hash of maps by pool id -> array of CV_MAGLEV_SIZE NIC indices (0: no backend) */
/* cv_members: hash, is this NIC a backend of the pool; asked on the backend's node */
struct cv_member_key {
	__u32 pool;
	__u32 nic;
};
CV_ASSERT_SIZE(struct cv_member_key, 8);

/* cv_flows: preallocated hash. scope is the sending NIC's index (kind NIC) or the link id (kind
 * LINK, from the backbone). */
enum cv_flow_kind {
	CV_FLOW_NIC = 0,
	CV_FLOW_LINK = 1,
};
/* INVARIANT: from one version to the next keys stay as they are, and cv_flow and cv_slot grow at
 * their end alone (or use their padding): the programs of either version read and write the entries
 * of the other in place. What a version adds may be used in its own entries only. A version that
 * cannot keep this renames the map; then connections end with the change. */
struct cv_flow_key {
	__u32 scope;
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 kind; /* enum cv_flow_kind */
	__u8 pad[2];
};
CV_ASSERT_SIZE(struct cv_flow_key, 20);

enum cv_flow_action {
	CV_FLOW_DELIVER = 1, /* rewrite, hand to the local NIC `nic` */
	CV_FLOW_ENCAP = 2,   /* rewrite if CV_FLOW_REWRITE, send as VXLAN(link) to `nic`'s node */
};
/* Flags. They are set by atomic or: in an entry that both directions use, two CPUs may set them at
 * once. */
#define CV_FLOW_PRIMARY 1u    /* the forward entry; `other` is deleted with it */
#define CV_FLOW_REWRITE 2u    /* addresses, ports and checksums change */
#define CV_FLOW_SEEN_REPLY 4u /* entries without `other`: the backbone brought an answer */
#define CV_FLOW_FIN_FORWARD 8u
#define CV_FLOW_FIN_REPLY 16u
#define CV_FLOW_RST 32u
#define CV_FLOW_OPEN 64u    /* a segment without SYN went forward */
#define CV_FLOW_PAIRED 128u /* `other` names an entry */
#define CV_FLOW_TELL 256u   /* its rule has CV_RULE_RESET */

struct cv_flow {
	__u64 last_seen_ns; /* CLOCK_MONOTONIC, coarse; to a quarter of a second */
	__u64 created_ns;
	__u64 packets;
	__u64 bytes;
	__u32 link; /* link id */
	__u32 link_generation;
	__u32 nic; /* target NIC's index */
	__u32 nic_generation;
	__u32 source_nic; /* NIC that the wire names as sender */
	__u32 source_generation;
	__be32 saddr; /* after the rewrite */
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u32 address_delta; /* checksum differences of the rewrite (RFC 1624) */
	__u32 port_delta;
	__u32 idle_s;
	__u32 flags; /* CV_FLOW_* */
	__u8 action; /* enum cv_flow_action */
	__u8 pad[3];
	struct cv_flow_key other; /* the other direction's entry, where there is one */
	__u32 slot; /* of a primary entry: 1 + its place in cv_slots; 0 while it has none */
};
CV_ASSERT_SIZE(struct cv_flow, 112);
#define CV_FLOW_COMMON_BYTES 112 /* what the entries of every version begin with */

/* cv_slots: array as long as cv_flows; the primary entries in use, for the sweep that ends them.
 * The sweep alone gives a slot back. */
struct cv_slot {
	struct cv_flow_key key;
	__u32 pad;
	__u64 check_ns; /* the entry cannot end before; 0: the slot is free */
};
CV_ASSERT_SIZE(struct cv_slot, 32);
#define CV_SLOT_COMMON_BYTES 32

/* cv_free: stack as long as cv_flows of __u32, slots that were given back. */
/* cv_sweep: array of one; the kernel timer that ends flows. */
struct cv_sweep {
#ifdef __bpf__
	struct bpf_timer timer;
#else
	__u64 timer[2];
#endif
	__u32 high; /* slots below have been in use */
	__u32 hand; /* the next to look at */
};
CV_ASSERT_SIZE(struct cv_sweep, 24);

#endif
