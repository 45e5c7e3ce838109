#!/usr/bin/env bash
# The benchmarks compile, the README's first command verifies every byte (of a smaller burst), and the suites against the
# floor and the peers run, with what peers there are.
set -euo pipefail
cargo bench --locked --no-run
cargo run --locked --release -- bench --bytes 16MiB
cargo run --locked --release -- bench --bytes 16MiB --viewers 8 --stalled 4
cargo run --locked --release -p fugue-perf -- registry delivery membership allocations fanout stall echo --quick
