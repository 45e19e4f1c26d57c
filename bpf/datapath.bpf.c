/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* The data plane: three tc programs, reached from the stubs through the program array. */
#include "arp.h"
#include "backbone.h"
#include "migrate.h"
#include "reset.h"
#include "send.h"
#include "walk.h"
#include "workload.h"

SEC("tc")
int from_workload(struct __sk_buff *skb)
{
	return conclude_workload(skb, workload(skb));
}

SEC("tc")
int from_backbone(struct __sk_buff *skb)
{
	return conclude(backbone(skb));
}

SEC("tc")
int from_services(struct __sk_buff *skb)
{
	return conclude(services(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
