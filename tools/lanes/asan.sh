#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The unit tests under AddressSanitizer and UBSan; their own build directory.
. tools/lanes/common.sh
build=$CULVERT_ROOT/build/asan
configured asan "$build"
mapfile -t programs < <(labelled "$build" unit)
ninja -C "$build" -k 5 "${programs[@]}"
# Debian's protobuf and gRPC are not instrumented: containers they fill look overflown to us
export ASAN_OPTIONS=detect_container_overflow=0:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
ctest_lane "$build" unit
