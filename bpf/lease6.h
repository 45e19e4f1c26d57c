/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A DHCPv6 request (RFC 8415): what it says, and what kind of answer it gets. */
#ifndef CV_BPF_LEASE6_H
#define CV_BPF_LEASE6_H

#include "router.h"

#define DHCP6_SERVER_PORT 547
#define DHCP6_CLIENT_PORT 546
#define DHCP6_AT (ETH_BYTES + IP6_BYTES + UDP_BYTES)
#define DHCP6_HEAD_BYTES 4 /* kind and transaction */

#define DHCP6_SOLICIT 1 /* kinds of message (RFC 8415 7.3) */
#define DHCP6_ADVERTISE 2
#define DHCP6_REQUEST 3
#define DHCP6_CONFIRM 4
#define DHCP6_RENEW 5
#define DHCP6_REBIND 6
#define DHCP6_REPLY 7
#define DHCP6_RELEASE 8
#define DHCP6_DECLINE 9
#define DHCP6_INFORMATION 11

#define DHCP6_OPTION_CLIENT 1
#define DHCP6_OPTION_SERVER 2
#define DHCP6_OPTION_ASSOCIATION 3
#define DHCP6_OPTION_ADDRESS 5
#define DHCP6_OPTION_STATUS 13
#define DHCP6_NOT_ON_LINK 4

/* The router's name: its MAC (RFC 8415 11.4). */
struct dhcp6_server {
	__be16 kind;
	__be16 hardware;
	__u8 mac[6];
} __attribute__((packed));

struct dhcp6_head {
	__be16 option;
	__be16 bytes;
} __attribute__((packed));

/* The one address (RFC 8415 21.4, 21.6). */
struct dhcp6_address {
	struct dhcp6_head association_head;
	__be32 association;
	__be32 renew_s;
	__be32 rebind_s;
	struct dhcp6_head address_head;
	struct cv_six address;
	__be32 preferred_s;
	__be32 valid_s;
} __attribute__((packed));

#define DHCP6_TEXT_BYTES 38

/* Or how it went (RFC 8415 21.13): as long, so that there is one form of answers. */
struct dhcp6_status {
	struct dhcp6_head head;
	__be16 code;
	char text[DHCP6_TEXT_BYTES];
} __attribute__((packed));
CV_ASSERT_SIZE(struct dhcp6_status, sizeof(struct dhcp6_address));

/* An answer: a UDP datagram, the client's own name last, because only its length differs. Words,
 * for the checksum. */
struct dhcp6_answer {
	__be16 source;
	__be16 target;
	__be16 bytes;
	__be16 check;
	__u8 kind;
	__u8 transaction[3];
	struct dhcp6_head server_head;
	struct dhcp6_server server;
	union {
		struct dhcp6_address address;
		struct dhcp6_status status;
	};
	struct dhcp6_head client_head;
	__u8 client[CV_DHCP6_CLIENT_MAX + 4];
} __attribute__((packed, aligned(4)));
CV_ASSERT_SIZE(struct dhcp6_answer, CV_DHCP6_BYTES);

/* What a request says; its client's name is in the answer already. */
struct dhcp6_request {
	__be32 association;
	__u8 kind;
	bool client;
	bool server; /* this one is meant */
	bool other;  /* another one is */
	bool associated;
	bool elsewhere; /* the address that it has is not the NIC's */
};

/* Its address, if it says one, is the first thing in an association. */
static __always_inline void read_association(const struct __sk_buff *skb, __u32 at,
					     const struct cv_six *own,
					     struct dhcp6_request *request)
{
	struct dhcp6_head inner;
	struct cv_six has;

	if (bpf_skb_load_bytes(skb, at, &request->association, 4))
		return;
	request->associated = true;
	if (bpf_skb_load_bytes(skb, at + 12, &inner, sizeof(inner)) ||
	    inner.option != bpf_htons(DHCP6_OPTION_ADDRESS) ||
	    bpf_skb_load_bytes(skb, at + 16, &has, sizeof(has)))
		return;
	request->elsewhere = !is_same_six(&has, own);
}

static __always_inline void read_server(const struct __sk_buff *skb, __u32 at,
					const struct dhcp6_server *own,
					struct dhcp6_request *request)
{
	struct dhcp6_server named = {};

	if (bpf_skb_load_bytes(skb, at, &named, sizeof(named)))
		return;
	request->server = !__builtin_memcmp(&named, own, sizeof(named));
	request->other = !request->server;
}

/* Where reading has come to; `skb` is the program's, which bpf_loop() hands on as it is. */
struct dhcp6_reading {
	struct __sk_buff *skb;
	struct dhcp6_answer *answer;
	const struct cv_six *own;
	struct dhcp6_request request;
	__u32 at;
};

/* One option; 1: no more. */
static int read_dhcp6(__u32 number, struct dhcp6_reading *reading)
{
	struct dhcp6_request *request = &reading->request;
	struct dhcp6_answer *answer = reading->answer;
	struct __sk_buff *skb = reading->skb;
	__u32 at = reading->at, bytes;
	struct dhcp6_head head;

	if (bpf_skb_load_bytes(skb, at, &head, sizeof(head)))
		return 1;
	at += sizeof(head);
	bytes = bpf_ntohs(head.bytes);
	reading->at = at + bytes;
	switch (bpf_ntohs(head.option)) {
	case DHCP6_OPTION_CLIENT:
		bytes--; /* so that Linux 6.1's verifier sees that it is not 0 */
		barrier_var(bytes);
		if (bytes >= CV_DHCP6_CLIENT_MAX)
			return 1;
		request->client = !bpf_skb_load_bytes(skb, at, answer->client, bytes + 1);
		answer->client_head = head;
		break;
	case DHCP6_OPTION_SERVER:
		request->other = true;
		if (bytes == sizeof(answer->server))
			read_server(skb, at, &answer->server, request);
		break;
	case DHCP6_OPTION_ASSOCIATION:
		if (bytes >= 12 && !request->associated)
			read_association(skb, at, reading->own, request);
		break;
	}
	return 0;
}

/* The kind of the answer; 0: none (RFC 8415 16, 18.3). */
static __always_inline __u8 decide_dhcp6(const struct dhcp6_request *request)
{
	if (request->other || (!request->client && request->kind != DHCP6_INFORMATION))
		return 0;
	switch (request->kind) {
	case DHCP6_SOLICIT:
		return request->associated && !request->server ? DHCP6_ADVERTISE : 0;
	case DHCP6_REQUEST:
	case DHCP6_RENEW:
		return request->associated && request->server ? DHCP6_REPLY : 0;
	case DHCP6_REBIND:
		return request->associated && !request->server ? DHCP6_REPLY : 0;
	case DHCP6_CONFIRM:
		return request->associated && !request->server ? DHCP6_REPLY : 0;
	case DHCP6_RELEASE: /* it is the NIC's all the same */
	case DHCP6_DECLINE:
		return request->server ? DHCP6_REPLY : 0;
	case DHCP6_INFORMATION:
		return DHCP6_REPLY;
	default:
		return 0;
	}
}

#endif
