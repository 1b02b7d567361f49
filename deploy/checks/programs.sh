# shellcheck shell=bash
# Both programs in containers, under load: what they may do, and how they end. Sourced by scripts/containers.
: "${work:?is set by scripts/containers}"

state_of() { docker inspect --format "$2" "$1"; }
healthy() { [ "$(state_of "$1" '{{.State.Health.Status}}')" = healthy ]; }
exited_with() { [ "$(state_of "$1" '{{.State.Status}} {{.State.ExitCode}}')" = "exited $2" ]; }

# Of the process itself, and not of what was asked for.
status_field() { inside sh -c "sed -n 's/^$2:[[:space:]]*//p' /proc/$(state_of "$1" '{{.State.Pid}}')/status"; }
runs_unprivileged() {
    [ "$(status_field "$1" Uid | cut -f1)" = "$IMAGE_USER" ] && [ "$(status_field "$1" CapBnd)" = 0000000000000000 ] &&
        [ "$(status_field "$1" CapEff)" = 0000000000000000 ] && [ "$(status_field "$1" NoNewPrivs)" = 1 ]
}
root_is_read_only() { inside sh -c "grep -E '^[^ ]+ / [^ ]+ ro,' /proc/$(state_of "$1" '{{.State.Pid}}')/mounts"; }
check_hardened() {
    check "$1: no root, no capability, no new privileges" runs_unprivileged "$2"
    check "$1: the root is read-only" root_is_read_only "$2"
}

hardened=(--read-only --cap-drop ALL --security-opt no-new-privileges)

# metric NAME: of the server that is published on the engine's loopback.
metric() { inside curl --silent --fail http://127.0.0.1:9464/metrics | sed -n "s/^$1 //p"; }
under_load() { [ "$(metric tidemark_connections_open)" = 100 ] && [ "$(metric tidemark_sent_bytes_total)" -gt 100000 ]; }

check_programs() {
    docker run --detach --name server "${hardened[@]}" --publish 127.0.0.1:9464:9464 tidemark-server:dev >/dev/null
    check "server: the health check turns healthy" within 30 healthy server
    check_hardened server server
    docker run --detach --name loadgen "${hardened[@]}" --network container:server --tmpfs "/results:uid=$IMAGE_USER" \
        tidemark-loadgen:dev run tcp://127.0.0.1:7000 --connections 100 --rate 2000 --duration 10m --warmup 0s \
        --output /results --json - --live off >/dev/null
    check "loadgen: puts load on the server" within 30 under_load
    check_hardened loadgen loadgen
    docker stop --time 30 server >/dev/null
    docker logs server >"$work/server.log" 2>&1
    check "server: SIGTERM under load drains, nothing is cut off, and the exit code is 0" exited_with server 0
    docker stop --time 30 loadgen >/dev/null
    docker logs loadgen >"$work/loadgen.json" 2>"$work/loadgen.log"
    check "loadgen: its signal ends the run with a report, and the exit code is 3" exited_with loadgen 3
    check "loadgen: the report names the interruption" \
        jq --exit-status '[.verdict.reasons[].check] | index("ended") != null' "$work/loadgen.json"
    check "loadgen: every reply that came was whole" \
        jq --exit-status '.populations[0] | (.errors | has("wrong_reply") | not) and .arrivals.completed > 0' "$work/loadgen.json"
    docker rm server loadgen >/dev/null
}
