# shellcheck shell=bash
# docker-compose: the whole stack, the verdict as its exit code, and every expression on its Prometheus. Sourced by
# scripts/containers.
: "${work:?is set by scripts/containers}"

compose() { docker-compose --project-name tidemark "${compose_files[@]}" "$@"; }
# run_until PROGRAM LOG SERVICE...: the exit code is that of PROGRAM.
run_until() { compose up --no-build --exit-code-from "$1" "${@:3}" >"$work/$2.log" 2>&1; }

# A limit on open files that this host can give, and the override's sysctls if it lets a container set them.
choose_compose_files() {
    compose_files=(--file docker-compose.yml --file docker-compose.override.yml)
    NOFILE=$(ulimit -Hn)
    export NOFILE PROMETHEUS_IMAGE=tidemark-standin/prometheus:latest
    if ! docker run --rm --sysctl net.core.somaxconn=65535 --sysctl net.ipv4.ip_local_port_range='1024 65535' \
        --ulimit "nofile=$NOFILE" tidemark-server:dev --version >"$work/sysctl.log" 2>&1; then
        skip "docker-compose.override.yml, because this host forbids a container its sysctls: $(tail -1 "$work/sysctl.log")"
        compose_files=(--file docker-compose.yml)
    fi
}

# prometheus_says EXPRESSION: it gives a series.
prometheus_says() {
    inside curl --silent --fail --get http://127.0.0.1:9090/api/v1/query --data-urlencode "query=$1" |
        jq --exit-status '.data.result | length >= 1'
}
report_file() { echo "$(docker volume inspect --format '{{.Mountpoint}}' tidemark_results)/latest/report.json"; }
# The report of the last run, from the volume.
report() { jq --raw-output "$1" "$(report_file)"; }
# 0 for a valid run and 3 for one that cannot be trusted, as on a machine that is too busy: both are honest.
verdict_is_the_exit_code() {
    case $(report .verdict.valid) in
        true) [ "$1" = 0 ] ;;
        false) [ "$1" = 3 ] ;;
        *) return 1 ;;
    esac
}
counted_everything() { report '.populations[] | .arrivals.completed' | grep -E '^[1-9][0-9]*$'; }
show_run() { sed 's/\x1b\[[0-9;]*m//g' "$work/$1.log" | grep "$2"'_1 .*|' | tail -"$3" | sed 's/^/      /' || true; }

# So that there is something to see of HTTP, too.
ask_over_http() { inside curl --silent --output /dev/null 'http://127.0.0.1:8080/health?[1-500]' 'http://127.0.0.1:8080/nothing?[1-9]'; }

check_compose() {
    local up code=0
    # Long enough for every window of the dashboards to have data.
    export LOADGEN_CONNECTIONS=200 LOADGEN_RATE=1000 LOADGEN_DURATION=30s LOADGEN_WARMUP=1s LOADGEN_METRICS_LINGER=8s
    run_until loadgen compose server prometheus loadgen &
    up=$!
    check "compose: Prometheus scrapes the server" within 90 prometheus_says 'up{job="tidemark-server"} == 1'
    check "compose: Prometheus scrapes the load generator" within 90 prometheus_says 'up{job="tidemark-loadgen"} == 1'
    check "compose: the server answers HTTP on the published port" ask_over_http
    for service in server loadgen; do check_hardened "compose: $service" "tidemark_${service}_1"; done
    wait "$up" || code=$?
    show_run compose loadgen 17
    check "compose: the report is in the volume, and replies came" counted_everything
    check "compose: the exit code $code is the verdict $(report .verdict.valid)" verdict_is_the_exit_code "$code"
    check_expressions
    compose down --timeout 20 >>"$work/compose.log" 2>&1
}

# The end of a run ends the stack. What its Prometheus has seen is in its volume.
check_expressions() {
    compose up --detach --no-build prometheus >>"$work/compose.log" 2>&1
    check "prometheus: comes back with its data" within 60 prometheus_says 'last_over_time(tidemark_loadgen_valid[5m])'
    check "prometheus: HTTP requests by status" \
        prometheus_says 'count(last_over_time(http_requests_total{status=~"200|404"}[5m]) > 0) == 2'
    check "prometheus: every expression of dashboards and rules has what it must, and the figures are those of report.json" \
        inside "$PWD/scripts/dashboards" evaluate http://127.0.0.1:9090 --report "$(report_file)" --seconds 120
    tail -1 "$work/check.log" | sed 's/^/      /'
}

# A verdict of another kind, so that a 0 that comes from anywhere else is not taken for the load generator's.
check_compose_failure() {
    local code=0
    LOADGEN_TARGET=tcp://server:9 run_until loadgen compose-failure server prometheus loadgen || code=$?
    check "compose: nobody listens, and the exit code $code is 4" test "$code" = 4
    compose down --volumes --timeout 20 >>"$work/compose-failure.log" 2>&1
}

# Found, not even the first load, or limited by the load generator: each is an answer.
searched() { [ "$(jq '.steps | length' "$1")" -ge 1 ] && [[ $2 =~ ^[013]$ ]]; }

# As many connections as a small machine holds, and as short a search: what is shown is the profiles, not the machine.
check_profiles() {
    local code=0 curve
    export SCALE_CONNECTIONS=3000 SCALE_RATE=500 SCALE_DURATION=5s LOADGEN_METRICS_LINGER=0s
    compose --profile scale up --no-build --exit-code-from scale scale >"$work/compose-scale.log" 2>&1 || code=$?
    show_run compose-scale scale 4
    check "compose: profile scale holds $(report '.populations[0].connections.peak_open') of $SCALE_CONNECTIONS connections" \
        test "$(report '.populations[0].connections.peak_open')" = "$SCALE_CONNECTIONS"
    check "compose: profile scale: the exit code $code is the verdict $(report .verdict.valid)" verdict_is_the_exit_code "$code"

    export SEARCH_FROM=200 SEARCH_MAX=400 SEARCH_RESOLUTION=50% SEARCH_STEP_DURATION=2s SEARCH_WITH=--connections=20
    export SEARCH_SLO='response.p50 < 1s'
    code=0
    compose --profile search up --no-build --exit-code-from search search >"$work/compose-search.log" 2>&1 || code=$?
    show_run compose-search search 12
    curve=$(dirname "$(report_file)")/search.json
    check "compose: profile search leaves a curve of $(jq '.steps | length' "$curve") steps, and exits with $code" \
        searched "$curve" "$code"
    compose --profile scale --profile search down --volumes --timeout 20 >>"$work/compose-search.log" 2>&1
}
