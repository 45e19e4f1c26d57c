# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev package: Debian packages of a build.

package_usage() {
    cat <<'TEXT'
usage: ./dev package [--from DIR] [--out DIR] [--version VERSION]

Makes the Debian packages culvert (the command line), culvertd and culvert-agent, with units,
manual pages and completion, in build/package.

  --from DIR         of these binaries (default: ./dev build release, then build/release)
  --out DIR          put them there
  --version VERSION  default: the program's own, and the commit's time and name

CULVERT_MAINTAINER="NAME <ADDRESS>" is who the packages say answers for them.
TEXT
}

# The program's version, then what orders packages of one version by the commit's time.
package_version() {
    local stamp
    stamp=$(git log -1 --format=%cd~%h --date=format:%Y%m%d%H%M%S 2>/dev/null || echo 0)
    echo "$("$1/bin/culvert" --version | awk '{ print $NF }')+${stamp/\~/.}"
}

# manual_of PROGRAM SECTION WHAT BUILD: a manual page from what --help says.
manual_of() {
    local name=$1 section=$2 what=$3 program=$4/bin/$1 sub subs
    subs=$("$program" --help | awk '/^Subcommands:/ { on = 1; next } on && NF { print $1 }')
    printf '.TH %s %s "" "Culvert" "Culvert"\n.SH NAME\n%s \\- %s\n' \
        "${name^^}" "$section" "$name" "$what"
    printf '.SH OPTIONS\n.nf\n'
    "$program" --help | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\\([.']\\)/\\\\\\&\\1/"
    printf '.fi\n'
    for sub in $subs; do
        printf '.SH %s %s\n.nf\n' "${name^^}" "${sub^^}"
        "$program" "$sub" --help | sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\\([.']\\)/\\\\\\&\\1/"
        printf '.fi\n'
    done
    printf '.SH SEE ALSO\n.BR culvert (1)\n'
}

# put_program PROGRAM DIRECTORY BUILD TREE
put_program() {
    install -D -m 755 "$3/bin/$1" "$4/$2/$1"
    objcopy --strip-unneeded --remove-section=.comment "$4/$2/$1"
}

# put_page FILE SECTION TREE: from standard input
put_page() {
    mkdir -p "$3/usr/share/man/man$2"
    gzip -9n >"$3/usr/share/man/man$2/$1.$2.gz"
}

fill_culvert() {
    put_program culvert usr/bin "$1" "$2"
    "$1/bin/culvert" man | put_page culvert 1 "$2"
    mkdir -p "$2/usr/share/bash-completion/completions" "$2/usr/share/zsh/vendor-completions"
    "$1/bin/culvert" completion bash >"$2/usr/share/bash-completion/completions/culvert"
    "$1/bin/culvert" completion zsh >"$2/usr/share/zsh/vendor-completions/_culvert"
}

fill_culvertd() {
    put_program culvertd usr/sbin "$1" "$2"
    manual_of culvertd 8 "control plane of Culvert" "$1" | put_page culvertd 8 "$2"
}

fill_culvert-agent() {
    put_program culvert-agent usr/sbin "$1" "$2"
    manual_of culvert-agent 8 "node agent of Culvert" "$1" | put_page culvert-agent 8 "$2"
}

# Prints the packages that a tree's programs load libraries of.
libraries_of() {
    local scratch=$1 program=$2
    mkdir -p "$scratch/debian"
    printf 'Source: culvert\n\nPackage: culvert\nArchitecture: any\n' >"$scratch/debian/control"
    (cd "$scratch" && dpkg-shlibdeps -O --warnings=0 -e"$program" 2>/dev/null) |
        sed -n 's/^shlibs:Depends=//p'
}

# make_package NAME BUILD OUT VERSION
make_package() {
    local name=$1 build=$2 out=$3 version=$4 tree depends more script
    tree=$out/tree/$name
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/doc/$name"
    "fill_$name" "$build" "$tree"
    install -m 644 packaging/copyright "$tree/usr/share/doc/$name/copyright"
    printf 'culvert (%s) unstable; urgency=medium\n\n  * Built from source.\n\n -- %s  %s\n' \
        "$version" "$PACKAGE_MAINTAINER" "$(git log -1 --format=%cD 2>/dev/null || date -R)" |
        gzip -9n >"$tree/usr/share/doc/$name/changelog.gz"
    if [ -f "packaging/systemd/$name.service" ]; then
        install -D -m 644 "packaging/systemd/$name.service" \
            "$tree/lib/systemd/system/$name.service"
    fi
    if [ -f "packaging/$name/default" ]; then
        install -D -m 644 "packaging/$name/default" "$tree/etc/default/$name"
        echo "/etc/default/$name" >"$tree/DEBIAN/conffiles"
    fi
    for script in postinst prerm postrm; do
        if [ -f "packaging/$name/$script" ]; then
            install -m 755 "packaging/$name/$script" "$tree/DEBIAN/$script"
        fi
    done
    depends=$(libraries_of "$out/scratch" "$(find "$tree/usr" -path '*bin/*' -type f)")
    more=$(sed -n 's/^Depends: //p' "packaging/$name/control")
    {
        printf 'Package: %s\nSource: culvert\nVersion: %s\nArchitecture: %s\n' \
            "$name" "$version" "$(dpkg --print-architecture)"
        printf 'Maintainer: %s\nPriority: optional\n' "$PACKAGE_MAINTAINER"
        printf 'Installed-Size: %s\n' "$(du -k -s --exclude=DEBIAN "$tree" | cut -f 1)"
        printf 'Depends: %s\n' "${more:+$more, }$depends"
        grep -v '^Depends:' "packaging/$name/control"
    } >"$tree/DEBIAN/control"
    (cd "$tree" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | sort | xargs md5sum) \
        >"$tree/DEBIAN/md5sums"
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$tree" \
        "$out/${name}_${version}_$(dpkg --print-architecture).deb" >/dev/null
}

cmd_package() {
    local -x STEP=package from='' out=build/package version='' name
    PACKAGE_MAINTAINER=${CULVERT_MAINTAINER:-The Culvert authors <culvert@localhost>}
    while [ $# -gt 0 ]; do
        case $1 in
            --from) from=${2:?--from needs a directory} && shift ;;
            --out) out=${2:?--out needs a directory} && shift ;;
            --version) version=${2:?--version needs a version} && shift ;;
            -h | --help) package_usage && return ;;
            *) die "no option $1: see ./dev package --help" ;;
        esac
        shift
    done
    for name in dpkg-deb dpkg-shlibdeps objcopy; do
        command -v "$name" >/dev/null || die "$name is not installed: ./dev setup"
    done
    if [ -z "$from" ]; then
        from=build/release
        cmd_build release culvertd culvert-agent culvert
    fi
    STEP=package
    from=$(realpath "$from")
    : "${version:=$(package_version "$from")}"
    rm -rf "$out/tree" "$out/scratch"
    mkdir -p "$out"
    out=$(realpath "$out")
    for name in culvert culvertd culvert-agent; do
        make_package "$name" "$from" "$out" "$version"
        say "made $(basename "$out")/${name}_${version}_$(dpkg --print-architecture).deb"
    done
    rm -rf "$out/tree" "$out/scratch"
}
