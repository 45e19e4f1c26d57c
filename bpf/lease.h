/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A DHCP request (RFC 2131 2): what it says, and what it is answered with. */
#ifndef CV_BPF_LEASE_H
#define CV_BPF_LEASE_H

#include "packet.h"

#define DHCP_SERVER_PORT 67
#define DHCP_CLIENT_PORT 68
#define DHCP_BYTES 240 /* up to the options */
#define DHCP_AT (ETH_BYTES + IP_BYTES + UDP_BYTES)
#define DHCP_COOKIE 0x63825363
#define DHCP_BROADCAST 0x8000 /* flag: the client takes no packet to its address yet */

#define DHCP_DISCOVER 1 /* kinds of message (RFC 2132 9.6) */
#define DHCP_OFFER 2
#define DHCP_REQUEST 3
#define DHCP_ACK 5
#define DHCP_NAK 6
#define DHCP_INFORM 8

#define DHCP_OPTION_PAD 0
#define DHCP_OPTION_WANTED 50
#define DHCP_OPTION_KIND 53
#define DHCP_OPTION_SERVER 54
#define DHCP_OPTION_END 255

struct dhcp {
	__u8 operation;
	__u8 hardware;
	__u8 hardware_bytes;
	__u8 hops;
	__be32 id;
	__be16 seconds;
	__be16 flags;
	__be32 client; /* the address that it has */
	__be32 yours;
	__be32 next_server;
	__be32 relay;
	__u8 mac[16];
	__u64 name_and_file[24];
	__be32 cookie;
} __attribute__((packed));

/* What a request says in its options. */
struct dhcp_request {
	__be32 wanted;
	__be32 server;
	__u8 kind; /* 0: none, or options that do not fit */
};

static __always_inline void read_options(const struct __sk_buff *skb, struct dhcp_request *request)
{
	__u32 at = DHCP_AT + DHCP_BYTES;
	__u8 option, bytes, kind = 0;

	for (int i = 0; i < CV_LEASE_OPTIONS_MAX; i++) {
		if (bpf_skb_load_bytes(skb, at, &option, 1))
			return;
		at++;
		if (option == DHCP_OPTION_PAD)
			continue;
		if (option == DHCP_OPTION_END) {
			request->kind = kind;
			return;
		}
		if (bpf_skb_load_bytes(skb, at, &bytes, 1))
			return;
		at++;
		if (option == DHCP_OPTION_KIND &&
		    (bytes != 1 || bpf_skb_load_bytes(skb, at, &kind, 1)))
			return;
		if (option == DHCP_OPTION_WANTED &&
		    (bytes != 4 || bpf_skb_load_bytes(skb, at, &request->wanted, 4)))
			return;
		if (option == DHCP_OPTION_SERVER &&
		    (bytes != 4 || bpf_skb_load_bytes(skb, at, &request->server, 4)))
			return;
		at += bytes;
	}
}

/* The kind of the answer or a fate; `has`: the address that the client has. */
static __always_inline int decide_lease(const struct dhcp_request *request, __be32 has,
					__be32 address)
{
	if (request->server && request->server != bpf_htonl(CV_PLATFORM_ADDRESS))
		return CV_DROPPED(DHCP);
	switch (request->kind) {
	case DHCP_DISCOVER:
		return DHCP_OFFER;
	case DHCP_REQUEST:
		return (request->wanted ? request->wanted : has) == address ? DHCP_ACK : DHCP_NAK;
	case DHCP_INFORM:
		return DHCP_INFORM;
	default: /* one that is given back is the NIC's all the same */
		return CV_DROPPED(DHCP);
	}
}

static __always_inline bool is_request(const struct dhcp *dhcp, const struct ethhdr *eth)
{
	return dhcp->operation == 1 && dhcp->hardware == 1 && dhcp->hardware_bytes == 6 &&
	       !dhcp->relay && dhcp->cookie == bpf_htonl(DHCP_COOKIE) &&
	       mac_nic(dhcp->mac) == mac_nic(eth->h_source);
}

#endif
