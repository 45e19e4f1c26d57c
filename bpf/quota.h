/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* Quotas of the flow table: what one network interface or one link holds, so that neither can take
 * the table, or a backend's NAT ports, from the others. Work only when a connection is opened, when
 * its handshake is over and when its slot is given back; packets of open connections pay nothing.
 *
 * A connection is charged to the consumer's NIC, to its link and, where it takes a NAT port, to the
 * link's share of that backend. INVARIANT: the charge lives as long as the slot (sweep.h), which
 * the sweep alone gives back: each charge is returned once, whichever way the entries went. */
#ifndef CV_BPF_QUOTA_H
#define CV_BPF_QUOTA_H

#include "drop.h"

/* Set by the loader, in entries of the flow table. All ones: no quota. */
const volatile __u32 quota_table = ~0u; /* entries of the table */
const volatile __u32 quota_nic = ~0u;   /* most that one consumer NIC may hold */
const volatile __u32 quota_link = ~0u;
const volatile __u32 quota_opening_nic = ~0u; /* of these, with an unfinished handshake */
const volatile __u32 quota_opening_link = ~0u;
/* most that one link may hold of a backend's NAT ports, in 256ths */
const volatile __u32 quota_nat_256 = 256;

static __always_inline __u32 charge_entries(const struct cv_charge *charge)
{
	return charge->flags & CV_CHARGE_PAIR ? 2 : 1;
}

static __always_inline struct cv_held *nic_held(__u32 nic)
{
	return bpf_map_lookup_elem(&cv_nic_held, &nic);
}

static __always_inline struct cv_held *link_held(__u32 link)
{
	return bpf_map_lookup_elem(&cv_link_held, &link);
}

static __always_inline void hold(struct cv_held *held, __u32 entries, __u32 opening)
{
	if (!held)
		return;
	__sync_fetch_and_add(&held->entries, entries);
	__sync_fetch_and_add(&held->opening, opening);
}

/* The handshake of the connection in this slot is over. */
static __always_inline int quota_opened(__u32 place)
{
	struct cv_charge *charge = bpf_map_lookup_elem(&cv_charges, &place);
	__u32 entries, zero = 0;

	if (!charge)
		return 0;
	entries = charge_entries(charge);
	if (!(__sync_fetch_and_and(&charge->flags, ~CV_CHARGE_OPENING) & CV_CHARGE_OPENING))
		return 0;
	hold(nic_held(zero), 0, -entries);
	hold(nic_held(charge->consumer), 0, -entries);
	hold(link_held(charge->link), 0, -entries);
	return 0;
}

/* Returns a charge. */
static __noinline int quota_give(struct cv_charge *charge)
{
	__u32 flags = __sync_fetch_and_and(&charge->flags, 0), zero = 0;
	__u32 entries = flags & CV_CHARGE_PAIR ? 2 : 1;
	__u32 opening = flags & CV_CHARGE_OPENING ? entries : 0;
	struct cv_nat_key key = {.link = charge->link, .backend = charge->backend};
	__u32 *ports;

	if (!(flags & CV_CHARGE_HELD))
		return 0;
	hold(nic_held(zero), -entries, -opening);
	hold(nic_held(charge->consumer), -entries, -opening);
	hold(link_held(charge->link), -entries, -opening);
	if (flags & CV_CHARGE_NAT) {
		ports = bpf_map_lookup_elem(&cv_nat_held, &key);
		if (ports)
			__sync_fetch_and_add(ports, -1);
	}
	return 0;
}

/* Whether a holder stays within its quota, and within half of what is free in the table, an eighth
 * for handshakes: as the table fills, what is not yet a connection is refused first, then those who
 * hold most; who holds little is served while there is room. */
static __always_inline bool within(const struct cv_held *held, __u32 most, __u32 most_opening,
				   __u32 room)
{
	return !held || (held->entries <= most && held->opening <= most_opening &&
			 held->entries <= room / 2 && held->opening <= room / 8);
}

/* Charges the link's share of the backend's `ports` NAT ports: 0 or the refusal; the caller returns
 * the charge. A link that has no counter because there are too many is not limited. */
static __noinline int quota_take_nat(struct cv_charge *charge, __u32 ports)
{
	struct cv_nat_key key = {.link = charge->link, .backend = charge->backend};
	__u32 none = 0, *held = bpf_map_lookup_elem(&cv_nat_held, &key);

	if (!held) {
		bpf_map_update_elem(&cv_nat_held, &key, &none, BPF_NOEXIST);
		held = bpf_map_lookup_elem(&cv_nat_held, &key);
	}
	if (!held)
		return 0;
	charge->flags |= CV_CHARGE_NAT;
	if (__sync_fetch_and_add(held, 1) < (__u32)((__u64)ports * quota_nat_256 / 256))
		return 0;
	return CV_DROPPED(NAT_QUOTA);
}

/* Charges a connection that is about to be made: 0, or the refusal of a charge that stands. */
static __noinline int quota_try(struct cv_charge *charge)
{
	__u32 zero = 0, entries = charge_entries(charge), room;
	struct cv_held *all = nic_held(zero), *nic = nic_held(charge->consumer);
	struct cv_held *link = link_held(charge->link);

	charge->flags |= CV_CHARGE_HELD | CV_CHARGE_OPENING;
	hold(all, entries, entries);
	hold(nic, entries, entries);
	hold(link, entries, entries);
	room = all ? all->entries : 0;
	room = room < quota_table ? quota_table - room : 0;
	if (within(nic, quota_nic, quota_opening_nic, room) &&
	    within(link, quota_link, quota_opening_link, room))
		return 0;
	return CV_DROPPED(FLOW_QUOTA);
}

/* The same; after a refusal nothing is charged. Two calls, not one within the other: a chain of
 * calls has 512 bytes of stack, of which Linux 6.1 gives each call a multiple of 32. */
static __always_inline int quota_take(struct cv_charge *charge)
{
	int fate = quota_try(charge);

	if (unlikely(fate))
		quota_give(charge);
	return fate;
}

/* Leaves the charge with the slot that stands for the connection. */
static __always_inline void quota_keep(__u32 place, const struct cv_charge *charge)
{
	struct cv_charge *kept = bpf_map_lookup_elem(&cv_charges, &place);

	if (kept)
		*kept = *charge;
}

/* The slot is given back: so is its charge. */
static __always_inline void quota_release(__u32 place)
{
	struct cv_charge *charge = bpf_map_lookup_elem(&cv_charges, &place);

	if (charge)
		quota_give(charge);
}

#endif
