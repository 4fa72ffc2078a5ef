#!/usr/bin/env python3
"""Runs the demo without a person: starts `leat up -testStream`, waits until every rendition of
the test stream was fetched and decoded by ffprobe, prints a table, stops what it started."""
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from urllib.parse import urljoin

LIMIT_S = 60
GATEWAY = "http://127.0.0.1:9935"
MASTER = f"{GATEWAY}/stream/test.m3u8"
WANTED = 4  # the source and three renditions


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


def variants():
    """(name, bandwidth, playlist URL) of each quality the master playlist lists."""
    lines = fetch(MASTER).decode().splitlines()
    found = []
    for info, uri in zip(lines, lines[1:]):
        if info.startswith("#EXT-X-STREAM-INF:"):
            bandwidth = info.split("BANDWIDTH=", 1)[1].split(",", 1)[0]
            name = uri.rsplit("/", 1)[-1].removesuffix(".m3u8")
            found.append((name, int(bandwidth), urljoin(MASTER, uri)))
    return found


def newest_segment(playlist):
    uris = [l for l in fetch(playlist).decode().splitlines() if l and not l.startswith("#")]
    return fetch(urljoin(playlist, uris[-1])) if uris else None


def decode(segment):
    """Decodes every frame; what ffprobe saw, or None when it saw no whole picture."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
         "stream=width,height,avg_frame_rate,nb_read_frames", "-of", "json", "-"],
        input=segment, capture_output=True, check=False)
    streams = json.loads(probe.stdout or b"{}").get("streams", [])
    if probe.returncode or probe.stderr.strip() or not streams:
        return None
    return streams[0] if int(streams[0].get("nb_read_frames", 0)) > 0 else None


def made_by():
    status = json.loads(fetch(f"{GATEWAY}/api/status"))
    for stream in status["streams"]:
        if stream["name"] == "test":
            return {r["name"]: r["orchestrator"] or "the publisher" for r in stream["renditions"]}
    return {}


def look():
    """One row for each quality that decodes now."""
    orchestrators = made_by()
    rows = []
    for name, bandwidth, playlist in variants():
        segment = newest_segment(playlist)
        seen = decode(segment) if segment else None
        if seen:
            rows.append((name, f"{seen['width']}x{seen['height']}", rate(seen["avg_frame_rate"]),
                         f"{bandwidth / 1000:.0f} kb/s", orchestrators.get(name, "?")))
    return rows


def rate(text):
    over, under = text.split("/")
    return f"{int(over) / int(under):.2f}" if int(under) else "?"


def wait_until_all_play(network, began):
    why = "nothing was tried yet"
    while time.monotonic() - began < LIMIT_S:
        if network.poll() is not None:
            sys.exit(f"demo: `leat up` ended with status {network.returncode}; run ./demo to see why")
        try:
            rows = look()
            if len(rows) >= WANTED:
                return rows
            why = f"{len(rows)} of {WANTED} qualities decode"
        except (OSError, ValueError) as error:
            why = str(error)
        time.sleep(0.25)
    return sys.exit(f"demo: not all qualities played within {LIMIT_S} s: {why}")


def print_table(rows):
    rows = [("quality", "picture", "frames/s", "bandwidth", "made by"), *rows]
    widths = [max(len(r[i]) for r in rows) for i in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    began = time.monotonic()
    data = tempfile.mkdtemp(prefix="leat-demo-")
    network = subprocess.Popen(["build/leat", "up", "-testStream", "-dataDir", data],
                               stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        rows = wait_until_all_play(network, began)
        print_table(rows)
        print(f"all {len(rows)} qualities were fetched and decoded "
              f"{time.monotonic() - began:.1f} s after the start")
    finally:
        network.send_signal(signal.SIGINT)
        try:
            network.wait(timeout=15)
        except subprocess.TimeoutExpired:
            network.kill()
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
