#!/usr/bin/env bash
# scripts/tune-host in a network namespace of its own, so that nothing of this machine is changed: what doctor asks for is set, and every
# value comes back. tune-host.sh LOADGEN. Needs root; says when it has to be skipped.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../.." && pwd)
if [ "${1:-}" != inside ]; then
    if [ "$(id -u)" != 0 ] || ! unshare --net sysctl -q -w net.core.somaxconn=128 >/dev/null 2>&1; then
        echo "   skipped: a network namespace with settings of its own needs root"
        exit
    fi
    TIDEMARK_LOADGEN=$(realpath "$1") TIDEMARK_TUNED=$(mktemp -u) exec unshare --net bash "${BASH_SOURCE[0]}" inside
fi

value() { tr -s '[:blank:]' ' ' <"/proc/sys/$1"; }
expect() {
    if [ "$2" != "$3" ]; then
        printf 'tune-host: %s: expected "%s", found "%s"\n' "$1" "$3" "$2" >&2
        exit 1
    fi
}
# A machine on which doctor still finds something that must be fixed ends with 4, and has been tuned as far as it goes.
tuned() { "$root/scripts/tune-host" "$@" || [ $? = 4 ]; }

sysctl -q -w net.core.somaxconn=128 net.ipv4.tcp_syncookies=0 net.ipv4.tcp_max_syn_backlog=64
before=$(value net/ipv4/ip_local_port_range)
log=$(tuned 20000)
expect somaxconn "$(value net/core/somaxconn)" 4096
expect tcp_max_syn_backlog "$(value net/ipv4/tcp_max_syn_backlog)" 4096
expect "the log" "$(grep -c 'net.core.somaxconn: 128 -> 4096' <<<"$log")" 1

# Tuned twice, the values to go back to are still the first.
sysctl -q -w net.core.somaxconn=200
tuned 20000 >/dev/null
log=$(tuned --revert)
expect "the log" "$(grep -c 'net.core.somaxconn: 4096 -> 128' <<<"$log")" 1
expect somaxconn "$(value net/core/somaxconn)" 128
expect tcp_max_syn_backlog "$(value net/ipv4/tcp_max_syn_backlog)" 64
expect ip_local_port_range "$(value net/ipv4/ip_local_port_range)" "$before"
expect "a second revert" "$(tuned --revert)" "nothing has been changed"
expect "a number that is none" "$("$root/scripts/tune-host" many 2>&1 || echo "exit $?")" "error: 'many' is no number of connections
exit 2"
