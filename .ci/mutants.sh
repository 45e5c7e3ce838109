#!/usr/bin/env bash
# How many of a seeded sample of mutants of registry, session, server and wire the tests catch. Not part of .ci/run: it takes
# about half a minute for each.
#
#   bash .ci/mutants.sh SEED COUNT
#
# Each mutant meets the quick tests beside the code first; if it survives those, the tests of the registry and of the server;
# then all others but the long runs. What survives all is listed.
set -euo pipefail
cd "$(dirname "$0")/.."
seed=${1:?which seed} count=${2:?how many mutants}
for tool in cargo-mutants cargo-nextest; do
    command -v "$tool" > /dev/null || { echo "needs $tool: cargo install --locked $tool" >&2; exit 1; }
done

output=${CARGO_TARGET_DIR:-target}/mutants
# Each job builds in its own copy of the tree.
unset CARGO_TARGET_DIR
rm -rf "$output" && mkdir -p "$output" && : > "$output/unviable"
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0

# A test that is killed because its time is over leaves its servers behind, and a mutant of a server may take a whole core.
mkdir -p "$output/builds" && TMPDIR=$(realpath "$output/builds") && export TMPDIR
while sleep 30; do
    for pid in $(pgrep -x fugue-server || true); do
        [[ $(readlink "/proc/$pid/exe") == "$TMPDIR"/* && $(ps -o etimes= -p "$pid" || echo 0) -gt 200 ]] && kill -KILL "$pid"
    done
done 2> "$output/left-behind" &
trap "kill $!" EXIT

common=(--baseline skip --test-tool nextest --colors never --no-shuffle -j "${JOBS:-1}")
of=(-f 'src/registry/**' -f src/registry.rs -f 'src/session/**' -f src/session.rs -f 'src/server/**' -f src/server.rs
    -f 'src/wire/**' -f src/wire.rs -e '**/tests.rs' -e '**/tests/**' -e '**/models*' -e '**/fuzz.rs' -e '**/machine.rs' -e '**/compare.rs')
cargo mutants --list "${of[@]}" > "$output/all"
# The same seed gives the same order.
shuf --random-source=<(yes "$seed") -n "$count" -o "$output/sample" "$output/all"
echo "$(wc -l < "$output/sample") of $(wc -l < "$output/all") mutants"

# Runs the mutants of a list against some tests; those that survive are the next list.
run() { # list, survivors, seconds that are enough for the tests, tests
    local list=$1 survivors=$2 seconds=$3; shift 3
    : > "$survivors"
    [ -s "$list" ] || return 0
    local these=()
    while read -r mutant; do
        # The place may have moved by other lines; the name is what it is known by.
        these+=(-F "^$(printf '%s' "$mutant" | sed 's/[][\.*^$+?(){}|/]/\\&/g')\$")
    done < "$list"
    cargo mutants "${of[@]}" "${these[@]}" "${common[@]}" --timeout "$seconds" --output "$output" -- "$@" || true
    # Mutants that delete a field are run whatever names were asked for; those that were not drawn do not count.
    grep -Fxf "$list" "$output/mutants.out/missed.txt" > "$survivors" || true
    grep -Fxf "$list" "$output/mutants.out/unviable.txt" >> "$output/unviable" || true
}
run "$output/sample" "$output/survived-1" 150 --lib -E 'not (test(/^(cli|terminal)::/) + test(fuzz::))'
run "$output/survived-1" "$output/survived-2" 400 --test main --test alloc -E 'binary(alloc) + test(/^(registry|server)::/)'
run "$output/survived-2" "$output/survived" 1200 --lib --test main -E 'not test(/^(registry|server)::/)'
viable=$(($(wc -l < "$output/sample") - $(sort -u "$output/unviable" | wc -l)))
missed=$(wc -l < "$output/survived")
echo "caught $((viable - missed)) of $viable that compile ($(((viable - missed) * 1000 / viable)) per mille); survivors:"
cat "$output/survived"
