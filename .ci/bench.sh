#!/usr/bin/env bash
# The benchmarks compile, and the README's first command verifies every byte (of a smaller burst).
set -euo pipefail
cargo bench --locked --no-run
cargo run --locked --release -- bench --bytes 16MiB
cargo run --locked --release -- bench --bytes 16MiB --viewers 8 --stalled 4
