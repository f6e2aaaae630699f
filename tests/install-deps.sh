#!/bin/sh
# Installs what the tests run besides our own binary. Does nothing when all of it is there.
set -eu

# A command that the tests call, and the Debian packages that bring it.
missing=''
need() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need aiosmtpd python3-aiosmtpd
need cc 'gcc libc6-dev'
need certutil libnss3-tools
need chromedriver chromium-driver
need chromium chromium
need clickhouse-server clickhouse-server
need curl curl
need dig bind9-dnsutils
need dnsdist dnsdist
need dnsmasq dnsmasq-base
need dnstap-ldns dnstap-ldns
need faketime faketime
need fstrm_capture fstrm-bin
need ip iproute2
need kdig knot-dnsutils
need knotd knot
need ldns-signzone ldnsutils
need named bind9
need named-checkzone bind9-utils
need nft nftables
need nginx nginx-light
need nsd nsd
need nsupdate bind9-dnsutils
need oathtool oathtool
need openssl openssl
need pdftotext poppler-utils
need rsyslogd rsyslog
need socat socat
need soffice 'libreoffice-calc-nogui libreoffice-writer-nogui fonts-liberation'
need stubby stubby
need tinyproxy tinyproxy-bin
need unbound unbound
need unshare util-linux
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"

here=$(dirname "$0")
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || "$here/install-packages.sh" 'the tests' $missing

# Installing this one would give the machine's resolv.conf to it, so it is only unpacked, where cargo tells the tests
# that their files are.
unpacked=${CARGO_TARGET_DIR:-$here/../target}/tmp/systemd-resolved
if ! [ -x "$unpacked/lib/systemd/systemd-resolved" ]; then
    echo "unpacking for the tests: systemd-resolved"
    mkdir -p "$unpacked"
    unpacked=$(cd "$unpacked" && pwd)
    archives=$(mktemp -d)
    trap 'rm -rf "$archives"' EXIT
    trap 'exit 130' INT TERM
    (cd "$archives" && apt-get -o APT::Sandbox::User=root -qq download systemd-resolved libsystemd-shared)
    for archive in "$archives"/*.deb; do
        dpkg -x "$archive" "$unpacked"
    done
fi

# ClickHouse's engine of today, in process; Debian's server is of 2018. 180 MB to fetch, once: SACHDNS_CHDB=no spares it, and
# the tests of today's engine with it.
chdb=${CARGO_TARGET_DIR:-$here/../target}/tmp/chdb
if [ "${SACHDNS_CHDB:-}" != no ] && ! [ -e "$chdb/complete" ]; then
    echo "fetching for the tests: chdb-core"
    python3 -m venv "$chdb"
    "$chdb/bin/pip" install --quiet --no-deps chdb-core==26.9.0
    touch "$chdb/complete"
fi

# DuckDB reads the query log's files: 20 MB to fetch, once.
duckdb=${CARGO_TARGET_DIR:-$here/../target}/tmp/duckdb
if ! [ -e "$duckdb/complete" ]; then
    echo "fetching for the tests: duckdb"
    python3 -m venv "$duckdb"
    "$duckdb/bin/pip" install --quiet --no-deps duckdb==2.0.1
    touch "$duckdb/complete"
fi

# Workbooks as people's programs write them; what holds the API's description and the figures to their standards.
sheets=${CARGO_TARGET_DIR:-$here/../target}/tmp/sheets
if ! [ -e "$sheets/complete" ]; then
    echo "fetching for the tests: openpyxl, openapi-spec-validator, prometheus-client"
    python3 -m venv "$sheets"
    "$sheets/bin/pip" install --quiet openpyxl==3.1.5 openapi-spec-validator==0.9.0 prometheus-client==0.26.0
    touch "$sheets/complete"
fi
