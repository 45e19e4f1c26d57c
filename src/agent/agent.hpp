// SPDX-License-Identifier: Apache-2.0
// The agent of a node: takes versioned deltas of the intent from the control plane, keeps the last
// one on disk, writes it to the kernel and acknowledges it; makes the interfaces of workloads.
// Promises: what is acknowledged is true in the kernel; whatever the stream says, the node keeps
// its last good intent; killed, upgraded or cut off, traffic goes on.
//
// Order of reading: state (deltas -> changes), validate, disk, applier (changes -> maps), bindings,
// plumber, node (all of these together), stream, upgrade, doorkeeper, local, metrics, join, run.
// INVARIANT: nothing here decides who may talk to whom.
#pragma once

#include "agent/join.hpp"
#include "agent/run.hpp"
#include "agent/upgrade.hpp"
