#!/usr/bin/env bash
# The hot operations take no more instructions than benches/instructions.txt allows, where valgrind can be had.
set -euo pipefail
bounds=benches/instructions.txt
# Two runs of different length: what only the longer one does is the operation.
short=2000
long=4000

if ! command -v valgrind > /dev/null && ! { apt-get install -y valgrind > /dev/null 2>&1 || sudo -n apt-get install -y valgrind > /dev/null 2>&1; }; then
    echo "not checked: valgrind is not installed, and could not be"
    exit 0
fi

binary=$(cargo bench --locked --no-run --bench instructions 2>&1 | sed -n 's/.*(\(.*instructions-[0-9a-f]*\)).*/\1/p')
[ -x "$binary" ] || { echo "cargo did not say where the benchmark is" >&2; exit 1; }
counted() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

failed=0
printf '%-20s %12s %12s\n' operation instructions bound
while read -r operation bound; do
    count=$((($(counted "$operation" "$long") - $(counted "$operation" "$short")) / (long - short)))
    printf '%-20s %12d %12d\n' "$operation" "$count" "$bound"
    [ "$count" -le "$bound" ] || failed=1
done < <(grep -v '^#' "$bounds")
if [ "$failed" = 1 ]; then
    echo "an operation takes more instructions than its bound: find what made it slower, or, if it is worth its price," >&2
    echo "raise the bound in $bounds and say why in the commit" >&2
    exit 1
fi
