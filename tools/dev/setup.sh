# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ./dev setup: Debian packages, nothing else. Host names come from the machine's own apt sources.

BACKPORTS_LIST=/etc/apt/sources.list.d/culvert-backports.sources

setup_usage() {
    cat <<'TEXT'
usage: ./dev setup [--az]

Installs the packages of tools/packages.txt with apt-get (as root, or through sudo). Packages that
bookworm has only in an old version come from bookworm-backports; that source is added when the
machine lacks it, on the mirror that the machine already uses. Services that packages would start
(nginx, haproxy) are not started. When everything is there, does nothing.

  --az   also make the Debian 13 root with az 2.74 that the demo and the acceptance tests use
         (tools/az-root; 1.8 GB in ${CULVERT_CACHE:-/var/cache/culvert})
TEXT
}

# Prints "name minimum-version source" of every wanted package; "-" where there is none.
wanted_packages() {
    sed -e 's/#.*//' tools/packages.txt | awk '
        $1 == "backports:" { print $2, $3, "backports"; next }
        NF { print $1, "-", "-" }'
}

# Prints those of wanted_packages that are missing or too old.
missing_packages() {
    local name minimum source have
    local -A installed=()
    while read -r name have; do
        installed[${name%%:*}]=$have
    done < <(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package} ${Version}\n' 2>/dev/null |
        awk '$1 == "ii" { print $2, $3 }')
    while read -r name minimum source; do
        have=${installed[$name]:-}
        if [ -z "$have" ]; then
            echo "$name $source"
        elif [ "$minimum" != - ] && ! dpkg --compare-versions "$have" ge "$minimum"; then
            echo "$name $source"
        fi
    done < <(wanted_packages)
}

# Prints the mirror's URI that serves a suite, from the machine's own sources; nothing if none does.
# Works before the first apt-get update, which apt-get indextargets does not.
mirror_of() {
    apt-get update --print-uris 2>/dev/null |
        sed -n "s#^'\(.*\)/dists/$1/InRelease'.*#\1#p" | head -n 1
}

# Prints the Signed-By of the stanza that names a mirror; nothing if it has none on one line.
keyring_of() {
    local file
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        awk -v uri="${1%/}" 'BEGIN { RS = ""; FS = "\n" } index($0, uri) {
            for (i = 1; i <= NF; i++)
                if ($i ~ /^Signed-By: *\//) { sub(/^Signed-By: */, "", $i); print $i; exit }
        }' "$file"
    done | head -n 1
}

add_backports() {
    local uri keyring
    [ -z "$(mirror_of bookworm-backports)" ] || return 0
    uri=$(mirror_of bookworm)
    [ -n "$uri" ] || die "no apt source serves bookworm: this needs Debian 12"
    keyring=$(keyring_of "$uri")
    say "adding bookworm-backports from this machine's mirror: $BACKPORTS_LIST"
    {
        printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\n' "$uri"
        if [ -n "$keyring" ]; then
            printf 'Signed-By: %s\n' "$keyring"
        fi
    } | as_root tee "$BACKPORTS_LIST" >/dev/null
}

# Keeps package scripts from starting services while the given command runs (invoke-rc.d asks this
# file; Debian policy 9.3.3.1), and undoes that also when the command fails.
without_services() {
    local guard=/usr/sbin/policy-rc.d status=0
    if [ -e $guard ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee $guard >/dev/null
    as_root chmod 755 $guard
    "$@" || status=$?
    as_root rm -f $guard
    return $status
}

# Services that our packages brought must not start at the next boot either.
disable_new_services() {
    local service
    for service in "$@"; do
        if command -v systemctl >/dev/null; then
            as_root systemctl disable "$service" >/dev/null 2>&1 || true
        elif command -v update-rc.d >/dev/null; then
            as_root update-rc.d "$service" disable >/dev/null 2>&1 || true
        fi
    done
}

install_missing() {
    local log=build/log/setup.log name source names=() services=() missing=$1
    while read -r name source; do
        case $source in
            backports) names+=("$name/bookworm-backports") ;;
            *) names+=("$name") ;;
        esac
        case $name in
            nginx-light) services+=(nginx) ;;
            haproxy) services+=(haproxy) ;;
            postgresql-15) services+=(postgresql) ;;
            unbound) services+=(unbound) ;;
        esac
    done <<<"$missing"
    say "reading the package lists"
    logged "$log" as_root apt-get -q update || return 1
    say "installing ${#names[@]} packages: ${names[*]}"
    logged "$log" without_services as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confold install "${names[@]}" || return 1
    disable_new_services "${services[@]}"
}

cmd_setup() {
    local -x STEP=setup az=no missing start=$SECONDS
    while [ $# -gt 0 ]; do
        case $1 in
            --az) az=yes ;;
            -h | --help) setup_usage && return ;;
            *) die "no option $1: see ./dev setup --help" ;;
        esac
        shift
    done
    command -v apt-get >/dev/null || die "no apt-get here: this needs Debian 12"
    missing=$(missing_packages)
    if [ -z "$missing" ]; then
        say "all $(wanted_packages | wc -l) packages are installed"
    else
        if grep -q backports <<<"$missing"; then
            add_backports
        fi
        install_missing "$missing" || die "apt-get did not install everything"
        missing=$(missing_packages)
        [ -z "$missing" ] || die "still missing: $missing"
        say "done in $((SECONDS - start)) s"
    fi
    if [ $az = yes ]; then
        tools/az-root
    fi
}
