/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Notes of other nodes' agents (abi/note.h): from whom they say, within the node's budget, into the
 * ring that the agent reads. What they say is the agent's business. */
#ifndef CV_BPF_NOTE_H
#define CV_BPF_NOTE_H

#include "echo.h"

/* A frame to this node that says it is a note. */
static __noinline int take_note(struct __sk_buff *skb, const struct cv_config *config)
{
	struct outer outer;
	struct cv_note_wire *wire;
	__u32 bytes = skb->len - OUTER_BYTES, origin;
	struct cv_note *note;
	struct cv_node *sender;
	struct cv_echo *of;

	linearize(skb, OUTER_BYTES + sizeof(*wire));
	outer = outer_at(packet_data(skb));
	wire = (void *)outer.inner_ip;
	if ((void *)(wire + 1) > packet_end(skb) ||
	    bpf_ntohl(outer.vxlan->vni) >> 8 != CV_ECHO_VNI || wire->version != CV_NOTE_VERSION ||
	    outer.ip->tot_len != bpf_htons(skb->len - ETH_BYTES))
		return CV_DROPPED(MALFORMED);
	origin = bpf_ntohl(wire->origin);
	if (!config->node || wire->target != bpf_htonl(config->node))
		return CV_DROPPED(ECHO_STRAY);
	sender = node_by_index(origin);
	if (!sender || sender->family != 4 || *(__be32 *)sender->outer != outer.ip->saddr)
		return CV_DROPPED(ECHO_SOURCE);
	of = bpf_map_lookup_elem(&cv_echoes, &origin);
	if (!of || !echo_allowed(of, CV_ECHO_NOTE_SHIFT, CV_ECHO_NOTES_MAX))
		return CV_DROPPED(ECHO_LIMIT);
	/* one bound after the other, in this register: older verifiers see no range in their sum */
	asm volatile("" : "+r"(bytes));
	if (bytes < sizeof(*wire))
		return CV_DROPPED(MALFORMED);
	asm volatile("" : "+r"(bytes));
	if (bytes > CV_NOTE_MAX)
		return CV_DROPPED(MALFORMED);
	note = bpf_ringbuf_reserve(&cv_notes, sizeof(*note), 0);
	if (!note)
		return CV_DROPPED(NOTE_LOST);
	note->bytes = bytes;
	note->node = origin;
	if (bpf_skb_load_bytes(skb, OUTER_BYTES, note->data, bytes)) {
		bpf_ringbuf_discard(note, 0);
		return CV_DROPPED(MALFORMED);
	}
	bpf_ringbuf_submit(note, 0);
	count(CV_COUNTER_NOTE_HEARD);
	return CV_TAKEN;
}

#endif
