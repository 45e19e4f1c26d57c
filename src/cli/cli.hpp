// SPDX-License-Identifier: Apache-2.0
// The command line `culvert`: what `az` has no word for. It starts and stops a machine's two
// processes, makes the interfaces of workloads, reads counters, and hands everything else to the
// control plane's API with the caller's own token: it decides nothing that the control plane or the
// agent could decide. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 what was named does not exist.
#pragma once

namespace culvert::cli {

// Runs one command; what it says goes to standard output, what went wrong to standard error.
int run(int argc, const char* const* argv);

}  // namespace culvert::cli
