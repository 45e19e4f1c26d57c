# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev build, fmt, clean.

build_usage() {
    cat <<'TEXT'
usage: ./dev build [PRESET] [--dir DIR] [-j N] [TARGET...]

Configures and compiles with a preset of CMakePresets.json: dev (default), release, asan, tsan.
Objects come from ccache where it has them. Binaries: build/PRESET/bin.

  --dir DIR  build there instead of in build/PRESET
  -j N       jobs at once; default: one a core
TEXT
}

# configure PRESET DIR: writes the Ninja files, quietly when nothing is wrong.
configure() {
    logged "build/log/configure-$(basename "$2").log" cmake --preset "$1" -B "$2"
}

# compile DIR JOBS TARGET...
compile() {
    local dir=$1 jobs=$2
    shift 2
    NINJA_STATUS='[%f/%t %es] ' ninja -C "$dir" -j "$jobs" "$@"
}

cmd_build() {
    local -x STEP=build preset=dev dir='' jobs targets=() start=$SECONDS
    jobs=$(nproc)
    while [ $# -gt 0 ]; do
        case $1 in
            dev | release | asan | tsan) preset=$1 ;;
            --dir) dir=${2:?--dir needs a directory} && shift ;;
            -j) jobs=${2:?-j needs a number} && shift ;;
            -j[0-9]*) jobs=${1#-j} ;;
            -h | --help) build_usage && return ;;
            -*) die "no option $1: see ./dev build --help" ;;
            *) targets+=("$1") ;;
        esac
        shift
    done
    need_tools
    : "${dir:=build/$preset}"
    say "preset $preset in $dir, $jobs jobs"
    configure "$preset" "$dir" || die "CMake did not accept the tree"
    compile "$dir" "$jobs" "${targets[@]}" || die "it does not compile"
    say "done in $((SECONDS - start)) s: $dir/bin"
}

# Every file that clang-format owns, one a line.
format_sources() {
    local dir
    for dir in src bpf tests; do
        if [ -d "$dir" ]; then
            find "$dir" -name '*.[ch]' -o -name '*.[ch]pp'
        fi
    done | sort
}

cmd_fmt() {
    local -x STEP=fmt before after
    case ${1:-} in
        -h | --help)
            echo "usage: ./dev fmt: formats src, bpf and tests in place with clang-format-19"
            return
            ;;
    esac
    command -v clang-format-19 >/dev/null || die "clang-format-19 is not installed: ./dev setup"
    before=$(format_sources | xargs -r sha1sum)
    format_sources | xargs -r clang-format-19 -i
    after=$(format_sources | xargs -r sha1sum)
    diff <(echo "$before") <(echo "$after") | sed -n 's/^> [0-9a-f]*  /fmt: changed /p'
    say "$(format_sources | wc -l) files are formatted"
}

cmd_clean() {
    local -x STEP=clean
    case ${1:-} in
        -h | --help)
            echo "usage: ./dev clean: removes build/ (packages, ccache and the az root stay)"
            return
            ;;
    esac
    rm -rf build
    say "removed build/"
}
