#!/bin/sh
# Installs what the tests run besides our own binary. Does nothing when all of it is there.
set -eu

# A command that the tests call, and the Debian packages that bring it.
missing=''
need() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need cc 'gcc libc6-dev'
need curl curl
need dig bind9-dnsutils
need dnsdist dnsdist
need ip iproute2
need kdig knot-dnsutils
need ldns-signzone ldnsutils
need named bind9
need named-checkzone bind9-utils
need nsd nsd
need unbound unbound
need unshare util-linux

[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086 # a list of words
exec "$(dirname "$0")/install-packages.sh" 'the tests' $missing
