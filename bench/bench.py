"""Benchmarks of leat; bench/run runs them. Each prints rows: what, measured, must reach, how it
compares. Ratios and sizes count; absolute times belong to the machine they were taken on."""
import argparse
import http.client
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/node"))
os.environ.setdefault("LEAT_BUILD", str(ROOT / "build"))
os.environ["LEAT_BUILD_SANITIZED"] = os.environ["LEAT_BUILD"]

from leatnet import Network, free_port, wait_for  # noqa: E402
from measure import children, cpu, descriptors, median, percentile, pss, tree_cpu  # noqa: E402

LEAT = ROOT / "build/leat"
DEFAULT_LADDER = "P240p30fps16x9,P360p30fps16x9"
ROWS = []


def row(what, measured, must="", compared=""):
    ROWS.append((what, measured, must, compared))
    print(f"  {what:<58} {measured:<22} {must:<14} {compared}", flush=True)


# --- media, made once a run ---

class Clips:
    def __init__(self, folder):
        self.folder = folder

    def flv(self, name, seconds, size, kbps, preset="veryfast"):
        path = self.folder / f"{name}.flv"
        if not path.exists():
            subprocess.run(
                ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
                 f"testsrc2=size={size}:rate=30:duration={seconds},noise=alls=12:allf=t", "-f",
                 "lavfi", "-i", f"sine=frequency=440:sample_rate=44100:duration={seconds}", "-c:v",
                 "libx264", "-preset", preset, "-tune", "zerolatency", "-b:v", f"{kbps}k",
                 "-maxrate", f"{kbps}k", "-bufsize", f"{kbps}k", "-g", "60", "-keyint_min", "60",
                 "-sc_threshold", "0", "-c:a", "aac", "-b:a", "64k", str(path)], check=True)
        return path

    def tiny_segment(self):
        path = self.folder / "tiny.ts"
        if not path.exists():
            subprocess.run(
                ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
                 "testsrc2=size=160x120:rate=30:duration=0.1", "-c:v", "libx264", "-preset",
                 "ultrafast", "-tune", "zerolatency", str(path)], check=True)
        return path.read_bytes()


def publish(file, url, *flags):
    return subprocess.Popen([LEAT, "publish", *flags, file, url], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


def stop(process):
    if process.poll() is None:
        process.terminate()
        process.wait(timeout=10)
    process.stderr.close()


# --- 1: idle ---

def time_to_ready(argv, port):
    began = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process, (time.monotonic() - began) * 1000
        except OSError:
            time.sleep(0.0005)


def idle(folder, clips):
    for role in ("gateway", "orchestrator"):
        times, sizes = [], []
        for n in range(5):
            port = free_port()
            data = folder / f"idle-{role}-{n}"
            where = (["-httpAddr", f"127.0.0.1:{port}", "-rtmpAddr", f"127.0.0.1:{free_port()}"]
                     if role == "gateway" else
                     ["-serviceAddr", f"127.0.0.1:{port}", "-orchSecret", "x"])
            process, ms = time_to_ready([LEAT, role, *where, "-dataDir", data, "-cliAddr",
                                         f"127.0.0.1:{free_port()}"], port)
            time.sleep(1)
            times.append(ms)
            sizes.append(pss(process.pid))
            process.terminate()
            process.wait()
        row(f"{role}, idle: PSS", f"{median(sizes) / 1024:.1f} MB", "12 MB", "reference 27 MB")
        row(f"{role}: ready after", f"{median(times):.0f} ms", "30 ms", "reference 70 to 79 ms")


# --- 2, 3, 4: one 720p stream to the default ladder ---

def ffmpeg_ladder(file):
    """CPU-seconds of one ffmpeg process doing the same ladder with the same settings."""
    video = ["-c:v", "libx264", "-preset", "faster", "-tune", "zerolatency", "-threads", "1",
             "-forced-idr", "1", "-force_key_frames", "expr:gte(t,n_forced*2)"]
    out = []
    for size, kbps in (("426:240", 600), ("640:360", 1200)):
        out += ["-map", "0:v", "-map", "0:a", "-vf", f"scale={size}", *video, "-b:v", f"{kbps}k",
                "-maxrate", f"{kbps}k", "-bufsize", f"{kbps}k", "-c:a", "copy", "-f", "mpegts",
                "/dev/null"]
    used = os.times()
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-threads", "1", "-filter_threads", "1", "-i",
                    str(file), *out], check=True)
    after = os.times()
    return after.children_user + after.children_system - used.children_user - used.children_system


class PeakMemory(threading.Thread):
    def __init__(self, groups):
        super().__init__(daemon=True)
        self.groups, self.peak, self.over = groups, {name: 0 for name in groups}, False
        self.start()

    def run(self):
        while not self.over:
            for name, pids in self.groups.items():
                self.peak[name] = max(self.peak[name], sum(pss(p) for p in pids()))
            time.sleep(0.5)  # looking costs those who are looked at


def ladder(folder, clips):
    seconds = 40
    file = clips.flv("ladder", seconds, "1280x720", 3000)
    net = Network(folder / "ladder")
    net.folder.mkdir()
    o = net.orchestrator()
    g = net.gateway(o, ladder=DEFAULT_LADDER, flags=["-v", "3"])
    agent = children(o.pid)[0]
    memory = PeakMemory({"gateway": lambda: [g.pid], "orchestrator": lambda: [o.pid],
                         "workers": lambda: [agent, *children(agent)]})
    before = cpu(g.pid), cpu(o.pid, False), tree_cpu(agent)
    p = publish(file, g.rtmp_url("bench"))
    p.wait()
    time.sleep(3)
    memory.over = True
    after = cpu(g.pid), cpu(o.pid, False), tree_cpu(agent)
    gateway, orchestrator, workers = (b - a for a, b in zip(before, after))
    p.stderr.close()
    net.close()
    limit = ffmpeg_ladder(file)
    whole = gateway + orchestrator + workers
    minute = 60 / seconds
    row("720p30 to the default ladder: CPU-s a stream-minute", f"{whole * minute:.2f}", "",
        f"ffmpeg {limit * minute:.2f}, reference 31.3")
    row("  all processes over one ffmpeg", f"{whole / limit:.3f}", "1.05", "reference 1.13")
    row("  of that gateway and orchestrator", f"{(gateway + orchestrator) / limit:.3f}", "0.02",
        f"reference 0.10 (gateway {gateway * minute:.2f}, orchestrator {orchestrator * minute:.2f})")
    for name, must, reference in (("gateway", 24, 112), ("orchestrator", 20, 98),
                                  ("workers", 150, 544)):
        row(f"  peak PSS: {name}", f"{memory.peak[name] / 1024:.1f} MB", f"{must} MB",
            f"reference {reference} MB")


# --- 5, 6, 7: delays, as a viewer sees them ---

class Listing(threading.Thread):
    """Asks for a media playlist every few milliseconds; remembers when each number appeared."""

    def __init__(self, http_addr, name, rendition):
        super().__init__(daemon=True)
        self.addr, self.path = http_addr, f"/stream/{name}/{rendition}.m3u8"
        self.seen, self.over = {}, False
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(self.addr, timeout=20)
        while not self.over:
            try:
                connection.request("GET", self.path)
                answer = connection.getresponse()
                text, now = answer.read().decode(), time.time()
            except OSError:
                connection.close()
                time.sleep(0.02)
                continue
            if answer.status == 200:
                first = int(re.search(r"MEDIA-SEQUENCE:(\d+)", text)[1])
                for n in range(first, first + text.count("#EXTINF")):
                    self.seen.setdefault(n, now)
            time.sleep(0.003)


def delays(folder, clips):
    seconds = 40
    file = clips.flv("delay", seconds, "640x360", 800)
    net = Network(folder / "delays")
    net.folder.mkdir()
    o = net.orchestrator()
    g = net.gateway(o, ladder="P144p30fps16x9,P240p30fps16x9")
    began = time.time()
    p = publish(file, g.rtmp_url("bench"), "-times")
    source = Listing(g.http, "bench", "source")
    rendition = Listing(g.http, "bench", "P240p30fps16x9")
    key_times = [float(l.split()[1]) for l in p.stderr if l.startswith(b"key ")]
    p.wait()
    time.sleep(3)
    source.over = rendition.over = True
    in_codec = dict(re.findall(r"segment=(\d+)\S* .*?transcoded in (\d+) ms", o.log))
    # Segment n is closed by key frame n + 1.
    listed = [(source.seen[n] - key_times[n + 1]) * 1000 for n in source.seen
              if n + 1 < len(key_times)]
    beyond = [(rendition.seen[n] - source.seen[n]) * 1000 - float(in_codec[str(n)])
              for n in rendition.seen if str(n) in in_codec and n in source.seen]
    p.stderr.close()
    net.close()
    row("RTMP: source listed after the key frame that closes it, p50",
        f"{median(listed):.1f} ms", "10 ms", f"reference 4450 ms ({len(listed)} segments)")
    row("rendition listed, beyond the codec's own time, p50", f"{median(beyond):.1f} ms", "40 ms",
        f"{len(beyond)} segments")
    row("  p95", f"{percentile(beyond, .95):.1f} ms", "80 ms")
    row("first rendition playable after publishing starts",
        f"{min(rendition.seen.values()) - began:.2f} s", "3 s", "reference 7 s, 2 s GOP")


# --- 8: the push path itself ---

def push(folder, clips):
    body = clips.tiny_segment()
    net = Network(folder / "push")
    net.folder.mkdir()
    o = net.orchestrator()
    g = net.gateway(o, ladder="P144p30fps16x9", flags=["-v", "3"])
    connection = http.client.HTTPConnection(g.http, timeout=30)
    took = []
    for n in range(120):
        began = time.monotonic()
        connection.request("PUT", f"/live/bench/{n}.ts", body,
                           {"Accept": "multipart/mixed", "Content-Duration": "100"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took.append((time.monotonic() - began) * 1000)
    net.close()
    row("HTTP push of a tiny segment, whole path, p50", f"{median(took[20:]):.1f} ms", "12 ms",
        f"reference 39 ms (p95 {percentile(took[20:], .95):.1f} ms)")


# --- 9, 10: packaging without transcoding ---

NGINX = """
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096; application live {{ live on; hls on;
  hls_path {folder}/hls; hls_fragment 2s; hls_playlist_length 12s; hls_nested on; }} }} }}
"""


class Nginx:
    """The peer: nginx-rtmp packaging to HLS files."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        (folder / "hls").mkdir()
        self.port = free_port()
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, port=self.port))
        self.process = subprocess.Popen(["nginx", "-c", str(conf), "-p", str(folder)],
                                        stderr=subprocess.DEVNULL)
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.port)).close() or True, 10)

    @property
    def pid(self):
        return self.process.pid

    def rtmp_url(self, name):
        return f"rtmp://127.0.0.1:{self.port}/live/{name}"

    def stop(self):
        self.process.terminate()
        self.process.wait()


def cost_of_publishers(server, pid, file, count, seconds):
    """(CPU-seconds a second, PSS KiB with publishers, PSS KiB before)."""
    empty = pss(pid)
    p = publish(file, server.rtmp_url("bench"), "-loop", "-count", str(count))
    time.sleep(16)  # the window of a playlist is full
    before, began = cpu(pid), time.monotonic()
    time.sleep(seconds)
    used = (cpu(pid) - before) / (time.monotonic() - began)
    full = pss(pid)
    stop(p)
    return used, full, empty


def memory_with_media(g, seconds=4):
    """(PSS KiB, KiB of media in it), means over whole segments: publishers that began together
    fill theirs together. Media is what playlists hold by the gateway's own count, and the
    segments being filled, half full on average."""
    sizes, kept = [], []
    filling = sum(s["source"]["bitrate"] for s in g.status()["streams"]) / 8
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sizes.append(pss(g.pid))
        kept.append((g.metric("leat_media_bytes") + filling) / 1024)
        time.sleep(0.1)
    return statistics.mean(sizes), statistics.mean(kept)


def publishers(folder, clips):
    file = clips.flv("600k", 20, "320x180", 530, "ultrafast")
    count, seconds = 200, 15
    nginx = Nginx(folder / "nginx")
    peer, peer_full, peer_empty = cost_of_publishers(nginx, nginx.pid, file, count, seconds)
    nginx.stop()
    net = Network(folder / "publishers")
    net.folder.mkdir()
    g = net.gateway(flags=["-maxSessions", "5000", "-maxAttempts", "0", "-v", "3"])
    empty = pss(g.pid)
    p = publish(file, g.rtmp_url("bench"), "-loop", "-count", str(count))
    time.sleep(40)  # everything that is kept after leaving the window is there
    before, began = cpu(g.pid), time.monotonic()
    time.sleep(seconds)
    used = (cpu(g.pid) - before) / (time.monotonic() - began)
    full, media = memory_with_media(g)
    stop(p)
    net.close()
    row(f"RTMP publishers at 600 kb/s on one core (from {count})", f"{count / used:.0f}", "1200",
        f"nginx-rtmp {count / peer:.0f} in this run, ratio {peer / used:.2f}")
    row("  memory each beyond the media kept",
        f"{(full - empty - media) / count:.0f} KiB", "64 KiB",
        f"nginx-rtmp {(peer_full - peer_empty) / count:.0f} KiB and files")


def remux_by_ffmpeg(folder, file, seconds):
    """CPU-s a stream-minute of an ffmpeg that takes the same publisher and writes HLS."""
    port = free_port()
    peer = subprocess.Popen(["ffmpeg", "-v", "error", "-y", "-listen", "1", "-i",
                             f"rtmp://127.0.0.1:{port}/live/bench", "-c", "copy", "-f", "hls",
                             "-hls_time", "2", str(folder / "remux.m3u8")],
                            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    p = publish(file, f"rtmp://127.0.0.1:{port}/live/bench", "-loop")
    time.sleep(5)
    before, began = cpu(peer.pid), time.monotonic()
    time.sleep(seconds)
    used = (cpu(peer.pid) - before) / (time.monotonic() - began) * 60
    stop(p)
    peer.kill()
    peer.wait()
    return used


def remux(folder, clips):
    file = clips.flv("3m", 30, "1280x720", 2900)
    count, seconds = 10, 20
    net = Network(folder / "remux")
    net.folder.mkdir()
    g = net.gateway(flags=["-maxSessions", "100", "-maxAttempts", "0", "-v", "3"])
    p = publish(file, g.rtmp_url("bench"), "-loop", "-count", str(count))
    time.sleep(5)
    before, began = cpu(g.pid), time.monotonic()
    time.sleep(seconds)
    used = (cpu(g.pid) - before) / (time.monotonic() - began) / count * 60
    stop(p)
    net.close()
    peer = remux_by_ffmpeg(folder, file, seconds)
    row("remux of a 3 Mb/s stream, CPU-s a stream-minute (live)", f"{used:.4f}", "0.02",
        f"ffmpeg RTMP to HLS {peer:.3f} in this run, ratio {used / peer:.2f}; reference's machine "
        "0.028 to 0.042, ratio 0.48 to 0.71")


# --- 11: streams come and go ---

def churn(folder, clips):
    file = clips.flv("short", 1, "160x120", 100, "ultrafast")
    net = Network(folder / "churn")
    net.folder.mkdir()
    g = net.gateway(flags=["-maxSessions", "5000", "-maxAttempts", "0", "-v", "3"])
    marks = []
    for thousand in range(2):
        for batch in range(10):
            p = publish(file, g.rtmp_url(f"churn{thousand}-{batch}-"), "-count", "100")
            p.wait(timeout=60)
            p.stderr.close()
        wait_for(lambda: not any(s["state"] == "live" for s in g.status()["streams"]), 60)
        time.sleep(75)  # ended streams are forgotten after a minute
        marks.append((pss(g.pid), descriptors(g.pid)))
    net.close()
    (first, fds1), (second, fds2) = marks
    row("2000 streams published and ended: memory second / first", f"{second / first:.3f}", "1.02",
        f"{first / 1024:.1f} MB, then {second / 1024:.1f} MB")
    row("  descriptors lost", f"{fds2 - fds1}", "0", "")


BENCHES = {f.__name__: f for f in (idle, ladder, delays, push, publishers, remux, churn)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1, help="repeat each, print medians")
    parser.add_argument("what", nargs="*", default=["all"], help=f"all, {', '.join(BENCHES)}")
    args = parser.parse_args()
    names = list(BENCHES) if "all" in args.what or not args.what else args.what
    base = Path(tempfile.mkdtemp(prefix="leat-bench-"))
    try:
        clips = Clips(base)
        for name in names:
            print(f"{name}:", flush=True)
            for n in range(args.n):
                folder = base / f"{name}-{n}"
                folder.mkdir()
                BENCHES[name](folder, clips)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if args.n > 1:
        print_medians()


def print_medians():
    print("medians:")
    seen = {}
    for what, measured, must, compared in ROWS:
        seen.setdefault(what, []).append((float(measured.split()[0]), measured, must, compared))
    for what, several in seen.items():
        value = statistics.median(v for v, *_ in several)
        unit = " ".join(several[0][1].split()[1:])
        print(f"  {what:<58} {value:g} {unit:<12} {several[0][2]:<14} {several[-1][3]}")


if __name__ == "__main__":
    main()
