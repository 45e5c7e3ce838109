#!/usr/bin/env bash
# What the other checks need, and what it is.
set -euo pipefail
cargo --version
cargo fmt --version || rustup component add rustfmt
cargo clippy --version || rustup component add clippy
for tool in sh stty seq head cksum; do
    command -v "$tool" > /dev/null || { echo "the tests need $tool, from coreutils" >&2; exit 1; }
done
