#!/usr/bin/env bash
# Format, lints, and documentation, with warnings denied.
set -euo pipefail
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
