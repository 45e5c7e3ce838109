#!/usr/bin/env bash
# The dependencies are what deny.toml allows: licences, sources and bans, or what is asked for, such as advisories, which
# needs the advisory database from the network. Where cargo-deny is not installed, nothing is checked: it takes minutes
# to build, and the workflow has it.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v cargo-deny > /dev/null; then
    echo "not checked: cargo-deny is not installed (cargo install --locked cargo-deny)"
    exit 0
fi
[ $# -gt 0 ] || set -- bans licenses sources
cargo deny --locked check "$@"
