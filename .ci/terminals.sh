#!/usr/bin/env bash
# What late joiners see, against xterm.js at 50 cuts of each recording, and that every row of the table is undone: the tests
# of tests/terminals, whole. Takes some minutes.
set -euo pipefail
cuts=${1:-50}
if ! command -v npm > /dev/null; then
    apt-get update > /dev/null
    apt-get install -y --no-install-recommends nodejs npm > /dev/null
fi
target=${CARGO_TARGET_DIR:-target}/terminals
mkdir -p "$target"
cp tests/terminals/package.json tests/terminals/package-lock.json "$target"
npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund
FUGUE_CUTS=$cuts cargo test --locked --test main terminals:: -- --nocapture --test-threads 1 --skip cli:: --skip server::
