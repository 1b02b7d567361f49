# Images of the server and the load generator, one target each:
#   docker build --target server  -t tidemark-server  .
#   docker build --target loadgen -t tidemark-loadgen .
# Neither BuildKit nor a network beyond the crates registry is needed: the legacy builder makes the same images.

# The oldest libc that is still maintained, so that a binary taken out of the image runs on older hosts, too. The digest
# is that of the multi-arch index. To check it: docker buildx imagetools inspect rust:1.95.0-slim-bookworm
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082

FROM ${RUST_IMAGE} AS dependencies
WORKDIR /src
# Static glibc, not musl: its allocator and its memory copies are the ones that the benchmarks are made with.
# The target is named in every call (it is the builder's own), because only then does cargo keep these flags from
# build scripts and procedural macros, which cannot be linked statically.
ENV RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_PROFILE_RELEASE_DEBUG=false \
    CARGO_PROFILE_RELEASE_STRIP=debuginfo \
    CARGO_INCREMENTAL=0
# This layer depends on the manifests alone, so a change of the sources does not build the dependencies again. Each target
# that a manifest names gets an empty program. What was built of the workspace itself is removed: cargo compares times,
# and would hold an empty program for newer than the sources that replace it.
COPY Cargo.toml Cargo.lock ./
COPY crates/wire/Cargo.toml crates/wire/
COPY crates/host/Cargo.toml crates/host/
COPY crates/program/Cargo.toml crates/program/
COPY server/Cargo.toml server/
COPY loadgen/Cargo.toml loadgen/
COPY benches/Cargo.toml benches/
RUN set -eu; \
    for member in crates/wire crates/host crates/program server loadgen benches; do \
        for file in src/lib.rs src/main.rs $(sed -n 's/^path = "\(.*\.rs\)"$/\1/p' "$member/Cargo.toml"); do \
            mkdir -p "$(dirname "$member/$file")"; \
            case "$file" in */lib.rs) : ;; *) echo 'fn main() {}' ;; esac >"$member/$file"; \
        done; \
    done; \
    target="$(rustc --print host-tuple)"; \
    cargo build --release --locked --target "$target" -p tidemark-server -p tidemark-loadgen; \
    cargo clean --release --locked --target "$target" \
        -p tidemark-wire -p tidemark-host -p tidemark-program -p tidemark-server -p tidemark-loadgen

FROM dependencies AS build
COPY crates crates
COPY server server
COPY loadgen loadgen
# Times in the image come from SOURCE_DATE_EPOCH, as https://reproducible-builds.org/specs/source-date-epoch/ asks; the
# paths in the binaries are those of this stage on every machine. It is named as late as this, so that a new time does
# not build the dependencies again.
ARG SOURCE_DATE_EPOCH=0
RUN set -eu; \
    target="$(rustc --print host-tuple)"; \
    cargo build --release --locked --target "$target" -p tidemark-server -p tidemark-loadgen; \
    mkdir -p /image/server /image/loadgen/results; \
    cp "target/$target/release/tidemark-server" /image/server/; \
    cp "target/$target/release/tidemark-loadgen" /image/loadgen/; \
    find /image -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

FROM scratch AS server
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="tidemark-server" \
      org.opencontainers.image.description="An echo and health server for hundreds of thousands of connections" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /image/server/ /
# A number: a scratch image has no /etc/passwd, and Kubernetes' runAsNonRoot cannot judge a name.
USER 65532:65532
EXPOSE 7000 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["/tidemark-server", "healthcheck"]
ENTRYPOINT ["/tidemark-server"]
CMD ["serve", "--echo", "0.0.0.0:7000", "--http", "0.0.0.0:8080", "--admin", "0.0.0.0:9464"]

FROM scratch AS loadgen
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="tidemark-loadgen" \
      org.opencontainers.image.description="A load generator that measures from the intended send time and judges its own run" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# The directory of the results belongs to the user, and a named volume that is mounted there takes that over.
COPY --from=build --chown=65532:65532 /image/loadgen/ /
USER 65532:65532
EXPOSE 9465
STOPSIGNAL SIGINT
# A run is not a service: it ends by itself, and its exit code is its verdict.
HEALTHCHECK NONE
ENTRYPOINT ["/tidemark-loadgen"]
CMD ["--help"]
