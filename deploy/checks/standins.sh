# shellcheck shell=bash
# Stand-ins for the images that are pulled elsewhere, put together from this machine. Sourced by scripts/containers.
: "${work:?is set by scripts/containers}"

# package_files PACKAGE...: the files of installed packages and of what they depend on, without documentation.
package_files() {
    local package
    apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$@" | grep '^[a-z]' | sort -u | while read -r package; do
        dpkg -L "$package" 2>/dev/null || true
    # /bin, /lib and /sbin lead to /usr on Debian; a file is packed under the one name that is not a link.
    done | grep -vE '^/usr/share/(doc|man|locale|info)/' | sed -E 's#^/(bin|sbin|lib|lib64)/#/usr/\1/#' | sort -u |
        while read -r file; do
            if [ -f "$file" ] || [ -L "$file" ]; then printf '%s\n' "${file#/}"; fi
        done
}

# The machine's toolchain, linker and downloaded crates, as the builder that the Dockerfile names.
import_builder() {
    local sysroot cargo_home=${CARGO_HOME:-$HOME/.cargo}
    dpkg -s gcc libc6-dev >/dev/null 2>&1 || cannot_run "gcc and libc6-dev are not installed as Debian's packages"
    cargo fetch --locked --quiet
    sysroot=$(rustc --print sysroot)
    {
        package_files gcc libc6-dev dash coreutils findutils sed grep
        printf '%s\n' bin sbin lib lib64 etc/alternatives/cc usr/bin/cc
    } | sort -u >"$work/builder.files"
    # The paths are those of the official image. S: the targets of symbolic links stay as they are.
    tar --create --directory / --files-from "$work/builder.files" \
        --directory "$sysroot" --exclude=share --transform 's#^\./#usr/local/#S' \
        --directory "$sysroot" ./bin ./lib \
        --directory "$cargo_home" --transform 's#^registry/#usr/local/cargo/registry/#S' registry/cache registry/index \
        2>"$work/tar.log" |
        docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true' \
            - tidemark-standin/rust:latest >/dev/null
    say "builder: $(rustc --version), $(gcc --version | head -1), crates from $cargo_home"
}

# Debian's prometheus and promtool, where the official image has them. The package is unpacked, not installed: that
# would start a service.
import_prometheus() {
    local tree=$work/prometheus
    mkdir -p "$work/deb" "$tree/prometheus" "$tree/etc" "$tree/tmp"
    (cd "$work/deb" && apt-get download prometheus >"$work/apt.log" 2>&1) || return 1
    dpkg -x "$work"/deb/prometheus_*.deb "$work/deb/tree"
    mv "$work/deb/tree/usr/bin" "$tree/bin"
    # Its libraries, if it is linked to any.
    ldd "$tree/bin/prometheus" "$tree/bin/promtool" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | sort -u |
        while read -r library; do install -D "$library" "$tree$library"; done
    chown 65534:65534 "$tree/prometheus"
    tar --create --directory "$tree" . |
        docker import --change 'USER 65534' --change 'ENTRYPOINT ["/bin/prometheus"]' --change 'ENV PATH=/bin' \
            - tidemark-standin/prometheus:latest >/dev/null
    say "prometheus: $("$tree/bin/prometheus" --version 2>&1 | head -1)"
}
