#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything of the dev preset; counts as one.
. tools/lanes/common.sh
configured dev "$CULVERT_BUILD"
ninja -C "$CULVERT_BUILD" -k 5
counts 1 0 0
