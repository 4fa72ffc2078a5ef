#!/usr/bin/env python3
"""Turns files into one C source of gzip-compressed assets: embed.py OUT.c NAME=FILE ..."""
import gzip
import sys

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def array(data):
    rows = (data[i:i + 20] for i in range(0, len(data), 20))
    return ",\n".join("    " + ", ".join(map(str, row)) for row in rows)


def main(out, items):
    parts = ['#include "node/assets.h"\n']
    table = []
    for number, item in enumerate(items):
        name, path = item.split("=", 1)
        with open(path, "rb") as f:
            packed = gzip.compress(f.read(), 9, mtime=0)
        parts.append(f"static const uint8_t asset_{number}[] = {{\n{array(packed)}\n}};\n")
        kind = TYPES[name.rsplit(".", 1)[1]]
        table.append(f'    {{"{name}", "{kind}", asset_{number}, sizeof(asset_{number})}},')
    parts.append("const struct asset assets[] = {\n" + "\n".join(table) + "\n};\n")
    parts.append("const size_t n_assets = sizeof(assets) / sizeof(assets[0]);\n")
    with open(out, "w") as f:
        f.write("\n".join(parts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
