#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ends with the table: attack, what refused it, the counter that shows it.
. tools/lanes/common.sh
configured dev "$CULVERT_BUILD"
ninja -C "$CULVERT_BUILD" culvertd culvert-agent culvert
pytest_lane tests/adversary
