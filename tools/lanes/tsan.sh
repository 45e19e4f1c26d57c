#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The tests of what has threads, under ThreadSanitizer; their own build directory. The store's are
# the conformance suite.
. tools/lanes/common.sh
build=$CULVERT_ROOT/build/tsan
labels='(unit|conformance)' threaded='^(base|http|control|agent|conformance)_test$'
configured tsan "$build"
mapfile -t programs < <(labelled "$build" "$labels" | grep -E "$threaded")
ninja -C "$build" -k 5 "${programs[@]}"
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
TSAN_OPTIONS+=:suppressions=$CULVERT_ROOT/tools/lanes/tsan.supp
# These suites talk over real gRPC streams. Debian's gRPC and abseil are not instrumented: what they
# synchronise looks like a race of whoever called them. The hub's own core is HubCoreTest.
export GTEST_FILTER='-HubTest.*:HubStartTest.*:NodeHandlersTest.*:NodeTenantsTest.*'
GTEST_FILTER+=':HubRenewalTest.*:RenewalsTest.*'
ctest_lane "$build" "$labels" "$threaded"
