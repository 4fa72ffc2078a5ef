#!/bin/sh
# Holds every C file against .clang-format. With --fix it mends them instead; with names, only
# those files. A table that is easier to read by hand stands between
# /* clang-format off */ and /* clang-format on */.
set -u
cd "$(dirname "$0")/.." || exit 1

mode='--dry-run -Werror'
if [ "${1:-}" = --fix ]; then
    mode=-i
    shift
fi
if [ $# -eq 0 ]; then
    # Without what is generated, and without files that were removed but not yet committed.
    set -- $(git ls-files '*.c' '*.h' | grep -v '^wire/gen/' | while read -r f; do
        [ -f "$f" ] && echo "$f"
    done)
fi
[ $# -gt 0 ] || exit 1

count=$#
failed=0
for file; do
    clang-format-14 $mode "$file" || {
        failed=$((failed + 1))
        wrong="${wrong:-}
    $file"
    }
done 2>/dev/null
echo "format: $count files, $failed of them not as .clang-format says${wrong:-}"
[ "$failed" -eq 0 ] || echo "tools/check_format.sh --fix mends them"
[ "$failed" -eq 0 ]
