#!/usr/bin/env bash
# Makes what packages have beside the repository's own files: the binary without debug information, manual pages, what
# shells complete with, and the licences of what is compiled in. Cargo.toml says where each of them goes.
#
#   cargo build --locked --release && bash packaging/assets.sh [BINARY]      # into target/assets
#
# BINARY is run, so it is one for this machine. By default it is the release build. What is compiled in is what it takes
# with the features `web` and `nodes`, as far as BINARY has them.
set -euo pipefail
binary=$(realpath "${1:-${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/release/fugue-server}")
cd "$(dirname "$0")/.."
assets=target/assets
rm -rf "$assets"
mkdir -p "$assets/bin" "$assets/man" "$assets/completions"

strip -o "$assets/bin/fugue-server" "$binary"
"$binary" man "$assets/man" > /dev/null
gzip -9n "$assets"/man/*.1
"$binary" completions bash > "$assets/completions/fugue-server"
"$binary" completions zsh > "$assets/completions/_fugue-server"
"$binary" completions fish > "$assets/completions/fugue-server.fish"
"$binary" completions nushell > "$assets/completions/fugue-server.nu"

# Debian's form: one file that says whose it all is, and on which terms.
{
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: fugue-server\n\n'
    printf 'Files: *\n'
    sed -n 's/^Copyright (c) /Copyright: /p' LICENSE-MIT
    printf 'License: MIT or Apache-2.0\n'
    printf 'Comment: libraries.gz beside this file has the licences of what is compiled in.\n\nLicense: MIT\n'
    sed '1,/^Copyright/d; /./,$!d; s/^/ /; s/^ $/ ./' LICENSE-MIT | sed '1{/^ \.$/d}'
    printf '\nLicense: Apache-2.0\n On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0.\n'
} > "$assets/copyright"

features=()
for feature in web:web node:nodes; do
    ! "$binary" "${feature%:*}" --help > /dev/null 2>&1 || features+=(--features "${feature#*:}")
done

# A library's own files, wherever cargo keeps its sources: in its registry, or where somebody vendored them.
of_crates() {
    manifests=$(cargo metadata --locked --format-version 1 "${features[@]}" | grep -o '"manifest_path":"[^"]*"' | cut -d'"' -f4)
    cargo tree --locked "${features[@]}" --edges normal,no-proc-macro --prefix none --format '{p}|{l}' |
        sed 's/ (\*)$//' | sort -u |
        while IFS='|' read -r package terms; do
            read -r name version _ <<< "$package"
            [ "$name" != fugue-server ] || continue
            printf '== %s %s: %s\n\n' "$name" "${version#v}" "$terms"
            sources=$(grep -m 1 -F -e "/$name-${version#v}/Cargo.toml" <<< "$manifests" ||
                grep -m 1 -F -e "/$name/Cargo.toml" <<< "$manifests")
            texts=$(find "$(dirname "$sources")" -maxdepth 1 -type f -iregex '.*/\(licen[cs]e\|copying\|notice\|unlicense\).*' | sort)
            # Of several to choose from, MIT's is the shortest.
            if [[ $terms == *MIT* && $texts == *MIT* ]]; then
                texts=$(grep MIT <<< "$texts")
            fi
            [ -z "$texts" ] || xargs -d '\n' cat <<< "$texts"
            printf '\n\n'
        done
}
of_page() {
    for package in src/web/page/node_modules/@xterm/{xterm,addon-unicode11}; do
        version=$(sed -n 's/^ *"version": "\(.*\)".*/\1/p' "$package/package.json")
        printf '== @xterm/%s %s: MIT\n\n' "${package##*/}" "$version"
        cat "$package/LICENSE"
        printf '\n\n'
    done
}
{ of_crates && { [[ " ${features[*]} " != *" web "* ]] || of_page; }; } > "$assets/libraries"
gzip -9n "$assets/libraries"
