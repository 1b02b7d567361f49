# shellcheck shell=bash
# A Docker engine in a network, process and mount namespace of its own. Sourced by scripts/containers.
: "${work:?is set by scripts/containers}"

cannot_run() {
    skip "containers: $*"
    exit 0
}

need_tools() {
    [ "$(id -u)" = 0 ] || cannot_run "a Docker engine is started by root, and this is user $(id -un)"
    local missing=() tool
    for tool in dockerd docker docker-compose iptables; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        command -v apt-get >/dev/null || cannot_run "${missing[*]} missing, and apt-get is not there to install docker.io"
        say "${missing[*]} missing: installing (apt-get install docker.io docker-compose iptables)"
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y docker.io docker-compose iptables; } \
            >"$work/apt.log" 2>&1 || cannot_run "apt-get could not install docker.io: $(tail -1 "$work/apt.log")"
    fi
    for tool in unshare nsenter setpriv ip curl jq dpkg cargo; do
        command -v "$tool" >/dev/null || cannot_run "$tool is missing"
    done
    unshare --net --mount --pid --fork --kill-child true 2>"$work/unshare.log" ||
        cannot_run "this host makes no namespaces: $(cat "$work/unshare.log")"
}

start_engine() {
    cat >"$work/engine" <<'ENGINE'
set -eu
mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
# No OOM score: raising it back needs a privilege that many hosts withhold even from root.
exec dockerd --host "unix://$1/socket" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
    --cgroup-parent "$2" --oom-score-adjust 0
ENGINE
    mkdir "$work/engine.d"
    # Whatever ends this script ends the engine, too.
    setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child \
        sh "$work/engine" "$work/engine.d" "/tidemark-$$" >"$work/dockerd.log" 2>&1 &
    engine=$!
    export DOCKER_HOST="unix://$work/engine.d/socket" DOCKER_CONFIG="$work/config"
    if ! within 60 docker version; then
        sed 's/^/      /' "$work/dockerd.log" | tail -5
        cannot_run "dockerd does not start here"
    fi
    engine_init=$(cat "/proc/$engine/task/$engine/children")
    engine_init=${engine_init%% *}
    say "engine $(docker version --format '{{.Server.Version}}') in a network namespace of its own"
}

# inside COMMAND...: runs a command in the engine's network and process namespaces.
inside() { nsenter --target "$engine_init" --net --mount --pid -- "$@"; }
