/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A frame of the agent's own into a workload: run by the agent, which may not open packet
 * sockets. */
#ifndef CV_BPF_SEND_H
#define CV_BPF_SEND_H

#include "six.h"

/* Sends the frame that it is run with out of interface cb[0]: as IPv6 to an end that speaks it. */
SEC("tc")
int send_frame(struct __sk_buff *skb)
{
	const __u32 ifindex = skb->cb[0];

	return leave_if_six(skb) || bpf_clone_redirect(skb, ifindex, 0) ? 1 : 0;
}

#endif
