# shellcheck shell=bash
# The images: how they are built, and what is in them. Sourced by scripts/containers.
: "${work:?is set by scripts/containers}"

# Images stay small enough to be pulled to a host in a moment.
readonly IMAGE_LIMIT_BYTES=$((12 * 1024 * 1024))
readonly IMAGE_USER=65532
readonly IMAGE_EPOCH=1000000000

# build TARGET LOG [ARGUMENT...]: with the legacy builder, which is all that an engine without buildx has.
build() {
    DOCKER_BUILDKIT=0 docker build --target "$1" --tag "tidemark-$1:$2" \
        --build-arg RUST_IMAGE=tidemark-standin/rust:latest "${@:3}" "$work/context" >"$work/build-$1-$2.log" 2>&1
}

build_images() {
    local program
    # A copy, so that both images are of the same sources, whatever is edited meanwhile.
    mkdir "$work/context"
    tar --create --exclude=./target --exclude=./.git --exclude=./results . | tar --extract --directory "$work/context"
    for program in server loadgen; do
        say "building tidemark-$program"
        if ! build "$program" dev --build-arg SOURCE_DATE_EPOCH="$IMAGE_EPOCH"; then
            tail -30 "$work/build-$program-dev.log" | sed 's/^/      /'
            say "FAILED: the image of $program does not build"
            exit 1
        fi
    done
    check "build: the second image takes the programs from the cache" compiled_nothing loadgen-dev
}
compiled_nothing() { grep 'Successfully built' "$work/build-$1.log" && ! grep 'Compiling' "$work/build-$1.log"; }

image_field() { docker image inspect --format "$2" "tidemark-$1:dev"; }
fits() { [ "$(image_field "$1" '{{.Size}}')" -lt "$IMAGE_LIMIT_BYTES" ]; }
is_user() { [ "$(image_field "$1" '{{.Config.User}}')" = "$IMAGE_USER:$IMAGE_USER" ]; }
has_labels() { image_field "$1" '{{json .Config.Labels}}' | jq --exit-status --arg title "tidemark-$1" \
    '."org.opencontainers.image.title" == $title and has("org.opencontainers.image.version")
     and has("org.opencontainers.image.revision") and has("org.opencontainers.image.licenses")'; }
# take PROGRAM TAG: the binary out of an image, with its time.
take() {
    mkdir -p "$work/$2"
    docker create --name "take-$1" "tidemark-$1:$2" && docker cp "take-$1:/tidemark-$1" "$work/$2/" && docker rm "take-$1"
}
is_static() { take "$1" dev && ! readelf --program-headers "$work/dev/tidemark-$1" | grep INTERP; }
has_time() { [ "$(stat --format %Y "$work/dev/tidemark-$1")" = "$IMAGE_EPOCH" ]; }
answers_version() { docker run --rm --read-only --cap-drop ALL --network none "tidemark-$1:dev" --version; }

check_images() {
    local program
    for program in server loadgen; do
        check "$program: $(image_field "$program" '{{.Size}}') bytes, under $IMAGE_LIMIT_BYTES" fits "$program"
        check "$program: the binary is static" is_static "$program"
        check "$program: the user is the number $IMAGE_USER" is_user "$program"
        check "$program: OCI labels" has_labels "$program"
        check "$program: its time is SOURCE_DATE_EPOCH" has_time "$program"
        check "$program: runs alone, without a network" answers_version "$program"
    done
}

# Another SOURCE_DATE_EPOCH compiles the project's own crates and links both programs once more.
check_reproducible() {
    local program
    for program in server loadgen; do
        build "$program" again --build-arg SOURCE_DATE_EPOCH=0 || true
        check "$program: built again it is the same to the bit" same_binary "$program"
    done
    # Cargo's words come in colours of their own.
    check "build: the programs were compiled again for that" grep 'tidemark-server v[0-9.]* (/src/server)' "$work/build-server-again.log"
    echo '// changed' >>"$work/context/server/src/main.rs"
    build dependencies changed || true
    check "build: a changed source leaves the dependencies in the cache" compiled_nothing dependencies-changed
}
same_binary() { take "$1" again && cmp "$work/dev/tidemark-$1" "$work/again/tidemark-$1"; }
