#!/usr/bin/env bash
# What must hold in a bare root where the .deb is installed: its pages, completion at a terminal, and that it goes without a
# trace. packages.sh runs it there.
set -euo pipefail
version=${1:?which version}
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
dpkg --install /fugue-server.deb
fugue-server --version | grep -Fx "fugue-server $version"

for page in fugue-server fugue-server-attach fugue-server-config-check; do
    man "$page" | grep -A 3 '^NAME' | grep -F "$page"
done
man fugue-server-attach | grep -F -e --on-lag

useradd --create-home --shell /bin/bash tester
# As that user: a bash in a session of ours is typed to, and Tab completes another session's name.
runuser --login tester <<'TYPED'
set -euo pipefail
export FUGUE_SOCKET=$HOME/fugue/server.sock
fugue-server new workshop -d -- sleep 1000 < /dev/null
fugue-server new shell -d -- bash -i < /dev/null
fugue-server wait shell --timeout 60s --for '$ '
printf 'fugue-server kill work' | fugue-server send shell
fugue-server send shell --keys Tab
fugue-server wait shell --timeout 60s --for 'kill workshop'
fugue-server send shell --keys Enter
fugue-server wait workshop --timeout 60s || [ $? = 129 ]
fugue-server list

# A link opens: its page, and what that loads, are in the package.
fugue-server web --help > /dev/null
link=$(fugue-server share shell)
place=${link#http://} place=${place%%/*}
get() {
    exec 3<> "/dev/tcp/${place%:*}/${place##*:}"
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "$place" >&3
    tr -d '\0' <&3
}
get /s/ | grep -F '<title>'
get /assets/xterm.js | grep -a 'HTTP/1.1 200'
fugue-server stop
TYPED

fugue-server node permissions dev | grep -F fugue.v1.main.rd

# Warnings are failures, and a page that a unit names has to be there.
units=(/usr/lib/systemd/user/fugue-server{.service,.socket,-node.service})
[ -z "$(XDG_RUNTIME_DIR=/run systemd-analyze --user --man=yes verify "${units[@]}" 2>&1 | tee /dev/stderr)" ]

dpkg --purge fugue-server
left=$(find /usr /etc /var/lib/systemd -name '*fugue*')
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
