#!/usr/bin/env bash
# With musl, the tests of what the C library has a part in pass: processes, terminals, signals, users, sockets, files. The
# registry compiles for FreeBSD and macOS; what the rest would take is in ARCHITECTURE.md. A target whose standard library
# can't be had is left out.
#
#   bash .ci/portable.sh [part of a test's name ...]     with musl, in place of the tests chosen here
set -euo pipefail
cd "$(dirname "$0")/.."
has() {
    rustup target add "$1" 2> /dev/null && return
    echo "not checked: rustup can't add the target $1"
    return 1
}

for system in x86_64-unknown-freebsd x86_64-apple-darwin; do
    if has "$system"; then
        cargo check --locked --no-default-features --target "$system"
    fi
done

musl=$(uname -m)-unknown-linux-musl
has "$musl" || exit 0
# A development dependency has a few lines of C.
command -v musl-gcc > /dev/null ||
    { apt-get update && apt-get install -y --no-install-recommends musl-tools; } > /dev/null ||
    { echo "not checked: musl-gcc is not installed, and could not be"; exit 0; }
[ $# -gt 0 ] || set -- session:: server::listener message::settings server::programs server::new_terminals server::security \
    server::connections server::endings server::input server::shutdown server::hostile cli::lifecycle cli::leaving \
    cli::surroundings cli::nesting cli::inside cli::security cli::new_terminals cli::finding cli::recording
CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 cargo test --locked --target "$musl" --lib --test main -- "$@"
