# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev check: runs the lanes of tools/lanes.txt. A lane is tools/lanes/NAME.sh; it leaves
# "passed failed skipped" in $LANE_DIR/counts. A lane that cannot run has failed.

check_usage() {
    cat <<'TEXT'
usage: ./dev check [--only LANE,...] [--without LANE,...] [--dir DIR] [--no-setup]

Runs every test lane, prints each one's result and time, and ends with one line:
N passed, N failed, N skipped. What a lane printed is in build/check/LANE.log.

  --only LANE,...     run just these
  --without LANE,...  leave these out; said aloud, not counted
  --dir DIR           the dev build to test, default build/dev
  --no-setup          trust that ./dev setup was run

Lanes:
TEXT
    lanes | while IFS='|' read -r name needs what; do
        printf '  %-12s %s%s\n' "$name" "$what" "${needs:+ (needs $needs)}"
    done
}

# Prints "name|needs|what", blanks trimmed.
lanes() {
    grep -v '^#' tools/lanes.txt | sed -E 's/[[:space:]]*\|[[:space:]]*/|/g'
}

can_bpf() { [ -e /sys/kernel/btf/vmlinux ] && bpftool prog list >/dev/null 2>&1; }

# Prints what this machine lacks of the given needs; nothing when it has all.
lacking() {
    local need
    for need in $1; do
        case $need in
            root) [ "$(id -u)" -eq 0 ] || echo "root" ;;
            bpf) can_bpf || echo "BPF" ;;
            netns) unshare -n true 2>/dev/null || echo "network namespaces" ;;
            az) tools/az-root >&2 || echo "az" ;;
            *) echo "'$need', which nobody knows" ;;
        esac
    done
}

# run_lane NAME NEEDS: runs one lane and adds to the caller's totals.
run_lane() {
    local name=$1 needs=$2 start=$SECONDS status=0 p=0 f=0 s=0 lack word
    local log=build/check/$name.log
    export LANE_DIR=$CULVERT_ROOT/build/check/$name
    rm -rf "$LANE_DIR" && mkdir -p "$LANE_DIR"
    lack=$(lacking "$needs" 2>"$log" | paste -sd, -)
    if [ -n "$lack" ]; then
        echo "this machine has no $lack; --without $name leaves the lane out" | tee -a "$log"
        status=1
    elif [ ! -f "tools/lanes/$name.sh" ]; then
        echo "tools/lanes/$name.sh is not here" | tee "$log"
        status=1
    else
        bash "tools/lanes/$name.sh" >"$log" 2>&1 </dev/null || status=$?
        if [ -f "$LANE_DIR/counts" ]; then
            read -r p f s <"$LANE_DIR/counts"
        fi
        if [ $((p + f)) -eq 0 ] && [ $status -eq 0 ]; then
            echo "the lane ran no test" >>"$log"
            status=1
        fi
    fi
    if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
    fi
    word=ok
    if [ "$f" -gt 0 ]; then
        word=FAILED
        tail -n 60 "$log" | sed 's/^/    /'
    fi
    printf '%-12s %-6s %4d s   %d passed, %d failed, %d skipped\n' \
        "$name" "$word" $((SECONDS - start)) "$p" "$f" "$s"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# Ends with an error when a name in a list is no lane.
known_lanes() {
    local name
    for name in ${1//,/ }; do
        lanes | grep -q "^$name|" || die "no lane '$name': see ./dev check --help"
    done
}

cmd_check() {
    local -x STEP=check only='' without='' setup=yes name needs
    local passed=0 failed=0 skipped=0 start=$SECONDS
    export CULVERT_BUILD=$CULVERT_ROOT/build/dev
    while [ $# -gt 0 ]; do
        case $1 in
            --only) only=${2:?--only needs lanes} && shift ;;
            --without) without=$without,${2:?--without needs lanes} && shift ;;
            --dir) CULVERT_BUILD=$(realpath -m "${2:?--dir needs a directory}") && shift ;;
            --no-setup) setup=no ;;
            -h | --help) check_usage && return ;;
            *) die "no option $1: see ./dev check --help" ;;
        esac
        shift
    done
    known_lanes "$only"
    known_lanes "$without"
    [ $setup = no ] || cmd_setup
    export CULVERT_BIN=$CULVERT_BUILD/bin CULVERT_AZ=$CULVERT_ROOT/tools/az
    mkdir -p build/check
    while IFS='|' read -r name needs _; do
        if [ -n "$only" ] && [[ ",$only," != *",$name,"* ]]; then
            continue
        fi
        if [[ ",$without," == *",$name,"* ]]; then
            printf '%-12s left out\n' "$name"
            continue
        fi
        run_lane "$name" "$needs"
    done < <(lanes)
    say "took $((SECONDS - start)) s"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ]
}
