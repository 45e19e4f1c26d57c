#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One case a file.
. tools/lanes/common.sh
. tools/dev/build.sh
passed=0 failed=0
while read -r file; do
    if clang-format-19 --dry-run -Werror "$file"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done < <(format_sources)
[ $failed -eq 0 ] || echo "./dev fmt mends it"
counts $passed $failed 0
[ $failed -eq 0 ]
