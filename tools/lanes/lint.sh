#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# clang-tidy with .clang-tidy's checks over src/; wants what the build lane compiled (PCH, generated
# headers) and makes it when it is not there.
. tools/lanes/common.sh
configured dev "$CULVERT_BUILD"
ninja -C "$CULVERT_BUILD" -k 5
"$PYTHON" tools/lanes/lint.py "$CULVERT_BUILD" "$LANE_DIR/counts"
