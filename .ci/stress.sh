#!/usr/bin/env bash
# Half a minute of the scenarios that take as long as told, in release mode. Longer: see CONTRIBUTING.md.
set -euo pipefail
cargo test --locked --release --test stress -- registry soak 15s
