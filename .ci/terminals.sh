#!/usr/bin/env bash
# The tests of tests/terminals, whole: 8 cuts of each recording, or as many as are asked for, and every row of the table left
# in each way, judged by xterm.js and libvterm as well. Takes some minutes.
#
#   bash .ci/terminals.sh [CUTS] [PART OF A RECORDING'S NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
install() {
    apt-get update > /dev/null && apt-get install -y --no-install-recommends "$@" > /dev/null
}
command -v npm > /dev/null || install nodejs npm
command -v python3 > /dev/null || install python3
ldconfig -p | grep -q libvterm.so.0 || install libvterm0

target=${CARGO_TARGET_DIR:-target}/terminals
mkdir -p "$target"
cp tests/terminals/package.json tests/terminals/package-lock.json "$target"
npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund
[ -z "${2:-}" ] || export FUGUE_RECORDINGS=$2
FUGUE_CUTS=${1:-8} cargo test --locked --test main terminals:: -- --nocapture --test-threads 1 --skip cli:: --skip server::
