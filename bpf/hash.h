/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Jenkins' hash of three words (lookup3, as the kernel's jhash_3words): spreads connections over
 * backends. */
#ifndef CV_BPF_HASH_H
#define CV_BPF_HASH_H

#include "kernel.h"

static __always_inline __u32 rotate(__u32 word, int bits)
{
	return word << bits | word >> (32 - bits);
}

static __always_inline __u32 hash_words(__u32 a, __u32 b, __u32 c, __u32 seed)
{
	seed += 0xdeadbeef + (3 << 2);
	a += seed;
	b += seed;
	c += seed;
	c = (c ^ b) - rotate(b, 14);
	a = (a ^ c) - rotate(c, 11);
	b = (b ^ a) - rotate(a, 25);
	c = (c ^ b) - rotate(b, 16);
	a = (a ^ c) - rotate(c, 4);
	b = (b ^ a) - rotate(a, 14);
	c = (c ^ b) - rotate(b, 24);
	return c;
}

/* The slot of a pool's table. `fields`: 5, 3 (addresses and protocol) or 2 (addresses) of the
 * tuple. The seed tells links apart whose consumers have the same addresses. */
static __always_inline __u32 pool_slot(const struct cv_flow_key *key, __u32 seed, __u8 fields)
{
	__u32 ports = fields == 5 ? (__u32)key->sport << 16 | key->dport : 0;
	__u32 proto = fields == 2 ? 0 : key->proto;

	return hash_words(key->saddr, key->daddr, ports, seed ^ proto) % CV_MAGLEV_SIZE;
}

/* The outer UDP source port, 49152 to 65535: one inner flow stays on one path (RFC 7348 5). */
static __always_inline __be16 outer_port(__be32 saddr, __be32 daddr, __be16 sport, __be16 dport)
{
	__u32 mixed = (saddr ^ rotate(daddr, 15) ^ (sport << 16 | dport)) * 0x9e3779b1u;

	return bpf_htons(0xc000 | mixed >> 18);
}

#endif
