/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* What is attached to interfaces: a jump through the pinned program array, so that changing the
 * data plane is one map update. Without a program a workload is cut off; the backbone stays the
 * host's. */
#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, CV_PROG_MAX);
	__type(key, __u32);
	__type(value, __u32);
} cv_progs SEC(".maps");

SEC("tc")
int stub_workload(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &cv_progs, CV_PROG_FROM_WORKLOAD);
	return TC_ACT_SHOT;
}

SEC("tc")
int stub_backbone(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &cv_progs, CV_PROG_FROM_BACKBONE);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int stub_services(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &cv_progs, CV_PROG_FROM_SERVICES);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
