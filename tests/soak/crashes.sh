#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The store on a disk that loses power, 50,000 times, and the control plane on it, 10,000 times.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
ninja -C "$root/build/dev" crash_test crashed_control_test
export CULVERT_CRASH_ROUNDS=${CULVERT_CRASH_ROUNDS:-50000}
"$root/build/dev/tests/conformance/crash_test"
"$root/build/dev/tests/conformance/crashed_control_test"
