#!/usr/bin/env bash
# The README's test command, and the registry's tests without the server.
set -euo pipefail
cargo test --locked
cargo test --locked --no-default-features
