#!/usr/bin/env python3
"""Holds every #include against the layer table of doc/architecture.md.

The table stands between `<!-- layers -->` and `<!-- /layers -->`, one row a folder:

    | `wire` | `media/profile.h` `net` `base` |

A folder may include itself and what its row names in backquotes: folders, or single
headers of a folder it may otherwise not see. The longest folder that fits a file counts
(`codec/program` before `codec`). A name in angle brackets is a library: `<uv.h>`, or
`<libav*>` for all that begin so. A library that any row names may be included only by the
rows that name it; libraries that no row names are free.

Usage: check_layers.py [ROOT]     exit status 1 and one line each for what is wrong
"""
import fnmatch
import os
import re
import subprocess
import sys

TABLE = re.compile(r"<!-- layers -->(.*?)<!-- /layers -->", re.S)
ROW = re.compile(r"^\|([^|]*)\|([^|]*)\|\s*$", re.M)
NAME = re.compile(r"`([^`]+)`")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|(<[^>]+>))')
FREE_FOLDERS = ("tests", "bench", "examples")  # they look inside on purpose


def read_table(path):
    found = TABLE.search(open(path, encoding="utf-8").read())
    if not found:
        sys.exit(f"{path}: no table between <!-- layers --> and <!-- /layers -->")
    rows = {}
    for folders, allowed in ROW.findall(found.group(1)):
        for folder in NAME.findall(folders):
            rows[folder] = NAME.findall(allowed)
    if not rows:
        sys.exit(f"{path}: the layer table has no rows")
    return rows


def folder_of(path, rows):
    """The longest row that `path` lies in, or None."""
    parts = path.split("/")[:-1]
    for n in range(len(parts), 0, -1):
        if "/".join(parts[:n]) in rows:
            return "/".join(parts[:n])
    return None


def lies_in(path, folder):
    return path == folder or path.startswith(folder + "/")


def library_allowed(library, folder, rows):
    def names(row):
        return any(fnmatch.fnmatchcase(library, one) for one in row if one.startswith("<"))

    return names(rows[folder]) or not any(names(row) for row in rows.values())


def header_allowed(header, folder, rows):
    home = folder_of(header, rows)
    if home == folder or header in rows[folder] or home in rows[folder]:
        return True
    return home is None and any(lies_in(header, one) for one in rows[folder])


def complaint(include, folder, rows, root):
    """What is wrong with one include of a file in `folder`; None when nothing is."""
    header, library = include.groups()
    if library:
        if library_allowed(library, folder, rows):
            return None
        return f"{folder} may not include {library}"
    if "/" not in header:
        # Generated code only: our own includes are written from the root.
        return f'"{header}" is not written from the root' if own_header(header, root) else None
    if header_allowed(header, folder, rows):
        return None
    return f'{folder} may not include "{header}"'


def own_header(name, root):
    return any(f.endswith("/" + name) or f == name for f in tracked(root))


def tracked(root, memory={}):
    if root not in memory:
        listing = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard",
                                  "*.c", "*.h"], cwd=root, capture_output=True, text=True,
                                 check=True)
        memory[root] = sorted(set(listing.stdout.split("\n")) - {""})
    return memory[root]


def check_file(path, folder, rows, root):
    errors = []
    with open(os.path.join(root, path), encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            include = INCLUDE.match(line)
            wrong = include and complaint(include, folder, rows, root)
            if wrong:
                errors.append(f"{path}:{number}: {wrong} (doc/architecture.md, layers)")
    return errors


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(
        os.path.abspath(__file__)))
    rows = read_table(os.path.join(root, "doc/architecture.md"))
    errors, checked = [], 0
    for path in tracked(root):
        if path.split("/")[0] in FREE_FOLDERS or not os.path.exists(os.path.join(root, path)):
            continue
        folder = folder_of(path, rows)
        if folder is None:
            errors.append(f"{path}: its folder has no row in the layer table")
            continue
        errors += check_file(path, folder, rows, root)
        checked += 1
    print("\n".join(errors), end="\n" if errors else "")
    print(f"layers: {checked} files, {len(errors)} wrong includes")
    sys.exit(1 if errors or not checked else 0)


if __name__ == "__main__":
    main()
