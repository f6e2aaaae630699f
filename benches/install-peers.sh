#!/bin/sh
# Installs the name servers that the network bench measures besides sachdns, and dnsperf. Does nothing when
# all of them are there.
set -eu

# A program that the bench starts, and the Debian package that brings it.
missing=''
need() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need dnsdist dnsdist
need pdns_recursor pdns-recursor
need unbound unbound
need kresd knot-resolver
need named bind9
# Without the daemon's start at boot, which is in dnsmasq.
need dnsmasq dnsmasq-base
need dnsperf dnsperf

[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086 # a list of words
exec "$(dirname "$0")/../tests/install-packages.sh" 'the benches' $missing
