// SPDX-License-Identifier: Apache-2.0
// The kernel's side of a node, as plain C++: programs loaded and pinned, maps written from values,
// stubs attached to interfaces, veth pairs made. Promise: nothing here decides who may talk to
// whom; what was pinned goes on working when the process ends, and loading again replaces programs
// under traffic without losing a packet or a flow.
//
// INVARIANT: only loader.cpp includes a BPF skeleton; everything else sees map names.
#pragma once

#include "datapath/attach.hpp"
#include "datapath/loader.hpp"
#include "datapath/maglev.hpp"
#include "datapath/maps.hpp"
#include "datapath/netlink.hpp"
#include "datapath/outer.hpp"
