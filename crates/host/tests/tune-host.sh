#!/usr/bin/env bash
# scripts/tune-host in a network namespace of its own, with a doctor that asks for settings of that alone, so that nothing of this
# machine is changed: what is asked for is set, and every value comes back. Ends with 77 where there is no such namespace.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] && unshare --net sysctl -q -w net.core.somaxconn=128 >/dev/null 2>&1 || exit 77
    exec unshare --net bash "${BASH_SOURCE[0]}" inside
fi

files=$(mktemp -d)
trap 'rm -r "$files"' EXIT
export TIDEMARK_LOADGEN=$files/doctor TIDEMARK_TUNED=$files/tuned
cat >"$TIDEMARK_LOADGEN" <<'END'
#!/bin/sh
case "$*" in
    *--sysctl*)
        echo "net.core.somaxconn = 4096"
        echo "net.ipv4.ip_local_port_range = 1024 65535"
        echo "net.ipv4.no_such_setting = 1"
        exit 4
        ;;
    *) echo "the table of doctor" ;;
esac
END
chmod +x "$TIDEMARK_LOADGEN"

value() { tr -s '[:blank:]' ' ' <"/proc/sys/$1"; }
expect() {
    if [ "$2" != "$3" ]; then
        printf 'tune-host: %s: expected "%s", found "%s"\n' "$1" "$3" "$2" >&2
        exit 1
    fi
}
tune_host() { "$root/scripts/tune-host" "$@" 2>/dev/null || echo "exit $?"; }

sysctl -q -w net.core.somaxconn=128
before=$(value net/ipv4/ip_local_port_range)
expect "the log" "$(tune_host 20000)" "net.core.somaxconn: 128 -> 4096
net.ipv4.ip_local_port_range: $before -> 1024 65535
net.ipv4.no_such_setting: there is no such setting here

the table of doctor
exit 4"
expect somaxconn "$(value net/core/somaxconn)" 4096

# Tuned twice, the values to go back to are still the first.
sysctl -q -w net.core.somaxconn=200
tune_host 20000 >/dev/null
expect "the log" "$(tune_host --revert)" "net.ipv4.ip_local_port_range: 1024 65535 -> $before
net.core.somaxconn: 4096 -> 128"
expect somaxconn "$(value net/core/somaxconn)" 128
expect ip_local_port_range "$(value net/ipv4/ip_local_port_range)" "$before"
expect "a second revert" "$(tune_host --revert)" "nothing has been changed"
expect "a number that is none" "$(tune_host many)" "exit 2"
