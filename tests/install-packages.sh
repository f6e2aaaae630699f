#!/bin/sh
# Installs Debian packages, and leaves no daemon of theirs running or enabled: whoever needs one starts it,
# on a free port.
#
# usage: install-packages.sh WHAT-FOR PACKAGE...
set -eu

what_for=$1
shift
echo "installing for $what_for: $*"

if ! command -v apt-get >/dev/null 2>&1; then
    echo "this is no Debian; install these by hand: $*" >&2
    exit 1
fi
as_root=''
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "neither root nor sudo; run as root: apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
    as_root=sudo
fi

# Debian starts a daemon as soon as it is installed, unless this file says no; most would take port 53.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"

# Nor at the next boot.
for package in "$@"; do
    for service in $(dpkg -L "$package" | sed -n 's,^/etc/init\.d/,,p'); do
        $as_root update-rc.d "$service" disable >/dev/null 2>&1 || true
    done
    command -v systemctl >/dev/null 2>&1 || continue
    for unit in $(dpkg -L "$package" | sed -n 's,^\(/usr\)\{0\,1\}/lib/systemd/system/\([^/]*\.service\)$,\2,p'); do
        $as_root systemctl disable "$unit" >/dev/null 2>&1 || true
    done
done
