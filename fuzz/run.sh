#!/usr/bin/env bash
# Runs every fuzz target, or those named, for a while each; ends non-zero at the first crash.
#
#   SECONDS=30 fuzz/run.sh [TARGET …]
#
# What is found on the way is kept in fuzz/target/corpus, outside of git; fuzz/corpus holds the seeds
# alone. The sanitizer needs flags of the unstable compiler, which RUSTC_BOOTSTRAP unlocks.
set -euo pipefail
# Bash counts on from the value it was started with, which was 0 unless one was given.
each=$SECONDS
[ "$each" -gt 0 ] || each=30
cd "$(dirname "$0")/.."

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(query response feed image segment config host recursion validate proxy doh zone tsig transfer bundle workbook frames landing rows hello leases letter multipart openid sheets console_form)
fi

export RUSTC_BOOTSTRAP=1
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

for target in "${targets[@]}"; do
    grown=fuzz/target/corpus/$target
    mkdir -p "$grown"
    options=(-max_total_time="$each" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256)
    options+=(-print_final_stats=1)
    if [ -f "fuzz/dictionaries/$target.dict" ]; then
        options+=(-dict="fuzz/dictionaries/$target.dict")
    fi
    echo "== $target, $each s"
    # One codegen unit, the default, keeps a machine's other cores idle while it builds.
    if ! cargo fuzz run --codegen-units 16 "$target" "$grown" "fuzz/corpus/$target" -- "${options[@]}"; then
        echo "== $target crashed. The input is in fuzz/artifacts/$target. To see it again:" >&2
        echo "   RUSTC_BOOTSTRAP=1 cargo fuzz run $target fuzz/artifacts/$target/FILE" >&2
        echo "   Every crash becomes a test beside the code that it found wrong." >&2
        exit 1
    fi
done
