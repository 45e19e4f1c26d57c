# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every command of ./dev shares: words on the terminal, root, logged steps.

# Prints one progress line.
say() { printf '%s: %s\n' "${STEP:-dev}" "$*"; }

# Prints why and ends the command.
die() {
    printf '%s: %s\n' "${STEP:-dev}" "$*" >&2
    exit 1
}

# as_root COMMAND...: runs it as root, through sudo where we are not root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        die "'$1' needs root and there is no sudo: run this command as root"
    fi
}

# logged LOG COMMAND...: runs it with its output in LOG and a line every 20 s; on failure shows the
# end of LOG and returns the command's status.
logged() {
    local log=$1 pid status=0 start=$SECONDS next=20
    shift
    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - start)) -ge $next ]; then
            say "$next s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-100)"
            next=$((next + 20))
        fi
    done
    wait "$pid" || status=$?
    if [ $status -ne 0 ]; then
        tail -n 40 "$log" >&2
        say "failed with status $status; all of it: $log" >&2
    fi
    return $status
}

# Ends with a hint when a tool of the build is missing.
need_tools() {
    local tool
    for tool in cmake ninja clang++-19; do
        command -v "$tool" >/dev/null || die "$tool is not installed: ./dev setup"
    done
}
