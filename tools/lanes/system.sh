#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
. tools/lanes/common.sh
configured dev "$CULVERT_BUILD"
ninja -C "$CULVERT_BUILD" culvertd culvert-agent culvert-agent-next culvert culvert-load
pytest_lane tests/system
