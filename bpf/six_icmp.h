/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* ICMPv6 of ICMP and back (RFC 7915 4.2, 5.2): echoes, and errors with the packet that they quote,
 * whose header changes its length, too. Checksums change by difference, so the rest of the packet
 * is not read. */
#ifndef CV_BPF_SIX_ICMP_H
#define CV_BPF_SIX_ICMP_H

#include "six_header.h"

/* Writes the first four bytes of an ICMP message. */
static __always_inline bool store_head(struct __sk_buff *skb, __u32 ip_bytes, __u8 type, __u8 code,
				       __sum16 check)
{
	const struct icmp_head head = {.type = type, .code = code, .check = check};

	return store(skb, ETH_BYTES + ip_bytes, &head, sizeof(head));
}

/* A workload's echo or answer to one. */
static __always_inline int enter_echo(struct __sk_buff *skb, struct iphdr *ip,
				      const struct six_header *six, const struct icmp_head *head)
{
	struct {
		struct six_pseudo pseudo;
		__be32 type;
	} from = {.type = bpf_htons(head->type << 8)};
	const __u8 type = head->type == ICMP6_ECHO ? ICMP_ECHO : ICMP_ECHO_REPLY;
	const __be32 to = bpf_htons(type << 8);
	const __u8 code = head->code;
	__sum16 check;

	fill_pseudo(&from.pseudo, six, IPPROTO_ICMPV6);
	check = changed_check(head->check, bpf_csum_diff((void *)&from, sizeof(from), (void *)&to,
							 sizeof(to), 0));
	to_ipv4(ip, six, bpf_ntohs(six->payload) + IP_BYTES);
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) || !store_ipv4(skb, ip) ||
	    !store_head(skb, IP_BYTES, type, code, check))
		return CV_DROPPED(MALFORMED);
	return 0;
}

/* A workload's error. It must be about what the endpoint has sent to it. */
static __noinline int enter_error(struct __sk_buff *skb, __be32 saddr, __be32 daddr)
{
	struct six_header *six = packet_data(skb) + ETH_BYTES;
	struct six_error *error = (void *)(six + 1);
	struct iphdr ip = {.saddr = saddr, .daddr = daddr};
	struct four_error to = {.ip = {.saddr = daddr, .daddr = saddr}};
	struct six_pseudo pseudo;
	__s64 sum;

	if ((void *)(error + 1) > packet_end(skb) || bpf_ntohs(six->payload) < sizeof(*error) + 8 ||
	    error->six.first >> 4 != 6)
		return CV_DROPPED(MALFORMED);
	if (error->six.next != IPPROTO_TCP && error->six.next != IPPROTO_UDP)
		return CV_DROPPED(PROTOCOL);
	if (!is_same_six(&error->six.source, &six->target) ||
	    !is_same_six(&error->six.target, &six->source))
		return CV_DROPPED(INNER_ADDRESS);
	if (!error_to_ipv4(&to, error))
		return CV_DROPPED(PROTOCOL);
	fill_pseudo(&pseudo, six, IPPROTO_ICMPV6);
	to_ipv4(&ip, six, bpf_ntohs(six->payload));
	to_ipv4(&to.ip, &error->six, bpf_ntohs(error->six.payload) + IP_BYTES);
	sum = bpf_csum_diff((void *)&pseudo, sizeof(pseudo), (void *)&to, sizeof(to), 0);
	sum = bpf_csum_diff((void *)error, sizeof(*error), NULL, 0, (__u32)sum);
	/* the sum of `error` has its checksum in it */
	to.head.check = changed_check(0xffff, sum);
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) ||
	    bpf_skb_adjust_room(skb, -SIX_GROWTH, BPF_ADJ_ROOM_MAC, 0) || !store_ipv4(skb, &ip) ||
	    !store(skb, ETH_BYTES + IP_BYTES, &to, sizeof(to)))
		return CV_DROPPED(MALFORMED);
	return 0;
}

/* A workload's ICMPv6 to an endpoint. */
static __noinline int enter_icmp(struct __sk_buff *skb, __be32 saddr, __be32 daddr)
{
	struct six_header *six = packet_data(skb) + ETH_BYTES;
	struct icmp_head *head = (void *)(six + 1);
	struct iphdr ip = {.saddr = saddr, .daddr = daddr};

	if ((void *)head + ICMP_BYTES > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (head->type == ICMP6_ECHO || head->type == ICMP6_ECHO_REPLY)
		return enter_echo(skb, &ip, six, head);
	if (head->type > ICMP6_PARAMETER_PROBLEM)
		return CV_DROPPED(PROTOCOL);
	return enter_error(skb, saddr, daddr);
}

static __always_inline int leave_echo(struct __sk_buff *skb, const struct six_header *six,
				      const struct icmp_head *head)
{
	const __u8 type = head->type == ICMP_ECHO ? ICMP6_ECHO : ICMP6_ECHO_REPLY;
	const __be32 from = bpf_htons(head->type << 8);
	struct {
		struct six_pseudo pseudo;
		__be32 type;
	} to = {.type = bpf_htons(type << 8)};
	const __u8 code = head->code;
	__sum16 check;

	fill_pseudo(&to.pseudo, six, IPPROTO_ICMPV6);
	check = changed_check(head->check, bpf_csum_diff((void *)&from, sizeof(from), (void *)&to,
							 sizeof(to), 0));
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0) || !store_ipv6(skb, six) ||
	    !store_head(skb, IP6_BYTES, type, code, check))
		return CV_DROPPED(MALFORMED);
	return 0;
}

/* An error that quotes what the workload has sent. */
static __noinline int leave_error(struct __sk_buff *skb, struct six_header *six)
{
	struct four_error *error = packet_data(skb) + ETH_BYTES + IP_BYTES;
	__u8 *quoted = (void *)(error + 1);
	struct six_error to = {};
	struct six_pseudo pseudo;
	bool echo;
	__s64 sum;

	if ((void *)(quoted + 8) > packet_end(skb) || error->ip.ihl != 5 ||
	    bpf_ntohs(six->payload) < sizeof(*error) + 8)
		return CV_DROPPED(MALFORMED);
	if (!error_to_ipv6(&to, error))
		return CV_DROPPED(PROTOCOL);
	to_ipv6(&to.six, &error->ip, &six->target, &six->source);
	six->payload = bpf_htons(bpf_ntohs(six->payload) + SIX_GROWTH);
	fill_pseudo(&pseudo, six, IPPROTO_ICMPV6);
	sum = bpf_csum_diff((void *)error, sizeof(*error), (void *)&pseudo, sizeof(pseudo), 0);
	/* of a quoted echo the type is another, too, so that its sender knows it again */
	echo = error->ip.protocol == IPPROTO_ICMP && *quoted == ICMP_ECHO;
	if (echo)
		sum += bpf_htons((ICMP6_ECHO - ICMP_ECHO) << 8);
	sum = bpf_csum_diff(NULL, 0, (void *)&to, sizeof(to), (__u32)sum + (__u32)(sum >> 32));
	to.head.check = changed_check(0xffff, sum);
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0) ||
	    bpf_skb_adjust_room(skb, SIX_GROWTH, BPF_ADJ_ROOM_MAC, 0) || !store_ipv6(skb, six) ||
	    !store(skb, ETH_BYTES + IP6_BYTES, &to, sizeof(to)))
		return CV_DROPPED(MALFORMED);
	if (echo) {
		const __u8 type = ICMP6_ECHO;

		if (!store(skb, ETH_BYTES + IP6_BYTES + sizeof(to), &type, sizeof(type)))
			return CV_DROPPED(MALFORMED);
	}
	return 0;
}

/* ICMP that goes to a stand-in; `six`: its header by then. */
static __noinline int leave_icmp(struct __sk_buff *skb, struct six_header *six)
{
	struct icmp_head *head = packet_data(skb) + ETH_BYTES + IP_BYTES;

	if ((void *)head + ICMP_BYTES > packet_end(skb))
		return CV_DROPPED(MALFORMED);
	if (head->type == ICMP_ECHO || head->type == ICMP_ECHO_REPLY)
		return leave_echo(skb, six, head);
	return leave_error(skb, six);
}

#endif
