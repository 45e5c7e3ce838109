#!/usr/bin/env bash
# The models of registry and sessions keep their promises: under loom in every interleaving with up to three preemptions,
# under shuttle in 2,000 random schedules each. For longer, see CONTRIBUTING.
#
#   bash .ci/models.sh [loom|shuttle] [part of a model's name]
set -euo pipefail
cd "$(dirname "$0")/.."
# Flags of their own mean artifacts of their own, beside those of other builds.
target=${CARGO_TARGET_DIR:-target}/models
export CARGO_PROFILE_DEV_DEBUG=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

for checker in ${1:-loom shuttle}; do
    RUSTFLAGS="--cfg fugue_model --cfg fugue_$checker" CARGO_TARGET_DIR="$target/$checker" \
        cargo test --locked --no-default-features --features server --lib "${2:-models::}" -- --nocapture |
        tee "$output"
    awk -v checker="$checker" '
        match($0, /[0-9]+ (interleavings|schedules)/) {
            split(substr($0, RSTART, RLENGTH), found, " ")
            models += 1; total += found[1]; what = found[2]
        }
        END {
            if (!models) { print "no model ran under " checker > "/dev/stderr"; exit 1 }
            print checker ": " models " models, " total " " what
        }' "$output"
done
