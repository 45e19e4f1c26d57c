#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The data plane under Debian 12's stock kernel: programs hang in clsact, the stack is short. What
# waits for time to pass is left to the lane packet: no kernel makes a difference there.
. tools/lanes/common.sh
configured dev "$CULVERT_BUILD"
ninja -C "$CULVERT_BUILD" packet_test datapath_root_test
mkdir -p "$LANE_DIR/cases"
# a half of the packet tests for each of its processors
cat >"$LANE_DIR/tests" <<'END'
tests=$1/tests/packet results=$2
for half in 0 1; do
    GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=$half GTEST_OUTPUT=xml:$results/half$half.xml \
        "$tests/packet_test" --gtest_filter='-Expiry.*:Quota.*:Totals.*:Races.*' &
done
for half in $(jobs -p); do
    wait "$half" || failed=1
done
GTEST_OUTPUT=xml:$results/attach.xml \
    "$tests/datapath_root_test" --gtest_filter='*AttachTest*/clsact' || failed=1
exit "${failed:-0}"
END
status=0
tools/guest --kernel 6.1 --kvm --cpus 2 --timeout 1500 --keep "$LANE_DIR/machine" \
    --env GTEST_COLOR=no -- bash "$LANE_DIR/tests" "$CULVERT_BUILD" /run/guest || status=$?
for part in attach half0 half1; do
    # a part that is missing counts as a failure
    cp "$LANE_DIR/machine/$part.xml" "$LANE_DIR/cases/" || touch "$LANE_DIR/cases/$part.xml"
done
"$PYTHON" tools/lanes/count_tests.py "$LANE_DIR/cases" >"$LANE_DIR/counts"
exit $status
