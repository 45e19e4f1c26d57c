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

Measures Culvert and its peers on veth topologies in one interleaved run, and the latency of private
endpoint PUTs. Needs root and the peers' script (CULVERT_BENCH_PEERS, by default
../shared/bench-peers beside the repository). Everything else: ./dev bench --list

--instructions counts what is executed a byte and a connection, in an emulated machine under
Debian's kernel 6.12: about 15 minutes on a quiet machine, the same figures on a busy one. The
kernel's package (107 MB) is fetched once into ${CULVERT_CACHE:-/var/cache/culvert}/guest.
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
    cmd_build release culvertd culvert-agent culvert instruction_count
    CULVERT_BIN=$CULVERT_ROOT/build/release/bin exec /usr/bin/python3 tests/bench/bench.py "$@"
}

soak_usage() {
    cat <<'TEXT'
usage: ./dev soak [NAME...]

Runs the long programs of tests/soak (all, or those named), one after the other, and ends with
"N passed, N failed, 0 skipped". They take minutes to hours and are no part of ./dev check.
TEXT
}

cmd_soak() {
    local -x STEP=soak names=() passed=0 failed=0 file name start
    case ${1:-} in
        -h | --help) soak_usage && return ;;
    esac
    names=("$@")
    [ -d tests/soak ] || die "there are no soak programs (tests/soak)"
    cmd_setup
    cmd_build dev culvertd culvert-agent culvert-agent-next culvert culvert-load
    export CULVERT_BIN=$CULVERT_ROOT/build/dev/bin
    for file in tests/soak/*; do
        name=$(basename "${file%.*}")
        if [ ! -x "$file" ] || [ ! -f "$file" ]; then
            continue
        fi
        if [ ${#names[@]} -gt 0 ] && [[ " ${names[*]} " != *" $name "* ]]; then
            continue
        fi
        start=$SECONDS
        if logged "build/log/soak-$name.log" "$file"; then
            passed=$((passed + 1))
            say "$name passed in $((SECONDS - start)) s"
        else
            failed=$((failed + 1))
            say "$name FAILED after $((SECONDS - start)) s"
        fi
    done
    [ $((passed + failed)) -gt 0 ] || die "no soak program of that name in tests/soak"
    echo "$passed passed, $failed failed, 0 skipped"
    [ $failed -eq 0 ]
}
