/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* DHCPv6 (RFC 8415): as for IPv4 (dhcp.h) the address is the NIC's, always, so that there is
 * nothing to remember; the answer goes back to who has asked alone. */
#ifndef CV_BPF_DHCP6_H
#define CV_BPF_DHCP6_H

#include "lease6.h"

/* Where each CPU puts answers together. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dhcp6_answer);
} cv_dhcp6 SEC(".maps");

static __always_inline struct dhcp6_head make_head(__u16 option, __u16 bytes)
{
	return (struct dhcp6_head){bpf_htons(option), bpf_htons(bytes)};
}

static __always_inline bool tells_address(__u8 kind)
{
	return kind == DHCP6_SOLICIT || kind == DHCP6_REQUEST || kind == DHCP6_RENEW ||
	       kind == DHCP6_REBIND;
}

static __always_inline void fill_dhcp6(struct dhcp6_answer *answer, const struct cv_six *own,
				       const struct dhcp6_request *request)
{
	static const char kText[DHCP6_TEXT_BYTES] = "the address is the interface's, always";

	if (tells_address(request->kind)) {
		answer->address = (struct dhcp6_address){
			.association_head = make_head(DHCP6_OPTION_ASSOCIATION, 40),
			.association = request->association,
			.renew_s = bpf_htonl(CV_LEASE_S / 2),
			.rebind_s = bpf_htonl(CV_LEASE_S / 8 * 7),
			.address_head = make_head(DHCP6_OPTION_ADDRESS, 24),
			.address = *own,
			.preferred_s = bpf_htonl(CV_LEASE_S),
			.valid_s = bpf_htonl(CV_LEASE_S),
		};
		return;
	}
	answer->status.head = make_head(DHCP6_OPTION_STATUS, 2 + DHCP6_TEXT_BYTES);
	answer->status.code = request->kind == DHCP6_CONFIRM && request->elsewhere
				      ? bpf_htons(DHCP6_NOT_ON_LINK)
				      : 0;
	__builtin_memcpy(answer->status.text, kText, sizeof(kText));
}

/* What every answer begins with, and nothing yet of a client. */
static __always_inline void begin_dhcp6(struct dhcp6_answer *answer)
{
	__builtin_memset(answer, 0, sizeof(*answer));
	answer->source = bpf_htons(DHCP6_SERVER_PORT);
	answer->target = bpf_htons(DHCP6_CLIENT_PORT);
	answer->server_head = make_head(DHCP6_OPTION_SERVER, sizeof(answer->server));
	answer->server.kind = bpf_htons(3);
	answer->server.hardware = bpf_htons(1);
	answer->server.mac[0] = CV_MAC_OUI0;
	answer->server.mac[1] = CV_MAC_OUI1;
	answer->server.mac[5] = CV_ROUTER_NIC;
}

/* Writes the answer's headers over the request's; its checksum is filled in by the device where
 * that was so for the request (as in reset.h). False: out of bounds. */
static __always_inline bool head_dhcp6(struct __sk_buff *skb, struct dhcp6_answer *answer,
				       __u32 index)
{
	const __u32 check_at = ETH_BYTES + IP6_BYTES + __builtin_offsetof(struct udphdr, check);
	struct ethhdr *eth = packet_data(skb);
	struct six_header *six = (void *)(eth + 1);
	struct udphdr *udp = (void *)(six + 1);
	struct six_pseudo pseudo;
	bool filled;
	__s64 sum;

	if ((void *)(udp + 1) > packet_end(skb))
		return false;
	write_macs(eth, index, CV_ROUTER_NIC);
	six->payload = answer->bytes;
	six->hops = 255;
	six->target = six->source;
	set_router(&six->source);
	fill_pseudo(&pseudo, six, IPPROTO_UDP);
	udp->check = 0;
	if (bpf_l4_csum_replace(skb, check_at, 0, 1, 0))
		return false;
	udp = packet_data(skb) + ETH_BYTES + IP6_BYTES;
	if ((void *)(udp + 1) > packet_end(skb))
		return false;
	filled = udp->check;
	sum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), 0);
	if (filled)
		sum = bpf_csum_diff(NULL, 0, (void *)answer, sizeof(*answer), (__u32)sum);
	answer->check = changed_check(0xffff, sum);
	if (!filled)
		answer->check = ~answer->check;
	else if (!answer->check)
		answer->check = 0xffff; /* RFC 8200 8.1 */
	return true;
}

/* Answers a client (RFC 8415 18.3). */
static __noinline int answer_dhcp6(struct __sk_buff *skb, const struct cv_nic *nic, __u32 index,
				   const struct cv_six *own)
{
	struct six_header *six = packet_data(skb) + ETH_BYTES;
	struct udphdr *udp = (void *)(six + 1);
	struct dhcp6_reading reading = {.skb = skb, .own = own, .at = DHCP6_AT + DHCP6_HEAD_BYTES};
	struct dhcp6_answer *answer;
	__u32 bytes, zero = 0;

	if ((void *)(udp + 1) > packet_end(skb) || skb->gso_size)
		return CV_DROPPED(DHCP);
	if (!is_link_local(&six->source))
		return CV_DROPPED(SPOOFED_ADDRESS);
	answer = bpf_map_lookup_elem(&cv_dhcp6, &zero);
	if (!answer)
		return CV_DROPPED(DHCP);
	begin_dhcp6(answer);
	if (bpf_skb_load_bytes(skb, DHCP6_AT, &answer->kind, DHCP6_HEAD_BYTES))
		return CV_DROPPED(DHCP);
	reading.answer = answer;
	reading.request.kind = answer->kind;
	bpf_loop(CV_DHCP6_OPTIONS_MAX, read_dhcp6, &reading, 0);
	answer->kind = decide_dhcp6(&reading.request);
	if (!answer->kind)
		return CV_DROPPED(DHCP);
	fill_dhcp6(answer, own, &reading.request);
	bytes = __builtin_offsetof(struct dhcp6_answer, client_head);
	if (reading.request.client)
		bytes += sizeof(answer->client_head) + bpf_ntohs(answer->client_head.bytes);
	barrier_var(bytes);
	if (bytes > sizeof(*answer))
		return CV_DROPPED(DHCP);
	barrier_var(bytes);
	if (bytes < UDP_BYTES)
		return CV_DROPPED(DHCP);
	barrier_var(bytes);
	answer->bytes = bpf_htons(bytes);
	if (bpf_skb_change_tail(skb, ETH_BYTES + IP6_BYTES + bytes, 0))
		return CV_DROPPED(DHCP);
	linearize(skb, ETH_BYTES + IP6_BYTES + UDP_BYTES);
	if (!head_dhcp6(skb, answer, index) ||
	    bpf_skb_store_bytes(skb, ETH_BYTES + IP6_BYTES, answer, bytes, 0))
		return CV_DROPPED(DHCP);
	return answer_workload(skb, nic, CV_COUNTER_DHCP_ANSWERED);
}

/* What goes to a group: of its link, and nobody else is there but the router. */
static __always_inline int answer_group(struct __sk_buff *skb, const struct cv_nic *nic,
					__u32 index, const struct cv_six *own)
{
	struct six_header *six = packet_data(skb) + ETH_BYTES;
	struct udphdr *udp = (void *)(six + 1);
	struct icmp_head *head = (void *)(six + 1);

	if ((void *)(udp + 1) > packet_end(skb))
		return CV_DROPPED(MULTICAST);
	if (six->next == IPPROTO_ICMPV6 && head->type == ICMP6_ROUTER_SOLICITATION)
		return answer_router(skb, nic, index);
	if (six->next == IPPROTO_UDP && udp->dest == bpf_htons(DHCP6_SERVER_PORT))
		return answer_dhcp6(skb, nic, index, own);
	return CV_DROPPED(MULTICAST);
}

#endif
