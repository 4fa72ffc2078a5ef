#!/bin/sh
# Compiles each header alone, with the warnings of meson.build: a header that leans on what
# its users happen to include first fails here. Generated headers come from the build folder
# (LEAT_BUILD, else build), when there is one.
set -u
cd "$(dirname "$0")/.." || exit 1

build=${LEAT_BUILD:-build}
flags=$(grep -o "'-[WD][^']*'" meson.build | tr -d "'")
libraries='jansson libuv openssl libnghttp2 libprotobuf-c sqlite3 libavcodec libavformat
    libswscale libavutil libseccomp'
for library in $libraries; do
    flags="$flags $(pkg-config --cflags "$library" 2>/dev/null)"
done
flags="-std=gnu17 -Wall -Wextra -Werror $(echo $flags)"

check() {
    # Through a source file: a header given by itself warns about its own guard.
    printf '#include "%s"\n' "$1" |
        ${CC:-gcc} $flags -I. -I"$build/wire" -I"$build" -fsyntax-only -x c - || {
        echo "$1: does not compile alone"
        return 1
    }
}

count=0
failed=0
for header in $(git ls-files --cached --others --exclude-standard '*.h' | sort -u); do
    [ -f "$header" ] || continue
    count=$((count + 1))
    check "$header" || failed=$((failed + 1))
done
echo "headers: $count, $failed do not compile alone"
[ "$count" -gt 0 ] && [ "$failed" -eq 0 ]
