#!/bin/sh
# Installs what the tests run besides our own binary. Does nothing when all of it is there, and never
# leaves a daemon running or enabled: the tests start theirs, on free ports.
set -eu

# A command that the tests call, and the Debian packages that bring it.
missing=''
need() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need cc 'gcc libc6-dev'
need dig bind9-dnsutils
need ldns-signzone ldnsutils
need nsd nsd

[ -n "$missing" ] || exit 0
echo "installing for the tests:$missing"

if ! command -v apt-get >/dev/null 2>&1; then
    echo "this is no Debian; install these by hand:$missing" >&2
    exit 1
fi
as_root=''
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "neither root nor sudo; run as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

# Debian starts a daemon as soon as it is installed, unless this file says no; NSD would take port 53.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing

case " $missing " in
*' nsd '*)
    # Nor at the next boot.
    $as_root update-rc.d nsd disable >/dev/null 2>&1 || true
    ;;
esac
