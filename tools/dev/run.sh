# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev demo, bench, soak: prepare, then hand over to the program that does it.

cmd_demo() {
    local -x STEP=demo word
    [ -x tools/demo ] || die "tools/demo is not here"
    for word in "$@"; do
        case $word in
            --down | -h | --help) exec tools/demo "$@" ;;
        esac
    done
    [ "$(id -u)" -eq 0 ] || die "the demo makes network namespaces and loads BPF: run it as root"
    cmd_setup --az
    cmd_build dev culvertd culvert-agent culvert
    CULVERT_BIN=$CULVERT_ROOT/build/dev/bin CULVERT_AZ=$CULVERT_ROOT/tools/az exec tools/demo "$@"
}

bench_usage() {
    cat <<'TEXT'
usage: ./dev bench [--out FILE] [--reps N] [--secs N] [--cases A,B,...] [--list]
       ./dev bench --instructions [the same]
       ./dev bench --programs | --forwarding [--out FILE]

Measures Culvert and its peers on veth topologies in one interleaved run, and the latency of private
endpoint PUTs. Needs root and the peers' script (CULVERT_BENCH_PEERS, by default
../shared/bench-peers beside the repository). Everything else: ./dev bench --list

--instructions counts what is executed a byte and a connection, in an emulated machine under
Debian's kernel 6.12: about 15 minutes on a quiet machine, the same figures on a busy one. The
kernel's package (107 MB) is fetched once into ${CULVERT_CACHE:-/var/cache/culvert}/guest.

--programs measures the BPF programs by themselves, also with a million connections and a hundred
thousand endpoints, and how fast a node takes endpoints in; --forwarding 64-byte packets of one
core.
TEXT
}

cmd_bench() {
    local -x STEP=bench word
    for word in "$@"; do
        case $word in
            -h | --help) bench_usage && return ;;
            --list) exec /usr/bin/python3 tests/bench/bench.py "$@" ;;
        esac
    done
    [ "$(id -u)" -eq 0 ] || die "the bench makes network namespaces and loads BPF: run it as root"
    cmd_setup
    cmd_build release culvertd culvert-agent culvert instruction_count program_bench
    CULVERT_BIN=$CULVERT_ROOT/build/release/bin exec /usr/bin/python3 tests/bench/bench.py "$@"
}

soak_usage() {
    cat <<'TEXT'
usage: ./dev soak [--minutes N] [--asan | --preset PRESET] [NAME...]

Runs the long programs of tests/soak (all, or those named), one after the other, and ends with
"N passed, N failed, 0 skipped". They take minutes to hours and are no part of ./dev check.

  --minutes N      how long churn and endure run; without a NAME: endure alone, built with
                   AddressSanitizer. Everything made and removed at full load for N minutes, then
                   memory and every count as at the start; about 10 minutes more for both ends
  --preset PRESET  what is run: dev (default), release, asan or tsan
  --asan           --preset asan: ends with an error where memory is misused or leaks
TEXT
}

soak_names() {
    local file
    for file in tests/soak/*; do
        if [ -x "$file" ] && [ -f "$file" ]; then
            basename "${file%.*}"
        fi
    done
}

# What a sanitizer is told. Debian's protobuf and gRPC are not instrumented: containers they fill
# look overflown to us. Freed memory waits in quarantine, which must not look like a leak.
soak_sanitizers() {
    export ASAN_OPTIONS=detect_container_overflow=0:detect_leaks=1:quarantine_size_mb=16
    export ASAN_OPTIONS=$ASAN_OPTIONS:thread_local_quarantine_size_kb=64
    export UBSAN_OPTIONS=print_stacktrace=1
}

cmd_soak() {
    local -x STEP=soak names=() known passed=0 failed=0 minutes='' preset='' name file start args
    mapfile -t known < <(soak_names)
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) soak_usage && return ;;
            --minutes)
                minutes=${2:-}
                [[ $minutes =~ ^[0-9]{1,5}(\.[0-9]+)?$ && ! $minutes =~ ^0*(\.0*)?$ ]] ||
                    die "--minutes: '$minutes' is not a number of minutes above 0"
                shift
                ;;
            --asan) preset=asan ;;
            --preset)
                preset=${2:-}
                [[ " dev release asan tsan " == *" $preset "* && -n $preset ]] ||
                    die "--preset: '$preset' is none of dev, release, asan, tsan"
                shift
                ;;
            -*) die "no option $1: see ./dev soak --help" ;;
            *)
                [[ " ${known[*]} " == *" $1 "* ]] ||
                    die "no soak program '$1': there are ${known[*]}"
                names+=("$1")
                ;;
        esac
        shift
    done
    if [ -n "$minutes" ] && [ ${#names[@]} -eq 0 ]; then
        names=(endure)
        : "${preset:=asan}"
    fi
    : "${preset:=dev}"
    [ ${#names[@]} -gt 0 ] || names=("${known[@]}")
    for name in "${names[@]}"; do
        [[ -z $minutes || $name == churn || $name == endure ]] ||
            die "--minutes: $name does not run for a given time, churn and endure do"
    done
    [ "$(id -u)" -eq 0 ] || die "soaks make network namespaces and load BPF: run them as root"
    cmd_setup
    cmd_build "$preset" culvertd culvert-agent culvert-agent-next culvert culvert-load
    export CULVERT_BIN=$CULVERT_ROOT/build/$preset/bin
    [ "$preset" != asan ] || soak_sanitizers
    # what runs in the background does not see Ctrl-C; told to end, it removes what it made
    trap 'kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM HUP
    for name in "${names[@]}"; do
        for file in tests/soak/"$name".*; do
            args=()
            [ -z "$minutes" ] || args=(--minutes "$minutes")
            start=$SECONDS
            if logged "build/log/soak-$name.log" "$file" "${args[@]}"; then
                passed=$((passed + 1))
                tail -n 40 "build/log/soak-$name.log"
                say "$name passed in $((SECONDS - start)) s; all of it: build/log/soak-$name.log"
            else
                failed=$((failed + 1))
                say "$name FAILED after $((SECONDS - start)) s"
            fi
        done
    done
    trap - INT TERM HUP
    echo "$passed passed, $failed failed, 0 skipped"
    [ $failed -eq 0 ]
}
