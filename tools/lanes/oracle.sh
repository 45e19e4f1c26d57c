#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
. tools/lanes/common.sh
configured dev "$CULVERT_BUILD"
mapfile -t programs < <(labelled "$CULVERT_BUILD" oracle)
ninja -C "$CULVERT_BUILD" -k 5 "${programs[@]}"
ctest_lane "$CULVERT_BUILD" oracle
