#!/usr/bin/env bash
# The packages are built, and what is in them works where they are installed: the .deb in a new, bare Debian, the .rpm in a
# directory. The other recipes are only parsed. What a tool is missing for, and can't be had, is not checked.
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
# Unoptimized: they take longer to compile than to run.
for tool in cargo-deb@3.8.0 cargo-generate-rpm@0.21.1; do
    command -v "${tool%@*}" > /dev/null || CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug --quiet "$tool"
done

cargo build --locked --release
bash packaging/assets.sh
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

cargo deb --no-build --no-strip --output "$place/fugue-server.deb"
dpkg-deb --fsys-tarfile "$place/fugue-server.deb" | tar -t | sed -n 's,^\./\(.*[^/]\)$,/\1,p' > "$place/files"
if ! unshare --mount --pid --fork true; then
    echo "not checked: what is installed in a bare Debian, which needs the right to mount"
elif has debootstrap debootstrap; then
    debootstrap --variant=minbase --include=bash-completion,man-db,systemd \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$place/root" > "$place/log" ||
        { tail "$place/log" >&2; exit 1; }
    cp "$place/fugue-server.deb" .ci/installed.sh "$place/root"
    # Its mounts and processes end with it.
    unshare --mount --pid --fork --kill-child bash -euc "
        mount -t proc proc '$place/root/proc'
        mount -t devpts -o newinstance,ptmxmode=0666 devpts '$place/root/dev/pts'
        chroot '$place/root' bash /installed.sh $version"
fi

if has rpm rpm; then
    cargo generate-rpm --output "$place/fugue-server.rpm"
    rpm --root "$place/rpm" --nodeps --install "$place/fugue-server.rpm"
    "$place/rpm/usr/bin/fugue-server" --version | grep -Fx "fugue-server $version"
    # Each has its own place for licences, documents and zsh's functions.
    elsewhere='/usr/share/\(doc\|licenses\)/'
    diff <(sed s,/vendor-completions/,/site-functions/, "$place/files" | grep -v "$elsewhere" | sort) \
        <(rpm -qlp "$place/fugue-server.rpm" | grep -v "$elsewhere" | sort)
    [ "$(rpm -qlp "$place/fugue-server.rpm" | grep -c '/licenses/.*\(LICENSE-\|libraries\)')" = 3 ]
fi

for recipe in packaging/homebrew/fugue-server.rb packaging/aur/PKGBUILD; do
    grep -q "$version" "$recipe" || { echo "$recipe is not of version $version" >&2; exit 1; }
done
bash -n packaging/aur/PKGBUILD
if has ruby ruby; then ruby -c packaging/homebrew/fugue-server.rb; fi
if has nix-instantiate nix-bin; then nix-instantiate --parse packaging/nix/package.nix > /dev/null; fi
