#!/usr/bin/env bash
# The .deb is built, and what is in it works where it is installed: in a new, bare Debian. The .rpm has the same files; it
# is built and installed too where cargo-generate-rpm is there, or with RPM=1, which builds that tool for some minutes. The
# other recipes are only parsed, where ruby and nix are. It says what is not checked because a tool or a mirror can't be
# had. In .ci/run it is the last, as it takes the release build of those before it.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(realpath -m "${CARGO_TARGET_DIR:-target}")/packages
rm -rf "$place" && mkdir -p "$place"
trap 'rm -rf "$place"' EXIT

apt-get update > /dev/null || true
has() { # command, Debian's package
    command -v "$1" > /dev/null || apt-get install -y --no-install-recommends "$2" > /dev/null && return
    echo "not checked: $1 is not installed, and could not be"
    return 1
}
has_tool() { # Unoptimized: they take longer to compile than to run.
    command -v "${1%@*}" > /dev/null || CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug --quiet "$1"
}

has_tool cargo-deb@3.8.0 || { echo "not checked: cargo-deb is not installed, and could not be"; exit 0; }
# With the page, so that what `share` prints opens. It is what bench.sh has built.
has npm npm || { echo "not checked: packages, as they have a page in them"; exit 0; }
[ -d src/web/page/node_modules ] || npm ci --prefix src/web/page --ignore-scripts --no-audit --no-fund
cargo build --locked --release --features web,nodes
bash packaging/assets.sh
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

cargo deb --no-build --no-strip --output "$place/fugue-server.deb"
dpkg-deb --fsys-tarfile "$place/fugue-server.deb" | tar -t | sed -n 's,^\./\(.*[^/]\)$,/\1,p' > "$place/files"

# A bare Debian of this machine's version; false where it can't be had from the mirror. All other failures are failures.
bare_debian() {
    local debian=(--variant=minbase --include=bash-completion,man-db,systemd
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$place/root")
    debootstrap --download-only "${debian[@]}" > "$place/log" 2>&1 || {
        tail "$place/log" >&2
        grep -Eq 'Failed getting release file|Cannot retrieve|Couldn.t (download|retrieve)' "$place/log" || exit 1
        echo "not checked: what is installed in a bare Debian, which its mirror does not give"
        return 1
    }
    debootstrap "${debian[@]}" > "$place/log" 2>&1 || { tail "$place/log" >&2; exit 1; }
}

if ! grep -qx ID=debian /etc/os-release || ! unshare --mount --pid --fork true; then
    echo "not checked: what is installed in a bare Debian, which needs Debian and the right to mount"
elif has debootstrap debootstrap && bare_debian; then
    cp "$place/fugue-server.deb" .ci/installed.sh "$place/root"
    # Its mounts and processes end with it.
    unshare --mount --pid --fork --kill-child bash -euc "
        mount -t proc proc '$place/root/proc'
        mount -t devpts -o newinstance,ptmxmode=0666 devpts '$place/root/dev/pts'
        chroot '$place/root' bash /installed.sh $version"
fi

# Each has its own place for licences, documents and zsh's functions.
elsewhere='/usr/share/\(doc\|licenses\)/'
of_deb() { sed s,/vendor-completions/,/site-functions/, "$place/files" | grep -v "$elsewhere" | sort; }
diff <(of_deb) <(python3 .ci/rpm_files.py | grep -v "$elsewhere" | sort)
if [ "${RPM:-}" = 1 ]; then has rpm rpm && has_tool cargo-generate-rpm@0.21.1; fi
if ! command -v cargo-generate-rpm > /dev/null; then
    echo "not checked: the .rpm itself; RPM=1 builds what it takes"
elif command -v rpm > /dev/null; then
    cargo generate-rpm --output "$place/fugue-server.rpm"
    rpm --root "$place/rpm" --nodeps --install "$place/fugue-server.rpm"
    "$place/rpm/usr/bin/fugue-server" --version | grep -Fx "fugue-server $version"
    for command in web node; do "$place/rpm/usr/bin/fugue-server" "$command" --help > /dev/null; done
    diff <(of_deb) <(rpm -qlp "$place/fugue-server.rpm" | grep -v "$elsewhere" | sort)
    [ "$(rpm -qlp "$place/fugue-server.rpm" | grep -c '/licenses/.*\(LICENSE-\|libraries\)')" = 3 ]
fi

for recipe in packaging/homebrew/fugue-server.rb packaging/aur/PKGBUILD; do
    grep -q "$version" "$recipe" || { echo "$recipe is not of version $version" >&2; exit 1; }
done
bash -n packaging/aur/PKGBUILD
if command -v ruby > /dev/null; then ruby -c packaging/homebrew/fugue-server.rb; fi
if command -v nix-instantiate > /dev/null; then nix-instantiate --parse packaging/nix/package.nix > /dev/null; fi
