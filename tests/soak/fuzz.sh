#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every fuzz target for an hour (CULVERT_FUZZ_SECONDS), two at a time; what they find stays below
# build/dev/tests/fuzz. Of a finding: mend the code and keep the input, made small, in
# tests/fuzz/corpus.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
build=$PWD/build/dev corpus=$PWD/tests/fuzz/corpus
seconds=${CULVERT_FUZZ_SECONDS:-3600}

fuzz() {
    local name=$1 log=$1.log
    if ! "./$name" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=20 \
        -print_final_stats=1 "${name%_fuzz}_found" "$corpus/${name%_fuzz}" >"$log" 2>&1; then
        echo "$name found something: $PWD/$log"
        tail -n 40 "$log"
        return 1
    fi
    echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs"
}

mapfile -t targets < <(ctest --test-dir "$build" -N -L '^fuzz$' | sed -n 's/^ *Test *#[0-9]*: //p')
ninja -C "$build" "${targets[@]}"
cd "$build/tests/fuzz"
status=0 running=0
for name in "${targets[@]}"; do
    if [ $running -ge 2 ]; then
        wait -n || status=1
        running=$((running - 1))
    fi
    fuzz "$name" &
    running=$((running + 1))
done
for ((; running > 0; running--)); do
    wait -n || status=1
done
exit $status
