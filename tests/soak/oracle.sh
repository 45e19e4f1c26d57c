#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ten million random packets through the data plane and a plain reference of it (tests/oracle). A
# divergence is printed with its seed as the fewest steps that show it. CULVERT_ORACLE_PACKETS and
# CULVERT_ORACLE_SEED say otherwise.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
ninja -C "$root/build/dev" oracle_test
export CULVERT_ORACLE_PACKETS=${CULVERT_ORACLE_PACKETS:-10000000}
"$root/build/dev/tests/oracle/oracle_test"
