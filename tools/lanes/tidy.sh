#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# STYLE.md's lexical rules, and the scripts through shellcheck.
. tools/lanes/common.sh
pytest_lane tests/tidy
