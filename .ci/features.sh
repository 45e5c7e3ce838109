#!/usr/bin/env bash
# Each set of features builds without warnings (lint.sh has the default, web.sh has `web`, which needs npm), and the registry
# alone depends on its own packages only.
set -euo pipefail
for features in "" server cli; do
    cargo clippy --locked --no-default-features --features "$features" --all-targets -- -D warnings
done

expected="ahash bytes crossbeam-utils smallvec thiserror tokio tracing uuid"
found=$(cargo tree --locked --no-default-features --edges normal --depth 1 --prefix none |
    tail -n +2 | cut -d' ' -f1 | sort | xargs)
if [ "$found" != "$expected" ]; then
    echo "the registry alone should depend on: $expected" >&2
    echo "but it depends on:                   $found" >&2
    exit 1
fi
