#!/bin/sh
# Installs what is missing, and nothing else: tools/install.sh build|test
# Debian 12 packages with apt (as root, or with sudo), npm packages by package-lock.json.
set -eu
cd "$(dirname "$0")/.."

build="gcc meson ninja-build pkg-config python3 npm
 libuv1-dev libnghttp2-dev node-llhttp libssl-dev libcurl4-openssl-dev zlib1g-dev
 libprotobuf-c-dev protobuf-c-compiler libjansson-dev libsqlite3-dev
 libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libseccomp-dev
 ffmpeg curl"
test="libcmocka-dev python3-pytest python3-h2 python3-protobuf protobuf-compiler openssl
 clang-format-14 clang-14
 libclang-rt-14-dev chromium gstreamer1.0-tools gstreamer1.0-plugins-base
 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
 rtmpdump nginx-light libnginx-mod-rtmp"

has() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

wanted=$build
[ "${1:-build}" = test ] && wanted="$build $test"
missing=
for p in $wanted; do
    # A node of another origin brings its own npm, which Debian's would fight with.
    [ "$p" = npm ] && command -v npm >/dev/null && continue
    has "$p" || missing="$missing $p"
done

if [ -n "$missing" ]; then
    echo "installing:$missing"
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "run this as root, or install sudo: packages are missing" >&2; exit 1; }
        sudo=sudo
    fi
    $sudo apt-get update -q
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
fi

# hls.js is for everybody, the browser driver (a development dependency) for tests only.
omit=--omit=dev
needed=node_modules/hls.js
[ "${1:-build}" = test ] && omit= && needed=node_modules/playwright-core
if [ ! -d "$needed" ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    # shellcheck disable=SC2086
    npm ci $omit --no-audit --no-fund --loglevel=error
    touch node_modules/.package-lock.json
fi
