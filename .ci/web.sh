#!/usr/bin/env bash
# The gateway: what its page needs is fetched, it builds without warnings, and its tests pass, and those of the page. It is
# built together with `nodes`, so that nodes.sh has the same build.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v npm > /dev/null ||
    { apt-get update && apt-get install -y --no-install-recommends nodejs npm; } > /dev/null ||
    { echo "not checked: npm is not installed, and could not be"; exit 0; }
npm ci --prefix src/web/page --ignore-scripts --no-audit --no-fund
cargo clippy --locked --features web,nodes --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --features web,nodes
cargo test --locked --features web,nodes --lib -- web:: wire:: fuzz:: cli::
# It judges the rules and the dashboard of packaging/monitoring; without it the test says so.
command -v prometheus > /dev/null || apt-get install -y --no-install-recommends prometheus > /dev/null || true
cargo test --locked --features web,nodes --test web
cargo test --locked --features web,nodes --test main -- cli::usage cli::completing

# The page: its logic, then itself in a browser, with a gateway of the tests' own and with the real one.
node --test tests/web/unit.test.mjs
command -v chromium > /dev/null ||
    { apt-get update && apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } > /dev/null ||
    { echo "not checked: chromium is not installed, and could not be"; exit 0; }
cargo build --locked --features web,nodes
node --test --test-concurrency 1 tests/web/page.test.mjs tests/web/real.test.mjs tests/web/corpus.test.mjs
