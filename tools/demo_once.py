#!/usr/bin/env python3
"""Runs the demo without a person: starts `leat up -testStream`, waits until every quality of the
test stream was fetched and decoded by ffprobe, prints a table, stops what it started."""
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

LIMIT_S, STOP_S = 60, 15
LOG_LINES = 25
ROOT = Path(__file__).resolve().parents[1]
GATEWAY = "http://127.0.0.1:9935"
MASTER = f"{GATEWAY}/stream/test.m3u8"
PORTS = {1935: "RTMP", 9935: "HTTP", 5935: "the gateway's admin page",
         **{port: "an orchestrator" for port in (8935, 8936, 8937)},
         **{port: "an orchestrator's admin page" for port in (7935, 7936, 7937)}}
WANTED = 4  # the source and three renditions


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


def refuse_taken_ports():
    """Another program there would be taken for what we start."""
    for port, use in PORTS.items():
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError as error:
                sys.exit(f"demo: port {port} ({use}) cannot be had: {error.strerror}. "
                         "Is another ./demo, leat or go-livepeer running? Stop it and try again.")


def qualities():
    """{name: playlist URL} of what the master playlist lists."""
    lines = fetch(MASTER).decode().splitlines()
    return {uri.rsplit("/", 1)[-1].removesuffix(".m3u8"): urljoin(MASTER, uri)
            for info, uri in zip(lines, lines[1:]) if info.startswith("#EXT-X-STREAM-INF:")}


def newest_segment(playlist):
    """(bytes, seconds) of the last one that is not a gap; None when there is none."""
    found, gap, seconds = None, False, 0.0
    for line in fetch(playlist).decode().splitlines():
        if line == "#EXT-X-GAP":
            gap = True
        elif line.startswith("#EXTINF:"):
            seconds = float(line[len("#EXTINF:"):].split(",")[0])
        elif line and not line.startswith("#"):
            found, gap = found if gap else (line, seconds), False
    return (fetch(urljoin(playlist, found[0])), found[1]) if found else None


def decode(media):
    """Decodes every frame; what ffprobe saw, or None when it complained or saw no picture."""
    probe = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
         "stream=width,height,nb_read_frames", "-of", "json", "-"],
        input=media, capture_output=True, check=False)
    streams = json.loads(probe.stdout or b"{}").get("streams", [])
    if probe.returncode or probe.stderr.strip() or not streams:
        return None
    return streams[0] if int(streams[0].get("nb_read_frames", 0)) > 0 else None


def made_by(name):
    for stream in json.loads(fetch(f"{GATEWAY}/api/status"))["streams"]:
        for r in stream["renditions"] if stream["name"] == "test" else []:
            if r["name"] == name:
                return (r["orchestrator"] or "").removeprefix("https://")
    return "?"


def try_quality(name, playlist):
    """Its row of the table, None when there is nothing to decode yet."""
    segment = newest_segment(playlist)
    seen = decode(segment[0]) if segment else None
    if not seen:
        return None
    media, seconds = segment
    return (name, f"{seen['width']}x{seen['height']}", f"{int(seen['nb_read_frames']) / seconds:.2f}",
            f"{len(media) * 8 / seconds / 1000:.0f} kb/s",
            "the publisher" if name == "source" else made_by(name))


def wait_until_all_play(network, began):
    rows, why = {}, ""
    while time.monotonic() - began < LIMIT_S:
        if network.poll() is not None:
            raise RuntimeError(f"`leat up` ended with status {network.returncode}")
        try:
            for name, playlist in qualities().items():
                row = None if name in rows else try_quality(name, playlist)
                if row:
                    rows[name] = row
        except (OSError, ValueError) as error:
            why = f" ({error})"
        if len(rows) >= WANTED:
            return list(rows.values())
        time.sleep(0.25)
    raise RuntimeError(f"{len(rows)} of {WANTED} qualities played within {LIMIT_S} s{why}")


def print_table(rows):
    rows = [("quality", "picture", "frames/s", "bitrate", "made by"), *rows]
    widths = [max(len(r[i]) for r in rows) for i in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def stop(network):
    """True when it and all it started left in order."""
    network.send_signal(signal.SIGINT)
    try:
        return network.wait(timeout=STOP_S) == 0
    except subprocess.TimeoutExpired:
        network.kill()  # its children die with it
        network.wait()
        return False


def run(network, log, began):
    try:
        rows = wait_until_all_play(network, began)
    except RuntimeError as error:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        print(*lines, f"demo: {error}; above is the end of its log", sep="\n", file=sys.stderr)
        return 1
    print_table(rows)
    print(f"all {len(rows)} qualities were fetched and decoded "
          f"{time.monotonic() - began:.1f} s after the start")
    return 0


def main():
    began = time.monotonic()
    refuse_taken_ports()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="leat-demo-"))
    log = folder / "log"
    status = 1
    try:
        with log.open("wb") as out:
            network = subprocess.Popen([ROOT / "build/leat", "up", "-testStream", "-dataDir", folder],
                                       stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = run(network, log, began)
        except KeyboardInterrupt:
            print("demo: interrupted", file=sys.stderr)
        finally:
            if not stop(network):
                print(f"demo: `leat up` did not stop in order (status {network.returncode})",
                      file=sys.stderr)
                status = 1
    except FileNotFoundError as error:
        print(f"demo: {error.filename} is missing; ./demo --once builds it", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
