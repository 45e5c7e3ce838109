#!/usr/bin/env bash
# The README's first command verifies every byte (of a smaller burst), and the suites against the floor and the peers run,
# with what peers there are. That benchmarks compile, lint.sh has seen.
set -euo pipefail
# With the page where it is, so that the packages have the same build.
features=()
[ ! -d src/web/page/node_modules ] || features=(--features web,nodes)
cargo run --locked --release "${features[@]}" -- bench --bytes 16MiB
cargo run --locked --release "${features[@]}" -- bench --bytes 16MiB --viewers 8 --stalled 4
cargo run --locked --release -p fugue-perf -- registry delivery membership allocations fanout stall echo --quick
