#!/usr/bin/env bash
# The README's test command, and the registry's tests without the server. With Debian's openssh-server, if it can be had:
# without it the tests over ssh say that they were not shown.
set -euo pipefail
if [ ! -x /usr/sbin/sshd ] && command -v apt-get > /dev/null; then
    { apt-get update && apt-get install -y --no-install-recommends openssh-server; } > /dev/null || true
fi
cargo test --locked
cargo test --locked --no-default-features
