/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* A frame of the agent's own into a workload: run by the agent, which may not open packet
 * sockets. */
#ifndef CV_BPF_SEND_H
#define CV_BPF_SEND_H

#include "kernel.h"

/* Sends the frame that it is run with out of interface cb[0]. */
SEC("tc")
int send_frame(struct __sk_buff *skb)
{
	return bpf_clone_redirect(skb, skb->cb[0], 0) ? 1 : 0;
}

#endif
