#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The packages of the dev build: a release build would only take longer.
. tools/lanes/common.sh
configured dev "$CULVERT_BUILD"
ninja -C "$CULVERT_BUILD" culvertd culvert-agent culvert
tools/package-root
pytest_lane tests/package
